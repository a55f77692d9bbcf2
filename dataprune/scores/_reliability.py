"""How far to trust a score: do seeds agree, how many would be enough, do scores say the same?

Shape suffixes: S seeds, N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from dataprune.scores._pool import Over, pool

_SPLITS = 20
_MOST_ROWS = 100_000
ENOUGH = 0.9

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def reliability(values_SN: Floats, in_SN: Bools, over: Over, *, root_seed: int) -> dict[str, Any]:
    """How well halves of the seeds agree; None values where there are too few seeds to tell.

    split_half_spearman: mean rank correlation of two halves of the seeds, over random splits.
    reliability: the same, corrected from half of the seeds to all S of them (Spearman-Brown:
        k r / (1 + (k - 1) r) with k = S / floor(S / 2), so 2 r / (1 + r) for even S).
    kept_half_overlap: share of the hardest half that both halves choose; chance is 0.5.
    Of more than 100,000 rows a seeded sample of so many is taken.
    """
    unknown = {"split_half_spearman": None, "reliability": None, "kept_half_overlap": None}
    num_seeds = len(values_SN)
    if num_seeds < 2:
        return unknown
    generator = np.random.default_rng([root_seed, num_seeds])
    rows = _some_rows(values_SN.shape[1], generator)
    values_SN, in_SN = values_SN[:, rows], in_SN[:, rows]
    correlations, overlaps = [], []
    for _ in range(_SPLITS if num_seeds > 2 else 1):
        order = generator.permutation(num_seeds)
        half = num_seeds // 2
        chosen = (np.sort(order[:half]), np.sort(order[half : 2 * half]))
        a, b = (pool(values_SN[seeds], in_SN[seeds], over).value for seeds in chosen)
        both = ~np.isnan(a) & ~np.isnan(b)
        if not both.any():  # two seeds that hold out everything the other trains on
            return unknown
        correlations.append(spearman(a[both], b[both]))
        overlaps.append(hardest_half_overlap(a[both], b[both], generator))
    r = float(np.mean(correlations))
    if np.isnan(r):
        return unknown
    corrected = spearman_brown(r, num_seeds / (num_seeds // 2))
    return {
        "split_half_spearman": round(r, 6),
        "reliability": round(corrected, 6),
        "kept_half_overlap": round(float(np.mean(overlaps)), 6),
    }


def spearman_brown(r: float, times: float) -> float:
    """Reliability of `times` as many seeds as those whose reliability is r (Spearman-Brown).

    Below 0 the formula falls without bound: then it is -1 at least.
    """
    shrunk = 1 + (times - 1) * r
    return max(-1.0, times * r / shrunk) if shrunk > 0 else -1.0


def more_seeds(r: float, num_seeds: int, target: float = ENOUGH) -> int | None:
    """About how many seeds to add to reach the target reliability; None if none would do.

    Spearman-Brown solved for the number, to the nearest: target (1 - r) / (r (1 - target)) times as
    many as the `num_seeds` whose reliability is r.
    """
    if r >= target:
        return 0
    if r <= 0:
        return None
    return max(1, round(num_seeds * target * (1 - r) / (r * (1 - target))) - num_seeds)


def advice(
    name: str,
    reliability_of_all: float | None,
    num_seeds: int,
    *,
    over: Over = "in_sample",
    folds: int = 1,
) -> str | None:
    """One sentence where the seeds are too few; None where they are enough.

    folds: seeds come in so many at once: each row is held out by one of them.
    """
    if reliability_of_all is None:
        if num_seeds > 1 and over == "in_sample":
            return None
        enough = (num_seeds // folds + 1) * folds
        return f"{name}: nothing tells how far seeds agree; {enough} seeds would"
    more = more_seeds(reliability_of_all, num_seeds)
    have = f"{name}: r={math.floor(reliability_of_all * 100) / 100:.2f} with {num_seeds} seeds"
    if more is None:
        return f"{have}; seeds do not agree, and more of them would not help"
    more = math.ceil(more / folds) * folds
    return f"{have}; about {more} more would reach {ENOUGH:g}" if more else None


def between(columns: Mapping[str, Floats], *, root_seed: int) -> list[dict[str, Any]]:
    """Every pair of scores: their rank correlation, and the share of the hardest half in common.

    columns: {score: float64 (N,)}. Of more than 100,000 rows a seeded sample is taken.
    """
    if len(columns) < 2:
        return []
    names: Sequence[str] = list(columns)
    generator = np.random.default_rng([root_seed, len(names)])
    rows = _some_rows(len(columns[names[0]]), generator)
    values = {name: columns[name][rows] for name in names}
    ranks = {name: _ranks(values[name]) for name in names}
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            r = _correlation(ranks[a], ranks[b])
            overlap = hardest_half_overlap(values[a], values[b], generator)
            pairs.append(
                {
                    "a": a,
                    "b": b,
                    "spearman": None if math.isnan(r) else round(r, 6),
                    "kept_half_overlap": None if math.isnan(overlap) else round(overlap, 6),
                }
            )
    return pairs


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation, ties at their average rank; NaN for a constant input."""
    return _correlation(_ranks(a), _ranks(b))


def hardest_half_overlap(a: Floats, b: Floats, generator: np.random.Generator) -> float:
    """Share of the top half in common; ties fall differently in the two, so they earn no credit."""
    size = len(a) // 2
    if size == 0:
        return float("nan")
    tops = [np.lexsort((generator.random(len(x)), -x))[:size] for x in (a, b)]
    return len(np.intersect1d(tops[0], tops[1])) / size


def _ranks(values: Floats) -> Floats:
    ranks: Floats = pl.Series(values).rank("average").to_numpy()
    centred: Floats = ranks - ranks.mean()
    return centred


def _correlation(a: Floats, b: Floats) -> float:
    norm = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def _some_rows(num_rows: int, generator: np.random.Generator) -> Any:
    if num_rows <= _MOST_ROWS:
        return slice(None)
    return np.sort(generator.choice(num_rows, _MOST_ROWS, replace=False))
