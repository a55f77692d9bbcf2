"""Ten small-CNN seeds: Ray on all cores against the same units one after another.

The bar: wall <= 1.15 x (one-thread work / cores) + 8 s, Ray's start included; traces equal byte for
byte at equal threads; the shared images read without a copy.
"""

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from dataprune.core.protocols import Job, Resources, Runner, Shared, Unit
from dataprune.core.recipe import ProbeRecipe
from dataprune.runs import get_runner
from dataprune.runs.ledger import Ledger

SEEDS, IMAGES, EPOCHS = 10, 4000, 4
ENTRYPOINT = "dataprune.probe.unit:probe_unit"


def run() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shared = {
        "inputs": rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8),
        "targets": rng.integers(0, 10, IMAGES),
        "mean": np.full(3, 127.0),
        "std": np.full(3, 64.0),
        "folds/0": np.arange(IMAGES) % 10,
    }
    cores = os.cpu_count() or 1
    work_s, local = _timed(get_runner("local"), shared)
    ray_s, on_ray = _timed(get_runner("ray"), shared)
    bar_s = 1.15 * work_s / cores + 8
    rows = [
        {
            "cores": cores,
            "one-thread work s": round(work_s, 1),
            "ray wall s": round(ray_s, 1),
            "bar s": round(bar_s, 1),
            "within the bar": ray_s <= bar_s,
            "x ideal": round(ray_s / (work_s / cores), 3),
            "traces equal": local == on_ray,
            "zero copy": _is_zero_copy(shared),
        }
    ]
    return {"rows": rows, **describe(seeds=SEEDS, images=IMAGES, epochs=EPOCHS)}


def _units() -> list[Unit]:
    probe = ProbeRecipe(schedule_epochs=EPOCHS).model_dump(mode="json")
    common = {
        "probe": probe,
        "task": "classification",
        "num_outputs": 10,
        "repeat": 0,
        "heldout_last": 0,
        "root_seed": 0,
        "signals": ["correct", "el2n", "loss", "margin"],
        "checkpoints": [EPOCHS],
        "threads": 1,
        "device": "cpu",
        "torch": importlib.metadata.version("torch"),
    }
    specs = [{**common, "seed": seed, "fold": seed % 10} for seed in range(SEEDS)]
    return [Unit(f"seed-{s['seed']}", ENTRYPOINT, s, s, f"seed {s['seed']}") for s in specs]


def _timed(runner: Runner, shared: Shared) -> tuple[float, list[str]]:
    """Wall seconds of the whole job, and the hash of each unit's trace."""
    folder = Path(tempfile.mkdtemp())
    units = _units()
    start = time.perf_counter()
    outcomes = runner.run(Job(folder, units, shared, Resources()), lambda _unit, _progress: None)
    seconds = time.perf_counter() - start
    assert not [o for o in outcomes if o.error], outcomes
    paths = [Ledger(folder).units / unit.unit_id / "trace.parquet" for unit in units]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    shutil.rmtree(folder)
    return seconds, hashes


def report_memory(
    spec: dict[str, Any], shared: Shared, folder: Path, report: Any
) -> dict[str, Any]:
    """A unit that says how it sees the shared images."""
    del spec, report
    flags = shared["inputs"].flags
    (folder / "seen.txt").write_text("seen")
    return {"owns": bool(flags.owndata), "writeable": bool(flags.writeable)}


def _is_zero_copy(shared: Shared) -> bool:
    """Whether a Ray worker sees the store's own memory: borrowed and read-only."""
    folder = Path(tempfile.mkdtemp())
    unit = Unit("memory", "benchmarks.ray_runner:report_memory", {}, {}, "memory")
    outcomes = get_runner("ray").run(Job(folder, [unit], shared, Resources()), lambda _u, _p: None)
    assert not outcomes[0].error, outcomes
    record = Ledger(folder).finished("memory")
    assert record is not None
    shutil.rmtree(folder)
    return not record.result["owns"] and not record.result["writeable"]
