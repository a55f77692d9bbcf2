"""Ten small-CNN seeds: Ray on all cores against the same units one after another, and other ways.

The bar: wall <= 1.15 x (one-thread work / cores) + 8 s, Ray's start included; traces equal byte for
byte at equal threads; the shared images read without a copy. Where the time goes is read off clocks
in the driver (around Ray's own calls) and in every unit (when it began, had torch, and ended). On a
machine that others use, units wait for a processor: that time, wall less CPU seconds of units, is
told apart, and the bar is held against the wall without it.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from dataprune.core.protocols import Attempt, Job, Outcome, Resources, Shared, Unit
from dataprune.core.recipe import ProbeRecipe
from dataprune.runs import get_runner
from dataprune.runs.execute import execute
from dataprune.runs.ledger import Ledger
from dataprune.runs.ray_connect import connected

SEEDS, IMAGES, EPOCHS = 10, 4000, 4
TIMED = "benchmarks.ray_runner:timed_unit"
Run = Callable[[Job], list[Outcome]]


def run() -> dict[str, Any]:
    shared = _images()
    cores = os.cpu_count() or 1
    local = _timed("in this process", lambda job: get_runner("local").run(job, _quiet), shared)
    ray = _timed("Ray, a task a seed", lambda job: get_runner("ray").run(job, _quiet), shared)
    chunks = -(-SEEDS // cores)
    others = [
        _timed("Ray, a process a seed", lambda job: _on_ray(job, 1, once=True), shared),
        _timed(f"Ray, {chunks} seeds a task", lambda job: _on_ray(job, chunks), shared),
    ]
    bar_s = 1.15 * sum(local.spent("cpu")) / cores + 8
    rows = [
        {
            "way": arm.name,
            "wall s": round(arm.wall, 1),
            "of these waiting for a processor": round(arm.waiting, 1),
            "wall without waiting s": round(arm.wall - arm.waiting, 1),
            "units' CPU s": round(sum(arm.spent("cpu")), 1),
            "x in this process": round(sum(arm.spent("cpu")) / sum(local.spent("cpu")), 2),
            "processes": len({unit["pid"] for unit in arm.units}),
            "bar s": "" if arm is local else round(bar_s, 1),
            "within the bar": "" if arm is local else arm.wall - arm.waiting <= bar_s,
            "traces equal": arm.traces == local.traces,
        }
        for arm in (local, ray, *others)
    ]
    load, zero_copy = os.getloadavg()[0], _is_zero_copy(shared)
    return {
        "rows": rows,
        "tables": {"Where the time of a task a seed goes": _where(ray, local)},
        **describe(
            seeds=SEEDS, images=IMAGES, epochs=EPOCHS, cores=cores, load=load, zero_copy=zero_copy
        ),
    }


@dataclass(frozen=True)
class Arm:
    """One way of running the units.

    wall: seconds of the whole job. begun: when it began, by time.time().
    calls: seconds of Ray's own calls in the driver. units: clocks of each. traces: their hashes.
    """

    name: str
    wall: float
    begun: float
    calls: dict[str, float]
    units: list[dict[str, Any]]
    traces: list[str]

    def spent(self, what: str) -> list[float]:
        """Seconds of each unit."""
        return [unit[what] for unit in self.units]

    @property
    def workers(self) -> list[list[dict[str, Any]]]:
        """The units of each process; the process that ends last comes last."""
        by_pid: dict[int, list[dict[str, Any]]] = {}
        for unit in self.units:
            by_pid.setdefault(unit["pid"], []).append(unit)
        return sorted(by_pid.values(), key=lambda units: max(unit["ended"] for unit in units))

    @property
    def waiting(self) -> float:
        """Seconds that units had no processor, of a core's share of them."""
        waits = sum(unit["work"] - unit["cpu"] for unit in self.units)
        return waits / min(len(self.workers), os.cpu_count() or 1)


def timed_unit(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """A probe unit that says when it began, had torch, and ended."""
    began, fresh = time.time(), "torch" not in sys.modules
    from dataprune.probe.unit import probe_unit

    imported, cpu = time.time(), time.process_time()
    result = probe_unit(spec, shared, attempt)
    clock = {
        "pid": os.getpid(),
        "began": began,
        "ended": time.time(),
        "import": imported - began if fresh else 0.0,
        "work": time.time() - imported,
        "cpu": time.process_time() - cpu,
    }
    return {**result, "clock": clock}


def _images() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "inputs": rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8),
        "targets": rng.integers(0, 10, IMAGES),
        "mean": np.full(3, 127.0),
        "std": np.full(3, 64.0),
        "folds/0": np.arange(IMAGES) % 10,
    }


def _units() -> list[Unit]:
    probe = ProbeRecipe(schedule_epochs=EPOCHS).model_dump(mode="json")
    common = {
        "probe": {**probe, "model": {"name": "small_cnn", "params": {}}},
        "task": "classification",
        "num_outputs": 10,
        "repeat": 0,
        "heldout_last": 0,
        "root_seed": 0,
        "signals": ["correct", "el2n", "loss", "margin"],
        "checkpoints": [EPOCHS],
        "mode": "eval",
        "window": 10,
        "threads": 1,
        "workers": 1,
        "features": False,
        "device": "cpu",
        "torch": importlib.metadata.version("torch"),
    }
    specs = [{**common, "seed": seed, "fold": seed % 10} for seed in range(SEEDS)]
    return [Unit(f"seed-{s['seed']}", TIMED, s, s, f"seed {s['seed']}") for s in specs]


def _quiet(_unit_id: str, _told: dict[str, Any]) -> None:
    pass


def _timed(name: str, run_job: Run, shared: Shared) -> Arm:
    """One way, from nothing to the end."""
    folder = Path(tempfile.mkdtemp())
    job = Job(str(folder), _units(), shared, Resources())
    with _clocked_calls() as calls:
        begun = time.time()
        outcomes = run_job(job)
        wall = time.time() - begun
    assert not [o for o in outcomes if o.error], outcomes
    records = [Ledger(folder).finished(unit.unit_id) for unit in job.units]
    found = [record for record in records if record is not None]
    units = [record.result["clock"] for record in found]
    traces = [hashlib.sha256(r.path("trace.parquet").read_bytes()).hexdigest() for r in found]
    shutil.rmtree(folder)
    return Arm(name, wall, begun, calls, units, traces)


@contextlib.contextmanager
def _clocked_calls() -> Iterator[dict[str, float]]:
    """Seconds that the driver spends in Ray's import, init, put and shutdown."""
    seconds: dict[str, float] = {}
    begun = time.time()
    import ray

    seconds["import"] = time.time() - begun
    originals = {name: getattr(ray, name) for name in ("init", "put", "shutdown")}

    def clocked(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.time()
            try:
                return originals[name](*args, **kwargs)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.time() - begun
                seconds[f"{name} ended"] = time.time()

        return call

    for name in originals:
        setattr(ray, name, clocked(name))
    try:
        yield seconds
    finally:
        for name, original in originals.items():
            setattr(ray, name, original)


def _on_ray(job: Job, per_task: int, *, once: bool = False) -> list[Outcome]:
    """Units as Ray tasks of several each; once: every task has a process of its own."""
    with contextlib.redirect_stdout(sys.stderr), connected(job) as ray:
        shared = ray.put(dict(job.shared))
        task = ray.remote(num_cpus=1, max_calls=1 if once else 0)(_run_some)
        some = [job.units[i : i + per_task] for i in range(0, len(job.units), per_task)]
        outcomes = ray.get([task.remote(units, shared, job.folder) for units in some])
        return [outcome for each in outcomes for outcome in each]


def _run_some(units: list[Unit], shared: Shared, folder: str) -> list[Outcome]:
    return [execute(unit, shared, folder) for unit in units]


def _where(ray: Arm, local: Arm) -> list[dict[str, Any]]:
    """From the start to the end, along the worker that ends last."""
    *others, last = ray.workers
    ended = max(unit["ended"] for unit in last)
    began = min(unit["began"] for unit in last)
    work, cpu, imports = (sum(unit[key] for unit in last) for key in ("work", "cpu", "import"))
    alone = sum(local.spent("cpu")) / len(local.units) * len(last)
    done = ray.calls["shutdown ended"] - ray.calls["shutdown"]
    spans = {
        "ray.init": ray.calls["init"],
        "ray.put of the images": ray.calls["put"],
        "a worker starts": began - ray.calls["put ended"],
        "its first unit imports torch": imports,
        f"CPU seconds of its {len(last)} units, as in one process": alone,
        "CPU seconds more, two at work": cpu - alone,
        "they wait for a processor": work - cpu,
        "between units: ledger, Ray": ended - began - imports - work,
        "until the driver has the last outcome": done - ended,
        "ray.shutdown": ray.calls["shutdown"],
    }
    rest = ray.wall - sum(spans.values())
    idle = max((ended - max(unit["ended"] for unit in units) for units in others), default=0.0)
    rows = [
        {"what": what, "seconds": round(seconds, 2), "share": f"{seconds / ray.wall:.0%}"}
        for what, seconds in {**spans, "the rest": rest}.items()
    ]
    return [
        *rows,
        {"what": "another worker idle at the end", "seconds": round(idle, 2), "share": ""},
    ]


def report_memory(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """A unit that says how it sees the shared images."""
    del spec
    flags = shared["inputs"].flags
    (attempt.folder / "seen.txt").write_text("seen")
    return {"owns": bool(flags.owndata), "writeable": bool(flags.writeable)}


def _is_zero_copy(shared: Shared) -> bool:
    """Whether a Ray worker sees the store's own memory: borrowed and read-only."""
    folder = Path(tempfile.mkdtemp())
    unit = Unit("memory", "benchmarks.ray_runner:report_memory", {}, {}, "memory")
    job = Job(str(folder), [unit], shared, Resources())
    outcomes = get_runner("ray").run(job, _quiet)
    assert not outcomes[0].error, outcomes
    record = Ledger(folder).finished("memory")
    assert record is not None
    shutil.rmtree(folder)
    return not record.result["owns"] and not record.result["writeable"]
