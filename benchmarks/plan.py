"""What `dataprune plan` says a unit takes against what one unit then takes, trained whole.

One seed in this process, one thread, CPU seconds, a few rounds each; the aim is to be within 15 %.
Real data (DATAPRUNE_DATA); ResNet-18 on every 25th training image of CIFAR-10.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import dataprune
from benchmarks.machine import describe
from dataprune.core.protocols import Attempt, Unit
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe
from dataprune.planning.prepare import prepared
from dataprune.probe.plan import plan_run, shared_arrays
from dataprune.probe.unit import probe_unit
from dataprune.sources._resolve import resolve_recipe

ROUNDS = {"digits": 5, "trec": 7, "fashion_mnist": 1, "cifar10_resnet18": 1}
CIFAR_STEP = 25


def run() -> dict[str, Any]:
    data = Path(os.environ["DATAPRUNE_DATA"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        recipes = {
            **{name: load_recipe(name) for name in ("digits", "trec", "fashion_mnist")},
            "cifar10_resnet18": _cifar10(data, Path(folder)),
        }
        for name, recipe in recipes.items():
            rounds = [_compare(recipe) for _ in range(ROUNDS[name])]
            rows.append(_row(name, rounds))
    return {"rows": rows, **describe(load=os.getloadavg()[0])}


def _row(name: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    middle = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    ratios = sorted(each["said"] / each["took"] for each in rounds)
    ratio = statistics.median(ratios)
    wall = statistics.median(each["said wall"] / each["took wall"] for each in rounds)
    return {
        "recipe": name,
        "rounds": len(rounds),
        "steps timed": f"{middle['timed']:.0f} of {middle['steps']:.0f}",
        "plan took s": round(middle["plan"], 1),
        "said CPU s a unit": round(middle["said"], 2),
        "took CPU s": round(middle["took"], 2),
        "said / took": round(ratio, 3),
        "rounds from, to": f"{ratios[0]:.2f}, {ratios[-1]:.2f}",
        "said / took, wall": round(wall, 3),
        "within 15 %": 0.85 <= ratio <= 1.15,
    }


def _compare(recipe: Recipe) -> dict[str, float]:
    """Plan, then train the first unit to its end, both in this process."""
    begun = time.perf_counter()
    planned = dataprune.plan(recipe)
    plan_s = time.perf_counter() - begun
    assert planned.preview is not None
    train = next(part for part in planned.preview.parts if part.kind == "train")
    wall, cpu = _train(recipe)
    return {
        "plan": plan_s,
        "timed": train.done,
        "steps": train.whole,
        "said": planned.unit_cpu_s,
        "took": cpu,
        "said wall": planned.unit_s,
        "took wall": wall,
    }


def _train(recipe: Recipe) -> tuple[float, float]:
    """Seconds by the clock and of the processor that the first unit takes."""
    with prepared(resolve_recipe(recipe, {})) as job:
        unit: Unit = plan_run(job.recipe, job.loaded, job.signals, []).units[0]
        shared = shared_arrays(job.recipe, job.loaded)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter(), time.process_time()
            probe_unit(unit.spec, shared, Attempt(Path(folder), lambda _told: None))
            return time.perf_counter() - begun[0], time.process_time() - begun[1]


def _cifar10(data: Path, folder: Path) -> Recipe:
    """ResNet-18 of width 16 on 2,000 training images, for four epochs."""
    for split in ("train", "test"):
        table = pq.read_table(sorted((data / "cifar10" / "data").glob(f"{split}-*.parquet")))
        every = CIFAR_STEP if split == "train" else 10
        pq.write_table(table.take(list(range(0, len(table), every))), folder / f"{split}.parquet")
    about = {
        "name": "cifar10_resnet18",
        "source": {"uri": str(folder)},
        "probe": {
            "model": {"name": "resnet18", "params": {"width": 16}},
            "batch_size": 128,
            "optimizer": {"lr": 0.1},
            "schedule_epochs": 4,
            "augment": {"crop": 4, "flip": True},
        },
        "scores": {"names": ["el2n", "grand", "forgetting"], "at": [2, 4]},
        "seeds": 4,
    }
    return parse_recipe(about, where="benchmark")
