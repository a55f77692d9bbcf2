"""Keep the rows with the lowest scores."""

from __future__ import annotations

import numpy as np

from dataprune.selection import Order, Pool, Strategy


def _order(pool: Pool) -> Order:
    places = np.lexsort((pool.ties, pool.scores))
    return Order(places, np.full(len(places), "too_hard"))


STRATEGY = Strategy("easiest", _order, sorts="low", says="kept the rows with the lowest {by}")
