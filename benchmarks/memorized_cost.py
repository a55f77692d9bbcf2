"""What recording the scores mem_* costs a probe, beside others: whole units, in CPU time."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from dataprune.core.recipe import Recipe
from dataprune.probe.examples import read_examples
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.signals import recorded_anyway
from dataprune.probe.tasks import TASKS
from dataprune.probe.unit import probe_unit
from dataprune.scores import SCORES
from dataprune.sources import open_source
from dataprune.sources._resolve import resolve_recipe

EPOCHS, ROUNDS = 4, 4
_MEMORIZED = ("mem_margin_pruned", "mem_drop", "mem_flip")
ARMS = {
    "loss, last epoch": (("loss",), (EPOCHS,)),
    "loss, every epoch": (("loss",), tuple(range(1, EPOCHS + 1))),
    "aum, csl and el2n": (("aum", "csl", "el2n"), (EPOCHS,)),
    "mem_*, last epoch": (_MEMORIZED, (EPOCHS,)),
    "mem_*, every epoch": (_MEMORIZED, tuple(range(1, EPOCHS + 1))),
}


def cost(recipe: Recipe) -> list[dict[str, Any]]:
    """CPU time of one unit of the first epochs, arms interleaved in rounds."""
    loaded = read_examples(recipe, open_source(recipe.source), work=None)
    shared = shared_arrays(recipe, loaded)
    times: dict[str, list[float]] = {arm: [] for arm in ARMS}
    try:
        for number in range(ROUNDS + 1):
            for arm, (names, at) in ARMS.items():
                spec = _spec(recipe, loaded, names, at)
                with tempfile.TemporaryDirectory() as folder:
                    start = time.process_time()
                    probe_unit(spec, shared, Path(folder), lambda _: None)
                    if number:  # the first round warms up
                        times[arm].append(time.process_time() - start)
    finally:
        loaded.discard()
    plain = times["loss, last epoch"]
    return [
        {
            "arm": arm,
            "CPU s (median)": round(statistics.median(seconds), 2),
            "x loss, last epoch": round(
                statistics.median(a / b for a, b in zip(seconds, plain, strict=True)), 3
            ),
        }
        for arm, seconds in times.items()
    ]


def _spec(recipe: Recipe, loaded: Any, names: tuple[str, ...], at: tuple[int, ...]) -> Any:
    changes = {"probe.stop_epoch": EPOCHS, "scores.names": names, "scores.at": at}
    recipe = resolve_recipe(recipe, changes)
    wanted = {signal for name in names for signal in SCORES.get(name).signals}
    also = recorded_anyway(TASKS.get("classification"), recipe.scores.mode, wanted)
    return plan_units(recipe, loaded, wanted, [], also=also).units[0].spec
