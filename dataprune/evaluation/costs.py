"""Does it pay? Seconds of scoring and of retraining against those of training on everything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.recipe import Recipe, RunRecipe
from dataprune.runs.ledger import Ledger, Record
from dataprune.tables.scores import ScoreTable


@dataclass(frozen=True)
class ScoringCost:
    """What the units behind a score table took.

    seconds: times GPU share or CPU threads, of all seeds together; None where it is not known.
    why: what hides it.
    """

    seconds: float | None
    why: str | None = None


def unit_of(run: RunRecipe) -> str:
    """What device seconds are counted in: GPU-s (hours by share of a GPU) or CPU-s (threads)."""
    return "GPU-s" if run.num_gpus > 0 else "CPU-s"


def device_seconds(seconds: float, run: RunRecipe) -> float:
    """Seconds of one unit as device seconds."""
    return seconds * (run.num_gpus if run.num_gpus > 0 else run.num_cpus) * run.workers


def scoring_cost(
    table: ScoreTable, scored: Recipe, folders: Sequence[Path], run: RunRecipe
) -> ScoringCost:
    """Add up the units that a score table names, from the first run folder that holds them all.

    scored: the recipe of the table. run: of the retrainings, which must count in the same unit.
    """
    unit_ids = table.meta.get("unit_ids") or []
    if not unit_ids:
        return ScoringCost(None, "the score table names no units that were run for it")
    if table.meta.get("carried"):
        return ScoringCost(None, "some rows keep scores of earlier units, which it does not count")
    if unit_of(scored.run) != unit_of(run):
        why = f"scoring took {unit_of(scored.run)} and retraining {unit_of(run)}"
        return ScoringCost(None, f"{why}, which do not add up")
    for folder in folders:
        records = [_told(folder, unit_id) for unit_id in unit_ids]
        if all(record is not None for record in records):
            seconds = math.fsum(r.run["seconds"] for r in records if r is not None)
            return ScoringCost(device_seconds(seconds, scored.run))
    where = ", ".join(str(folder) for folder in folders)
    return ScoringCost(
        None, f"the score table's units are not in {where}; name their folder by --scored-in"
    )


def _told(folder: Path, unit_id: str) -> Record | None:
    return Ledger(folder).told(unit_id) if (folder / "units").is_dir() else None


def training_seconds(records: Mapping[int, Record], run: RunRecipe) -> float:
    """Device seconds of training of an arm, a mean over seeds; testing is not counted."""
    seconds = [record.result["train_s"] for record in records.values()]
    return device_seconds(float(np.mean(seconds)), run)


def payoff(
    full_s: float, own_s: float, scoring_s: float | None, *, fewer_steps: bool
) -> dict[str, Any]:
    """How many retrainings pay for scoring: the least k with k * (full - own) > scoring.

    full_s, own_s: device seconds of one training on everything, and on the arm.
    scoring_s: 0 for arms that read no score; None where it is not known.
    fewer_steps: whether the arm takes fewer steps than full data; else what little lies between
        their seconds is chance, and nothing is saved.
    """
    saved = full_s - own_s if fewer_steps else 0.0
    breaks_even = None
    if saved > 0 and scoring_s is not None:
        breaks_even = math.floor(scoring_s / saved) + 1
    return {"saved_s": saved, "scoring_s": scoring_s, "breaks_even_at": breaks_even}
