"""Keep the rows with the highest scores (Data Diet's keep-max)."""

from __future__ import annotations

from dataprune.selection import Order, Pool, Sort, Strategy


def _sort() -> Sort:
    return Sort("high", dropped="too_easy")


def _order(pool: Pool) -> Order:
    return _sort().order(pool)


STRATEGY = Strategy("hardest", _order, sorts=_sort, says="kept the rows with the highest {by}")
