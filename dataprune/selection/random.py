"""Keep a uniform random sample, drawn by the seeded hash of the row; needs no score."""

from __future__ import annotations

from dataprune.selection import Order, Pool, Sort, Strategy


def _sort() -> Sort:
    return Sort("ties", dropped="not_drawn")


def _order(pool: Pool) -> Order:
    return _sort().order(pool)


STRATEGY = Strategy(
    "random",
    _order,
    needs_score=False,
    draws=True,
    sorts=_sort,
    says="kept a random sample",
    meanings={"not_drawn": "The random draw did not choose it."},
)
