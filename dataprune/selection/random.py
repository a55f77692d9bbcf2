"""Keep a uniform random sample, drawn by the seeded hash of the row; needs no score."""

from __future__ import annotations

import numpy as np

from dataprune.selection import Order, Pool, Strategy


def _order(pool: Pool) -> Order:
    places = np.argsort(pool.ties, kind="stable")
    return Order(places, np.full(len(places), "not_drawn"))


STRATEGY = Strategy(
    "random",
    _order,
    needs_score=False,
    draws=True,
    sorts="ties",
    says="kept a random sample",
    meanings={"not_drawn": "The random draw did not choose it."},
)
