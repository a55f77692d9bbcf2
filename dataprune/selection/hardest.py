"""Keep the rows with the highest scores (Data Diet's keep-max)."""

from __future__ import annotations

import numpy as np

from dataprune.selection import Order, Pool, Strategy


def _order(pool: Pool) -> Order:
    places = np.lexsort((pool.ties, -pool.scores))
    return Order(places, np.full(len(places), "too_easy"))


STRATEGY = Strategy("hardest", _order, sorts="high", says="kept the rows with the highest {by}")
