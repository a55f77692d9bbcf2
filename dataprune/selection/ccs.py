"""Coverage-centric selection: drop the hardest share, then cover the range of the score evenly.

Zheng et al. 2023 (ICLR, "Coverage-centric Coreset Selection for High Pruning Rates"), Algorithm 1.
The hardest `beta` of the pool go, since mislabelled rows gather there; the range of the score over
the rest is cut into bins of equal width; the budget is shared from the smallest bin on, each bin
giving up its share of what is left to those after it; within a bin rows are drawn at random.

The draw is the order of a seeded hash, and shares grow with the budget, so a smaller budget's rows
are among those of a larger one. The authors prune by AUM whatever they stratify by: `hard_by: aum`.
Their code multiplies the upper edge by 1.0001, which loses rows where scores are negative; here the
last bin holds its upper edge. Equal widths are moved by outliers, as in the paper.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import UInt64
from dataprune.selection import Order, Pool, Rows, Strategy, Values


def _order(
    pool: Pool, *, beta: object = 0.1, hard_by: str | None = None, bins: object = 50
) -> Order:
    """beta: share of the pool, in [0, 1), that is dropped as hardest by the score `hard_by`.

    hard_by: default: the score decided by. bins: how many.

    Raises:
        UsageError: a parameter is out of range, or too few rows are left for the budget.
    """
    if isinstance(beta, bool) or not isinstance(beta, int | float) or not 0 <= beta < 1:
        raise UsageError(f"beta is {beta!r}", hint="give the share to drop as hardest, in [0, 1)")
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise UsageError(f"bins is {bins!r}", hint="give a count of at least 1")
    num_rows = len(pool.scores)
    num_hard = round(beta * num_rows)
    if pool.budget > num_rows - num_hard:
        raise UsageError(
            f"ccs drops the hardest {num_hard} of {num_rows} rows, and {pool.budget} are to be "
            "kept",
            hint=f"beta can be {(num_rows - pool.budget) / num_rows:.3g} at most here",
        )
    rising = np.lexsort((pool.ties, pool.score(hard_by).hardness))
    rest, hard = rising[: num_rows - num_hard], rising[num_rows - num_hard :]
    if len(rest):
        rest = rest[_covering(pool.scores[rest], pool.ties[rest], bins)]
    dropped = np.full(num_rows, "not_drawn", dtype="U16")
    dropped[hard] = "among_hardest"
    return Order(np.concatenate([rest, hard]), dropped)


def _covering(scores: Values, ties: UInt64, bins: int) -> Rows:
    """Places in the order in which a growing budget takes them.

    From the smallest of k bins on, each takes min(its size, floor(what is left / bins left)). So
    every bin has its j-th row before any has its next one, and of one round the bins that are
    visited last take first: rows by (place within the bin, minus the visit of the bin).
    """
    lowest, highest = scores.min(), scores.max()
    width = highest - lowest
    share = (scores - lowest) / width if width > 0 else np.zeros_like(scores)
    bin_of = np.minimum((share * bins).astype(np.int64), bins - 1)
    sizes = np.bincount(bin_of, minlength=bins)
    visit = np.empty(bins, dtype=np.int64)
    visit[np.argsort(sizes, kind="stable")] = np.arange(bins)
    by_bin = np.lexsort((ties, bin_of))
    starts = np.cumsum(sizes) - sizes
    within = np.empty(len(scores), dtype=np.int64)
    within[by_bin] = np.arange(len(scores)) - starts[bin_of[by_bin]]
    return np.lexsort((-visit[bin_of], within))


STRATEGY = Strategy(
    "ccs",
    _order,
    reads=("hard_by",),
    draws=True,
    says="left out the hardest rows and drew evenly over the range of {by}",
    meanings={
        "not_drawn": "The random draw did not choose it.",
        "among_hardest": "It is among the hardest rows, which were left out first.",
    },
)
