"""Keep the rows with the lowest scores."""

from __future__ import annotations

from dataprune.selection import Order, Pool, Sort, Strategy


def _sort() -> Sort:
    return Sort("low", dropped="too_hard")


def _order(pool: Pool) -> Order:
    return _sort().order(pool)


STRATEGY = Strategy("easiest", _order, sorts=_sort, says="kept the rows with the lowest {by}")
