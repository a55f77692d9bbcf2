"""Exact nearest neighbours in blocks: memory is linear in the rows, ties go to the first.

Shape suffixes: N points, B points of a block, K neighbours, D features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprune.selection import Rows
from dataprune.selection._cloud import (
    BLOCK_NUMBERS,
    Cloud,
    Float32,
    Float64,
    near_zero,
)

_GROUPS_PER_NEIGHBOUR = 8
_MANY = 8  # times the neighbours: so many candidates are no shorter way


def nearest_neighbours(cloud: Cloud, num_neighbours: int) -> tuple[Rows, Float32]:
    """The nearest other points of each and their distances, (N, K), nearest first.

    K is one less than the points where there are too few. Of equally near ones the first are taken.
    A quick pass in float32 leaves the few that can be among the nearest; those are told apart by
    their distances proper.
    """
    n = len(cloud)
    k = min(num_neighbours, n - 1)
    neighbours = np.empty((n, k), dtype=np.int64)
    distances = np.empty((n, k), dtype=np.float32)
    if k == 0:
        return neighbours, distances
    quick = _Quick(cloud, k)
    for block in cloud.blocks(n):
        rows, columns = quick.candidates(block)
        if len(rows) > _MANY * k * (block.stop - block.start):
            rows, columns, squared = _in_full(cloud, block, k)
        else:
            squared = _of_pairs(cloud, rows, columns)
        neighbours[block], distances[block] = _smallest(rows - block.start, columns, squared, k)
    return neighbours, np.sqrt(distances, out=distances)


class _Quick:
    """Distances in float32, up to what is the same for a point's whole row, and how wrong."""

    def __init__(self, cloud: Cloud, k: int) -> None:
        exact_ND = cloud.at(slice(None))
        self.points = exact_ND.astype(np.float32)
        self.others = (-2 * exact_ND).astype(np.float32)
        self.norms = cloud.norms.astype(np.float32)
        longest = cloud.norms.max()
        # Of a dot product of D numbers (Higham 2002, 3.1), doubled, with room for other roundings.
        dots = (self.points.shape[1] + 8) * np.sqrt(cloud.norms * longest)
        self.margins: Float64 = 2.0**-22 * (dots + 4 * longest)
        self.k, self.num_groups = k, max(1, _GROUPS_PER_NEIGHBOUR * k)

    def candidates(self, block: slice) -> tuple[Rows, Rows]:
        """Rows and columns of the pairs that can be among the nearest, by row and column."""
        quick_BN = self.points[block] @ self.others.T
        quick_BN += self.norms
        rows = np.arange(block.start, block.stop)
        quick_BN[rows - block.start, rows] = np.inf  # not a neighbour of itself
        limits = self._limits(quick_BN) + self.margins[block]
        near = quick_BN <= np.nextafter(limits.astype(np.float32), np.float32(np.inf))[:, None]
        here, columns = np.divmod(np.flatnonzero(near), quick_BN.shape[1])
        return here + block.start, columns

    def _limits(self, quick_BN: Float32) -> npt.NDArray[np.float64]:
        """What at least K values of a row do not exceed: the K-th of the smallest of groups."""
        size = quick_BN.shape[1] // self.num_groups
        smallest = quick_BN
        if size > 1:
            whole = quick_BN[:, : size * self.num_groups]
            smallest = whole.reshape(len(whole), size, self.num_groups).min(axis=1)
        found: Float64 = np.partition(smallest, self.k - 1, axis=1)[:, self.k - 1].astype(float)
        return found


def _in_full(cloud: Cloud, block: slice, k: int) -> tuple[Rows, Rows, Float32]:
    """The nearest of each row of a block from all distances, the first of equals: (B * K,)."""
    squared_BN = cloud.squared(block, slice(None))
    rows = np.arange(block.start, block.stop)
    squared_BN[rows - block.start, rows] = np.inf
    limits = np.partition(squared_BN, k - 1, axis=1)[:, k - 1, None]
    near = squared_BN == limits
    below = squared_BN < limits
    near &= np.cumsum(near, axis=1, dtype=np.int32) <= k - below.sum(axis=1)[:, None]
    near |= below
    here, columns = np.divmod(np.flatnonzero(near), len(cloud))
    return here + block.start, columns, squared_BN[here, columns]


def _of_pairs(cloud: Cloud, rows: Rows, columns: Rows) -> Float32:
    """Squared distance of each pair."""
    found = np.empty(len(rows), dtype=np.float32)
    step = max(1, BLOCK_NUMBERS // cloud.features.shape[1] // 4)
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        ours, others = cloud.at(rows[here]), cloud.at(columns[here])
        both = cloud.norms[rows[here]] + cloud.norms[columns[here]]
        found[here] = near_zero(both - 2 * np.einsum("ij,ij->i", ours, others), both)
    return found


def _smallest(rows: Rows, columns: Rows, values: Float32, k: int) -> tuple[Rows, Float32]:
    """Columns and values of the k smallest of each row, rising; of equal ones the first."""
    order = np.lexsort((columns, values, rows))
    counts = np.bincount(rows)
    starts = np.cumsum(counts) - counts
    taken = order[starts[:, None] + np.arange(k)]
    return columns[taken], values[taken]


def both_ways(neighbours_NK: Rows, weights_NK: Float32) -> tuple[Rows, Rows, Float32]:
    """The undirected graph: sources, targets and weights of each edge, once in each direction.

    Sorted by source and target, so that the edges of point i are one slice.
    """
    n, k = neighbours_NK.shape
    here, there = np.repeat(np.arange(n), k), neighbours_NK.ravel()
    keys = np.concatenate([here * n + there, there * n + here])
    keys, first = np.unique(keys, return_index=True)
    weights = np.concatenate([weights_NK.ravel()] * 2)[first]
    return keys // n, keys % n, weights
