"""A window of the score between rows that are too easy and the hardest: Data Diet's, against noise.

Either the lowest `offset` rows are skipped and the next are kept (Paul et al. 2021, Figure 2), or
`skip_hardest` rows are skipped from the hard end, where mislabelled examples gather, and the next
hardest are kept. With the budget, one end fixes the other; an offset that suits one budget suits
no other, a share of the hardest suits all.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Strategy


def _order(pool: Pool, *, offset: object = None, skip_hardest: object = None) -> Order:
    """offset: skipped from the lowest scores on. skip_hardest: from the hardest rows on.

    One of them is given: an integer counts rows, a float in [0, 1) is a fraction of the pool.

    Raises:
        UsageError: it is out of range, or does not fit the pool together with the budget.
    """
    name, value = ("offset", offset) if skip_hardest is None else ("skip_hardest", skip_hardest)
    skip = _count(name, value, len(pool.scores))
    if skip + pool.budget > len(pool.scores):
        room = len(pool.scores) - skip
        fewer = f", or keep {room} at most" if room > 0 else ""
        raise UsageError(
            f"a window that skips {skip} and keeps {pool.budget} does not fit {len(pool.scores)} "
            "rows",
            hint=f"{name} can be {len(pool.scores) - pool.budget} at most here{fewer}",
        )
    if name == "offset":
        first = np.lexsort((pool.ties, pool.scores))
        skipped, others = "below_window", "above_window"
    else:
        first = np.lexsort((pool.ties, -pool.score(None).hardness))
        skipped, others = "among_hardest", "too_easy"
    places = np.concatenate([first[skip:], first[:skip][::-1]])
    dropped = np.full(len(pool.scores), others, dtype="U16")
    dropped[first[:skip]] = skipped
    return Order(places, dropped)


def _count(name: str, value: object, num_rows: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UsageError(f"{name} is {value!r}", hint="give a count, or a fraction in [0, 1)")
    if isinstance(value, float) and value >= 1:
        raise UsageError(f"{name} is {value}", hint="give a count without a point, or a fraction")
    return value if isinstance(value, int) else round(value * num_rows)


STRATEGY = Strategy(
    "window",
    _order,
    one_of=("offset", "skip_hardest"),
    says="left out the rows at one end of {by} and kept the next ones",
    meanings={
        "below_window": "Its score was below the window: among the lowest, which were skipped.",
        "above_window": "Its score was above the window.",
        "among_hardest": "It is among the hardest rows, which were skipped.",
        "too_easy": "It was easier than the rows of the window.",
    },
)
