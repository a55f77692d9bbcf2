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
class CheckpointAccuracy:
    """Held-out accuracy at one scored epoch, mean over seeds.

    low: lower end of the 95 % Wilson interval, from the number of distinct held-out rows.
    problem: why scores at this epoch should not be believed; None if they may be.
    """

    epoch: int
    accuracy: float
    low: float
    problem: str | None


def timing_gate(
    recipe: Recipe, loaded: Loaded, seen: Observed
) -> tuple[list[CheckpointAccuracy], list[str]]:
    """Judge every scored epoch; returns the judgements and warnings.

    Raises:
        ProbeError: an epoch should not be believed, and the recipe's gate is "error".
    """
    if not seen.records or recipe.scores.timing_gate == "off":
        return [], []
    labels = loaded.labels if loaded.test is None else loaded.test.labels
    rows = len(labels)
    if loaded.test is None:
        rows = int((~np.all([t.in_sample for t in seen.traces.values()], axis=0)).sum())
    chance = float(np.bincount(labels).max() / len(labels))
    records = [seen.records[seed] for seed in sorted(seen.records)]
    timing = check_timing(records, recipe.checkpoints, chance=chance, heldout_rows=rows)
    problems = [
        f"scores at epoch {t.epoch} come too early: held-out accuracy is {t.accuracy:.3f} and "
        f"{t.problem}"
        for t in timing
        if t.problem
    ]
    if problems and recipe.scores.timing_gate == "error":
        good = [str(t.epoch) for t in timing if not t.problem]
        later = f"use --at {good[0]}" if good else "score a later epoch, or train a better probe"
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
    records: list[Record], checkpoints: tuple[int, ...], *, chance: float, heldout_rows: int
) -> list[CheckpointAccuracy]:
    """Judge each scored epoch: accuracy surely above chance, and half of the run's best at least.

    chance: the share of the largest class, what a constant guess gets.
    heldout_rows: distinct rows that accuracy was measured on, over all seeds.
    """
    by_epoch: dict[int, list[float]] = {}
    for record in records:
        for entry in record.result["history"]:
            by_epoch.setdefault(entry["epoch"], []).append(entry["heldout_accuracy"])
    means = {epoch: float(np.mean(values)) for epoch, values in by_epoch.items()}
    best = max(means.values())
    judged = []
    for epoch in checkpoints:
        accuracy = means[epoch]
        low = wilson_low(accuracy, heldout_rows)
        problem = None
        if low <= chance:
            problem = (
                f"its lower 95 % bound {low:.3f} is not above chance {chance:.3f}, "
                "the largest class's share"
            )
        elif accuracy < best / 2:
            problem = f"it is under half of the run's best, {best:.3f}"
        judged.append(CheckpointAccuracy(epoch, accuracy, low, problem))
    return judged
