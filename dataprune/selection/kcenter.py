"""Keep rows that leave no row far from a kept one: greedy farthest-first k-center.

Gonzalez 1985; Sener and Savarese 2018 (ICLR, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach"), greedy form: start at the row nearest the mean, then take the row that lies
farthest from all taken ones, Euclidean. A smaller budget's rows are the first of a larger one's.
The rest follow by their distance to the kept rows.

Outliers come early: it covers what is rare, mislabelled rows too. Memory is linear in the rows: one
running minimum, which is brought up to date for all rows together only when the few that can be
taken next have been used up.
"""

from __future__ import annotations

import numpy as np

from dataprune.selection import Order, Pool, Rows, Strategy
from dataprune.selection._cloud import (
    Cloud,
    Float32,
    Float64,
    features_in_tie_order,
    near_zero,
    squared_distances,
)

_CANDIDATES = 1024  # whose distances are kept up to date with every choice
_TAKEN = -1.0


def _order(pool: Pool) -> Order:
    places, features = features_in_tie_order(pool)
    chosen, nearest = farthest_first(Cloud(features), pool.budget)
    rest = np.lexsort((np.arange(len(nearest)), -nearest))[: len(nearest) - len(chosen)]
    order = places[np.concatenate([chosen, rest])]
    return Order(order, np.full(len(order), "near_kept"))


def farthest_first(cloud: Cloud, budget: int) -> tuple[Rows, Float32]:
    """Points in greedy order, int64 (budget,); and the squared distance of each to the nearest.

    The second is -1 for those taken. Of equally far points the first is taken.
    """
    chosen = np.empty(budget, dtype=np.int64)
    nearest = np.full(len(cloud), np.inf, dtype=np.float32)
    if budget:
        chosen[0] = np.argmin(cloud.norms.astype(np.float32))
    counted, num_taken = 0, min(1, budget)
    while counted < budget:
        _update(cloud, nearest, chosen[counted:num_taken])
        nearest[chosen[:num_taken]] = _TAKEN
        counted = num_taken
        num_taken += _choose(cloud, nearest, chosen[num_taken:])
    return chosen, nearest


def _update(cloud: Cloud, nearest: Float32, centres: Rows) -> None:
    """Bring the distances to the nearest centre up to date with new centres."""
    points, norms = -2 * cloud.at(centres), cloud.norms[centres, None]
    for block in cloud.blocks(max(points.shape)):
        squared = points @ cloud.at(block).T
        squared += norms
        least = squared.min(axis=0) + cloud.norms[block]
        np.minimum(nearest[block], near_zero(least, 2 * cloud.norms[block]), out=nearest[block])


def _choose(cloud: Cloud, nearest: Float32, into: Rows) -> int:
    """Take points as long as it is sure that none outside the candidates is farther; how many.

    Distances only fall, so a point outside stays below what it is now.
    """
    inside, bar, first_outside = _split(nearest)
    points: Float64 = cloud.at(inside)
    norms, values = cloud.norms[inside], nearest[inside]
    for taken in range(len(into)):
        best = int(np.argmax(values))
        beaten = values[best] < bar or (values[best] == bar and inside[best] > first_outside)
        if beaten or values[best] == _TAKEN:
            return taken
        into[taken] = inside[best]
        here = slice(best, best + 1)
        squared = squared_distances(points, norms, points[here], norms[here])[:, 0]
        np.minimum(values, squared, out=values)
        values[best] = _TAKEN
    return len(into)


def _split(nearest: Float32) -> tuple[Rows, float, int]:
    """The farthest points, by place; the largest value of the others, and the first place of it."""
    if len(nearest) <= _CANDIDATES:
        return np.arange(len(nearest)), -np.inf, len(nearest)
    limit = np.partition(nearest, -_CANDIDATES)[-_CANDIDATES]
    above = nearest > limit
    equal = np.flatnonzero(nearest == limit)
    room = _CANDIDATES - int(above.sum())
    inside = np.sort(np.concatenate([np.flatnonzero(above), equal[:room]]))
    if len(equal) > room:
        return inside, float(limit), int(equal[room])
    others = np.where(above | (nearest == limit), -np.inf, nearest)
    first = int(np.argmax(others))
    return inside, float(others[first]), first


STRATEGY = Strategy(
    "kcenter",
    _order,
    needs_score=False,
    needs_features=True,
    says="covered the features, each next row the farthest from all before",
    meanings={"near_kept": "A kept row lies nearer to it than to those that were still taken."},
)
