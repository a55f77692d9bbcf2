"""What recording the scores mem_* costs a probe, beside others: whole units, in CPU time."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from dataprune.core.protocols import Attempt, Shared
from dataprune.core.recipe import Recipe
from dataprune.probe.examples import read_examples
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.signals import recorded_anyway
from dataprune.probe.tasks import TASKS
from dataprune.probe.unit import probe_unit
from dataprune.scores import SCORES
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from dataprune.sources._resolve import resolve_recipe

EPOCHS, ROUNDS = 2, 4
_MEMORIZED = ("mem_margin_pruned", "mem_drop", "mem_flip")
ARMS = {
    "loss, at the end": (("loss",), (2,)),
    "aum, csl, el2n: a pass after every epoch": (("aum", "csl", "el2n"), (2,)),
    "mem_*, at the end": (_MEMORIZED, (2,)),
    "mem_*, after every epoch": (_MEMORIZED, (1, 2)),
}


def cost(recipe: Recipe) -> list[dict[str, Any]]:
    """CPU time of a unit's first epochs, arms interleaved in rounds, after one that warms up."""
    loaded = read_examples(recipe, open_source(recipe.source), work=None)
    shared = shared_arrays(recipe, loaded)
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    try:
        _seconds(_spec(recipe, loaded, ("mem_flip",), (1,), epochs=1), shared)
        for _ in range(ROUNDS):
            for arm, (names, at) in ARMS.items():
                times[arm].append(_seconds(_spec(recipe, loaded, names, at), shared))
    finally:
        loaded.discard()
    plain = times["loss, at the end"]
    return [
        {
            "arm": arm,
            "CPU s (median)": round(statistics.median(seconds), 2),
            "x loss, at the end": round(
                statistics.median(a / b for a, b in zip(seconds, plain, strict=True)), 3
            ),
        }
        for arm, seconds in times.items()
    ]


def _seconds(spec: dict[str, Any], shared: Shared) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        probe_unit(spec, shared, Attempt(Path(folder), lambda _: None))
        return time.process_time() - start


def _spec(
    recipe: Recipe,
    loaded: Loaded,
    names: tuple[str, ...],
    at: tuple[int, ...],
    epochs: int = EPOCHS,
) -> dict[str, Any]:
    changes = {"probe.stop_epoch": epochs, "scores.names": names, "scores.at": at}
    recipe = resolve_recipe(recipe, changes)
    wanted = {signal for name in names for signal in SCORES.get(name).signals}
    also = recorded_anyway(TASKS.get("classification"), recipe.scores.mode, wanted)
    return plan_units(recipe, loaded, wanted, [], also=also).units[0].spec
