"""A window of the score between rows that are too easy and the hardest: Data Diet's, against noise.

Either the lowest `offset` rows are skipped and the next are kept (Paul et al. 2021, Figure 2), or
`skip_hardest` rows are skipped from the hard end, where mislabelled examples gather, and the next
hardest are kept. With the budget, one end fixes the other; an offset that suits one budget suits
no other, a share of the hardest suits all.
"""

from __future__ import annotations

from functools import partial

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Sort, Strategy


def _sort(*, offset: object = None, skip_hardest: object = None) -> Sort:
    if skip_hardest is None:
        skip = partial(_skip, "offset", offset)
        return Sort("low", "above_window", skip, skipped="below_window")
    skip = partial(_skip, "skip_hardest", skip_hardest)
    return Sort("hard", "easier_than_window", skip, skipped="among_hardest")


def _order(pool: Pool, *, offset: object = None, skip_hardest: object = None) -> Order:
    """offset: skipped from the lowest scores on. skip_hardest: from the hardest rows on.

    One of them is given: an integer counts rows, a float in [0, 1) is a fraction of the pool.

    Raises:
        UsageError: it is out of range, or does not fit the pool together with the budget.
    """
    return _sort(offset=offset, skip_hardest=skip_hardest).order(pool)


def _skip(name: str, value: object, num_rows: int, budget: int) -> int:
    skip = _count(name, value, num_rows)
    if skip + budget > num_rows:
        room = num_rows - skip
        fewer = f", or keep {room} at most" if room > 0 else ""
        raise UsageError(
            f"a window that skips {skip} and keeps {budget} does not fit {num_rows} rows",
            hint=f"{name} can be {num_rows - budget} at most here{fewer}",
        )
    return skip


def _count(name: str, value: object, num_rows: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UsageError(f"{name} is {value!r}", hint="give a count, or a fraction in [0, 1)")
    if isinstance(value, float) and value >= 1:
        raise UsageError(f"{name} is {value}", hint="give a count without a point, or a fraction")
    return value if isinstance(value, int) else round(value * num_rows)


STRATEGY = Strategy(
    "window",
    _order,
    sorts=_sort,
    one_of=("offset", "skip_hardest"),
    says="left out the rows at one end of {by} and kept the next ones",
    meanings={
        "below_window": "Its score was below the window: among the lowest, which were skipped.",
        "above_window": "Its score was above the window.",
        "among_hardest": "It is among the hardest rows, which were skipped.",
        "easier_than_window": "It was easier than the rows of the window.",
    },
)
