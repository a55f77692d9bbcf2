"""The timing gate: before a score is believed, had the probes learned enough at that epoch?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dataprune.core.errors import ProbeError
from dataprune.core.recipe import Recipe
from dataprune.probe.observe import Observed
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class CheckpointQuality:
    """How good the probes were on held-out rows at one scored epoch, mean over seeds.

    metric: accuracy, exact match or R2.
    low: lower end of the 95 % Wilson interval, from the number of distinct held-out rows; for R2,
        the least of the seeds.
    problem: why scores at this epoch should not be believed; None if they may be.
    """

    epoch: int
    metric: str
    value: float
    low: float
    problem: str | None


def timing_gate(
    recipe: Recipe, loaded: Loaded, seen: Observed
) -> tuple[list[CheckpointQuality], list[str]]:
    """Judge every scored epoch; returns the judgements and warnings.

    Raises:
        ProbeError: an epoch should not be believed, and the recipe's gate is "error".
    """
    if not seen.records or recipe.task is None or recipe.scores.timing_gate == "off":
        return [], []
    from dataprune.probe.tasks import TASKS  # torch: not where no probe was trained

    labels = loaded.labels if loaded.test is None else loaded.test.labels
    rows = len(labels)
    if loaded.test is None:
        rows = int((~np.all([t.in_sample for t in seen.traces.values()], axis=0)).sum())
    task = TASKS.get(recipe.task)
    records = [seen.records[seed] for seed in sorted(seen.records)]
    chance = task.chance(labels)
    timing = check_timing(
        records, recipe.checkpoints, metric=task.metric, chance=chance, heldout_rows=rows
    )
    problems = [
        f"scores at epoch {t.epoch} come too early: held-out {t.metric} is {t.value:.3f} and "
        f"{t.problem}"
        for t in timing
        if t.problem
    ]
    if problems and recipe.scores.timing_gate == "error":
        good = [str(t.epoch) for t in timing if not t.problem]
        at_the_end = recipe.checkpoints[-1] == recipe.probe.schedule_epochs
        more = "train longer (probe.schedule_epochs)" if at_the_end else "score a later epoch"
        later = f"{more}, or check the input and label columns"
        later = f"use --at {good[0]}" if good else later
        raise ProbeError(
            problems[0],
            hint=f"{later}; or set scores.timing_gate: warn in the recipe. The units are kept",
        )
    return timing, problems


def wilson_low(share: float, count: int) -> float:
    """Lower end of the two-sided 95 % Wilson score interval of a share."""
    z2 = _Z95**2
    centre = share + z2 / (2 * count)
    spread = _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return (centre - spread) / (1 + z2 / count)


def check_timing(
    records: list[Record],
    checkpoints: tuple[int, ...],
    *,
    metric: str,
    chance: float,
    heldout_rows: int,
) -> list[CheckpointQuality]:
    """Judge each scored epoch: surely better than chance, and half of the run's best at least.

    chance: what the best constant guess gets: the share of the largest class, for accuracy.
    heldout_rows: distinct rows that the metric was measured on, over all seeds.
    """
    by_epoch: dict[int, list[float]] = {}
    for record in records:
        for entry in record.result["history"]:
            by_epoch.setdefault(entry["epoch"], []).append(entry["heldout"])
    means = {epoch: float(np.mean(values)) for epoch, values in by_epoch.items()}
    best = max(means.values())
    judged = []
    for epoch in checkpoints:
        value = means[epoch]
        is_share = metric != "R2"
        low = wilson_low(value, heldout_rows) if is_share else min(by_epoch[epoch])
        bound = "its lower 95 % bound" if is_share else "the least of the seeds,"
        problem = problem_of(value, low, chance=chance, best=best, bound=bound)
        judged.append(CheckpointQuality(epoch, metric, value, low, problem))
    return judged


def problem_of(
    value: float, low: float, *, chance: float, best: float, bound: str = "its lower 95 % bound"
) -> str | None:
    """Why scores of a checkpoint should not be believed; None if they may be.

    value: held-out quality there. low: its lower bound, called `bound`. best: the run's best value.
    """
    if low <= chance:
        whose = ", what the best constant guess gets" if chance else ""
        return f"{bound} {low:.3f} is not above chance {chance:.3f}{whose}"
    if value < best / 2:
        return f"it is under half of the run's best, {best:.3f}"
    return None
