"""Drop the lowest `offset` rows and keep the next: Data Diet's window against label noise.

With the budget, the window fixes both ends: rows below it are too easy, rows above it are the
hardest, where mislabelled examples gather (Paul et al. 2021, Figure 2).
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Strategy


def _order(pool: Pool, *, offset: object) -> Order:
    """offset: an integer counts rows, a float in [0, 1) is a fraction of the pool.

    Raises:
        UsageError: offset is out of range, or offset and budget together exceed the pool.
    """
    num_rows = len(pool.scores)
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not offset >= 0:
        raise UsageError(f"offset is {offset!r}", hint="give a count, or a fraction in [0, 1)")
    if isinstance(offset, float) and offset >= 1:
        raise UsageError(f"offset is {offset}", hint="give a count without a point, or a fraction")
    skip = offset if isinstance(offset, int) else round(offset * num_rows)
    if skip + pool.budget > num_rows:
        fewer = f", or keep {num_rows - skip} at most" if skip < num_rows else ""
        raise UsageError(
            f"a window that skips {skip} and keeps {pool.budget} does not fit {num_rows} rows",
            hint=f"offset can be {num_rows - pool.budget} at most here{fewer}",
        )
    rising = np.lexsort((pool.ties, pool.scores))
    places = np.concatenate([rising[skip:], rising[:skip][::-1]])
    dropped = np.full(num_rows, "above_window")
    dropped[rising[:skip]] = "below_window"
    return Order(places, dropped)


STRATEGY = Strategy(
    "window",
    _order,
    says="left out the rows with the lowest {by} and kept the next ones",
    meanings={
        "below_window": "Its score was below the window: among the easiest.",
        "above_window": "Its score was above the window: among the hardest.",
    },
)
