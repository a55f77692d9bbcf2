"""Keep rows of middling distance from the centre of their class (Moderate coreset).

Xia et al. 2023 (ICLR, "Moderate Coreset"): the distance of each row's features to the centre of
its class (the median of each feature, as in the authors' code), and the rows whose distance lies
nearest the median of all distances, as a band of ranks: of n rows in one pool, the middle `budget`.
Public code that calls this Moderate keeps the two tails instead; here they are what is dropped.
Where rows are of no one class, all have one centre. Ranked from the middle outwards, so that a
smaller budget's band lies within a larger one's.
"""

from __future__ import annotations

import numpy as np

from dataprune.selection import Order, Pool, Strategy
from dataprune.selection._cloud import classes_of, features_in_tie_order


def _order(pool: Pool) -> Order:
    places, features = features_in_tie_order(pool)
    distances = np.empty(len(places), dtype=np.float32)
    for rows in classes_of(pool, places, per_class=True):
        of_class = features[rows].astype(np.float64)
        away = of_class - np.median(of_class, axis=0)
        distances[rows] = np.sqrt((away**2).sum(axis=1))
    rising = np.argsort(distances, kind="stable")
    from_middle = np.abs(2 * np.arange(len(rising)) - (len(rising) - 1))
    order = np.argsort(from_middle, kind="stable")
    dropped = np.full(len(rising), "far_from_centre", dtype="U15")
    dropped[places[rising[: len(rising) // 2]]] = "near_centre"
    return Order(places[rising[order]], dropped)


STRATEGY = Strategy(
    "moderate",
    _order,
    needs_score=False,
    needs_features=True,
    says="kept rows of middling distance from the centre of their class",
    meanings={
        "near_centre": "It lies nearer the centre of its class than the rows kept.",
        "far_from_centre": "It lies farther from the centre of its class than the rows kept.",
    },
)
