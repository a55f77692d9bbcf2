"""Keep rows that stand for all: the most similar kept row of each row, summed, is maximised.

Facility location f(S) = sum_i max_{j in S} s_ij (CRAIG, Mirzasoleiman et al. 2020), by lazy greedy
(Minoux 1978), which takes what plain greedy takes: at least 1 - 1/e of the best value. Similarity
is s_ij = r - d_ij, at least 0: Euclidean distance below a radius r, so that f counts how much
nearer the kept rows are than r on the whole, and scale plays no part.

`neighbours: 100` (default) knows of each row that many nearest others and no more: r is the largest
distance among them, beyond which rows are as good as unrelated. Memory is linear in the rows.
`neighbours: all` is exact: r is the largest distance of all; up to 8,192 rows in a pool, since
every pair is held. A smaller budget's rows are the first of a larger one's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Rows, Strategy
from dataprune.selection._cloud import (
    Cloud,
    Float32,
    Float64,
    check_count,
    features_in_tie_order,
)
from dataprune.selection._knn import nearest_neighbours

_MOST_EXACT = 8192  # rows: 256 MiB of similarities
# Of a point: the points that it would stand for, and how similar they are.
Served = Callable[[int], tuple[Rows | slice, Float32]]


def _order(pool: Pool, *, neighbours: object = 100) -> Order:
    """neighbours: how many a row has, or "all".

    Raises:
        UsageError: it is neither, or the pool is too large for all.
    """
    if neighbours != "all":
        check_count("neighbours", neighbours)
    elif len(pool.ties) > _MOST_EXACT:
        raise UsageError(
            f"facility_location with neighbours all is for up to {_MOST_EXACT} rows in a pool, and "
            f"this one has {len(pool.ties)}",
            hint="give a count of neighbours, or choose within classes: --class-balance",
        )
    places, features = features_in_tie_order(pool)
    cloud = Cloud(features)
    if neighbours == "all":
        served, gains = dense(cloud)
    else:
        assert isinstance(neighbours, int)
        served, gains = sparse(cloud, neighbours)
    chosen, left = lazy_greedy(served, gains, pool.budget)
    rest = np.lexsort((np.arange(len(left)), -left))[: len(left) - len(chosen)]
    order = places[np.concatenate([chosen, rest])]
    return Order(order, np.full(len(order), "stood_for"))


def dense(cloud: Cloud) -> tuple[Served, Float64]:
    """Every pair: who stands for whom, and what each point alone is worth."""
    n = len(cloud)
    similar = np.empty((n, n), dtype=np.float32)
    for block in cloud.blocks(n):
        np.sqrt(cloud.squared(block, slice(None)), out=similar[block])
    np.subtract(similar.max(), similar, out=similar)
    return (lambda j: (slice(None), similar[j])), similar.sum(axis=1, dtype=np.float64)


def sparse(cloud: Cloud, num_neighbours: int) -> tuple[Served, Float64]:
    """Nearest neighbours: a point stands for itself and those it is a neighbour of."""
    n = len(cloud)
    neighbours, distances = nearest_neighbours(cloud, num_neighbours)
    radius = distances.max(initial=0)
    by_target = np.argsort(neighbours.ravel(), kind="stable")
    targets = np.concatenate([np.arange(n), neighbours.ravel()[by_target]])
    sources = np.concatenate([np.arange(n), by_target // max(1, neighbours.shape[1])])
    similar = np.concatenate([np.full(n, radius), radius - distances.ravel()[by_target]])
    del neighbours, distances, by_target
    order = np.argsort(targets, kind="stable")
    sources, similar = sources[order], similar[order].astype(np.float32)
    ends = np.cumsum(np.bincount(targets, minlength=n))
    gains = np.bincount(targets[order], weights=similar, minlength=n).astype(np.float64)
    starts = np.concatenate([[0], ends[:-1]])

    def served(j: int) -> tuple[Rows, Float32]:
        here = slice(starts[j], ends[j])
        return sources[here], similar[here]

    return served, gains


def lazy_greedy(served: Served, gains: Float64, budget: int) -> tuple[Rows, Float64]:
    """Points in greedy order, int64 (budget,); and what each would still add, -1 for those taken.

    gains: what each point alone is worth. A gain only falls as points are taken, so a stale one is
    computed again only when it is the largest. Of equal gains the first point is taken.
    """
    covered = np.zeros(len(gains), dtype=np.float32)
    queue = [(-gain, j) for j, gain in enumerate(gains.tolist())]
    heapq.heapify(queue)
    chosen: list[int] = []
    while len(chosen) < budget:
        _, j = queue[0]
        rows, similar = served(j)
        fresh = (-_added(covered[rows], similar), j)
        if fresh > min(queue[1:3], default=fresh):
            heapq.heapreplace(queue, fresh)
            continue
        heapq.heappop(queue)
        chosen.append(j)
        covered[rows] = np.maximum(covered[rows], similar)
    left = np.asarray([_added(covered[r], s) for r, s in map(served, range(len(gains)))])
    left[chosen] = -1
    return np.asarray(chosen, dtype=np.int64), left


def _added(covered: Float32, similar: Float32) -> float:
    return float(np.maximum(similar - covered, 0).sum(dtype=np.float64))


STRATEGY = Strategy(
    "facility_location",
    _order,
    needs_score=False,
    needs_features=True,
    says="chose rows that the others are most similar to",
    meanings={"stood_for": "A kept row that is similar stands for it."},
)
