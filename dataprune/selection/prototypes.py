"""Keep rows far from their prototype, or near it: cosine distance to the nearest k-means centre.

Sorscher et al. 2022 (NeurIPS, "Beyond neural scaling laws"): k-means on features of length 1; the
distance of a row is 1 - cos of the angle to the centre of its cluster. Far rows are atypical: keep
them where data is plenty (`keep: far`), and typical ones where it is scarce (`keep: near`).

`clusters: 1` (default) within each class is the class mean, their supervised form; with
`per_class: false` the clusters are of all rows, the self-supervised one, which needs a count.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Strategy
from dataprune.selection._cloud import (
    check_count,
    check_yes_no,
    classes_of,
    features_in_tie_order,
    unit_length,
)
from dataprune.selection._kmeans import k_means

_DROPPED = {"far": "near_prototype", "near": "far_from_prototype"}


def _order(
    pool: Pool, *, clusters: object = 1, keep: str = "far", per_class: object = True
) -> Order:
    """clusters: centres in each class, or in all where `per_class` is false.

    Raises:
        UsageError: a parameter is out of range, or a class has fewer rows than clusters.
    """
    num_centres = check_count("clusters", clusters)
    if keep not in _DROPPED:
        raise UsageError(f"keep is {keep!r}", hint="it can be far or near")
    places, features = features_in_tie_order(pool)
    features = unit_length(features)
    distances = np.empty(len(places), dtype=np.float32)
    for rows in classes_of(pool, places, per_class=check_yes_no("per_class", per_class)):
        seed = int(pool.ties[places[rows[0]]])
        of, centres = k_means(features[rows], num_centres, seed)
        lengths = np.sqrt((centres**2).sum(axis=1, keepdims=True))
        centres = np.divide(centres, lengths, out=np.zeros_like(centres), where=lengths > 0)
        distances[rows] = 1 - (features[rows] * centres[of]).sum(axis=1)
    order = np.argsort(-distances if keep == "far" else distances, kind="stable")
    return Order(places[order], np.full(len(order), _DROPPED[keep]))


STRATEGY = Strategy(
    "prototypes",
    _order,
    needs_score=False,
    needs_features=True,
    says="ranked the rows by distance to the centre of their cluster",
    meanings={
        "near_prototype": "It is more typical of its cluster than the rows kept.",
        "far_from_prototype": "It is less typical of its cluster than the rows kept.",
    },
)
