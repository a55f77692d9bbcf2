"""What a filter does to hard queries: rates of success before and after it.

Agreement favours easy queries: those that are sometimes right and sometimes wrong, from which most
is to be learned, are the first to go. So every run shows a histogram and one number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray


def histogram(values: NDArray[np.float64], bins: int = 10) -> dict[str, int]:
    """Counts of rates from 0 to 1: exactly 0 and exactly 1 apart, NaN as unknown.

    bins: equal ones between, open below 0 and 1, each with its lower edge.
    """
    known = values[~np.isnan(values)]
    between = known[(known > 0) & (known < 1)]
    places = np.minimum((between * bins + 1e-9).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    named = {f"{i / bins:.3g} to {(i + 1) / bins:.3g}": int(counts[i]) for i in range(bins)}
    return {
        "0": int((known == 0).sum()),
        **named,
        "1": int((known == 1).sum()),
        "unknown": len(values) - len(known),
    }


def frontier_retention(before: Mapping[str, float], after: Collection[str]) -> float | None:
    """Share of queries with a rate strictly between 0 and 1 that keep a trajectory.

    before: rate of success (or vote share) per query. after: queries that keep one or more.
    None where no query is in between.
    """
    frontier = [query for query, rate in before.items() if 0 < rate < 1]
    kept = set(after)
    return sum(query in kept for query in frontier) / len(frontier) if frontier else None
