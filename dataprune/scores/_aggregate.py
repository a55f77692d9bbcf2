"""From per-seed values to columns: mean and spread over in-sample seeds, and how far to trust them.

Shape suffixes: S seeds, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dataprune.core.errors import PartialError, TableError
from dataprune.core.recipe import Recipe
from dataprune.scores import Score, Seen, Values
from dataprune.tables.trace import Trace

_SPLITS = 20
_MOST_ROWS = 100_000


@dataclass(frozen=True)
class ScoreColumns:
    """What goes into a score table.

    values: {column: float64 (n,)}: NAME@EPOCH, NAME and NAME_std.
    specs: {column: how it was made}, spreads left out.
    reliability: {NAME: how well the seeds agree}.
    """

    values: dict[str, Values]
    specs: dict[str, Any]
    reliability: dict[str, Any]


def compute_scores(
    recipe: Recipe, scores: Sequence[Score], traces: dict[int, Trace], num_rows: int
) -> ScoreColumns:
    """Every score at every checkpoint, and the reliability of each at the last one.

    A score that reads no signal is computed for every row and seed, whatever probes there are.

    Raises:
        PartialError: some row was held out by every seed there is.
    """
    values: dict[str, Values] = {}
    specs: dict[str, Any] = {}
    agreement: dict[str, Any] = {}
    every_row = np.ones(num_rows, dtype=np.bool_)
    blank = Trace(every_row, {epoch: {} for epoch in recipe.checkpoints})
    no_traces = dict.fromkeys(range(recipe.seeds), blank)
    for score in scores:
        used = traces if score.signals else no_traces
        for epoch in recipe.checkpoints:
            values_SN = per_seed_values(score, used, epoch, root_seed=recipe.seed)
            mean, std = mean_and_std(values_SN)
            values[f"{score.name}@{epoch}"] = mean
            specs[f"{score.name}@{epoch}"] = _spec(score, recipe, used, epoch)
        values[score.name] = mean
        values[f"{score.name}_std"] = std
        specs[score.name] = specs[f"{score.name}@{recipe.checkpoints[-1]}"]
        agreement[score.name] = reliability(values_SN, root_seed=recipe.seed)
    return ScoreColumns(values, specs, agreement)


def _spec(score: Score, recipe: Recipe, traces: dict[int, Trace], epoch: int) -> dict[str, Any]:
    """What a silent variant of the score would change, written down."""
    about = {
        "score": score.name,
        "higher_is": score.higher_is,
        "status": score.status,
        "source": score.source,
        "seeds": sorted(traces),
        **score.spec,
    }
    if not score.signals:
        return about
    held_out = any(not trace.in_sample.all() for trace in traces.values())
    return {
        **about,
        "epoch": epoch,
        "schedule_epochs": recipe.probe.schedule_epochs,
        "holdout": _holdout(recipe) if held_out else "none",
        "mode": "eval",
        "augmentation": "none",
        "precision": "float32",
        "trained_in": recipe.probe.precision,
        "task": recipe.task,
        "model": recipe.probe.model.name,
    }


def _holdout(recipe: Recipe) -> str:
    folds, repeats = recipe.holdout.folds, recipe.holdout.repeats
    how = f"fold seed mod {folds}" if repeats is None else f"{folds} folds, {repeats} repeats"
    return f"{how}, in-sample seeds only"


def per_seed_values(
    score: Score, traces: dict[int, Trace], epoch: int, *, root_seed: int
) -> npt.NDArray[np.float64]:
    """Values (S, N), seeds in increasing order; NaN where the seed did not train on the row.

    Raises:
        TableError: a value is not finite; score, row, epoch and seed are named.
    """
    values_SN = []
    for seed, trace in sorted(traces.items()):
        signals = {name: trace.signals[epoch][name] for name in score.signals}
        seen = Seen(signals, epoch, seed, root_seed, len(trace.in_sample))
        values = score.compute(seen)
        bad = np.flatnonzero(trace.in_sample & ~np.isfinite(values))
        if len(bad):
            raise TableError(
                f"score {score.name} is {values[bad[0]]} for row {bad[0]} at epoch {epoch}, "
                f"seed {seed}"
            )
        values_SN.append(np.where(trace.in_sample, values, np.nan))
    return np.stack(values_SN)


def mean_and_std(
    values_SN: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation (ddof 0) over the seeds that trained on each row, float64 (N,).

    Raises:
        PartialError: some row was held out by every seed there is.
    """
    seen_SN = ~np.isnan(values_SN)
    counts = seen_SN.sum(axis=0)
    if not counts.all():
        row = int(np.flatnonzero(counts == 0)[0])
        raise PartialError(
            f"{int((counts == 0).sum())} rows have no seed that trained on them (first: row {row})",
            hint="run again: the units that are missing will be trained; recorded traces need more "
            "seeds, or a loop that shows every row before its first checkpoint (no drop_last)",
        )
    filled = np.where(seen_SN, values_SN, 0.0)
    mean = filled.sum(axis=0) / counts
    squares = np.where(seen_SN, np.square(values_SN - mean), 0.0)
    return mean, np.sqrt(squares.sum(axis=0) / counts)


def reliability(values_SN: npt.NDArray[np.float64], *, root_seed: int) -> dict[str, Any]:
    """How well halves of the seeds agree; None values where there are too few seeds to tell.

    split_half_spearman: mean rank correlation of two halves of the seeds, over random splits.
    reliability: the same, corrected from half of the seeds to all S of them (Spearman-Brown:
        k r / (1 + (k - 1) r) with k = S / floor(S / 2), so 2 r / (1 + r) for even S).
    kept_half_overlap: share of the hardest half that both halves choose; chance is 0.5.
    Of more than 100,000 rows a seeded sample of so many is taken.
    """
    num_seeds = len(values_SN)
    if num_seeds < 2:
        return {"split_half_spearman": None, "reliability": None, "kept_half_overlap": None}
    generator = np.random.default_rng([root_seed, num_seeds])
    if values_SN.shape[1] > _MOST_ROWS:
        rows = generator.choice(values_SN.shape[1], _MOST_ROWS, replace=False)
        values_SN = values_SN[:, np.sort(rows)]
    correlations, overlaps = [], []
    for _ in range(_SPLITS if num_seeds > 2 else 1):
        order = generator.permutation(num_seeds)
        half = num_seeds // 2
        a, b = (_mean_seen(values_SN[order[p]]) for p in (slice(half), slice(half, 2 * half)))
        both = ~np.isnan(a) & ~np.isnan(b)
        if not both.any():  # two seeds that hold out everything the other trains on
            return {"split_half_spearman": None, "reliability": None, "kept_half_overlap": None}
        correlations.append(spearman(a[both], b[both]))
        overlaps.append(_top_half_overlap(a[both], b[both], generator))
    r = float(np.mean(correlations))
    if np.isnan(r):
        return {"split_half_spearman": None, "reliability": None, "kept_half_overlap": None}
    length = num_seeds / (num_seeds // 2)
    corrected = length * r / (1 + (length - 1) * r) if r > -1 / (length - 1) else -1.0
    return {
        "split_half_spearman": round(r, 6),
        "reliability": round(corrected, 6),
        "kept_half_overlap": round(float(np.mean(overlaps)), 6),
    }


def spearman(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Spearman's rank correlation, ties at their average rank; NaN for a constant input."""
    ranks = [pl.Series(x).rank("average").to_numpy() for x in (a, b)]
    centred = [r - r.mean() for r in ranks]
    norm = np.sqrt(np.square(centred[0]).sum() * np.square(centred[1]).sum())
    return float((centred[0] * centred[1]).sum() / norm) if norm > 0 else float("nan")


def _mean_seen(values_SN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = (~np.isnan(values_SN)).sum(axis=0)
    total = np.nansum(values_SN, axis=0)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def _top_half_overlap(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], generator: np.random.Generator
) -> float:
    """Share of the top half in common; ties fall differently in the two, so they earn no credit."""
    size = len(a) // 2
    if size == 0:
        return float("nan")
    tops = [np.lexsort((generator.random(len(x)), -x))[:size] for x in (a, b)]
    return len(np.intersect1d(tops[0], tops[1])) / size
