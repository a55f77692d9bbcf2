"""k-means in blocks: deterministic, memory linear in the rows, no dependency.

Shape suffixes: N points, D features, K centres.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Rows
from dataprune.selection._cloud import Cloud, Float32, Float64, squared_distances

_ROUNDS = 50


def k_means(features_ND: Float32, num_centres: int, seed: int) -> tuple[Rows, Float64]:
    """Lloyd's k-means from a k-means++ start: the centre of each point, (N,), and centres (K, D).

    It stops when no point changes its centre, or after 50 rounds. A centre that loses all its
    points moves to the one that lies farthest from its own.

    Raises:
        UsageError: there are fewer points than centres.
    """
    if num_centres > len(features_ND):
        raise UsageError(
            f"{num_centres} clusters of {len(features_ND)} rows are too many",
            hint="set clusters to fewer",
        )
    cloud = Cloud(features_ND)
    centres = _start(cloud, num_centres, np.random.default_rng(seed))
    of, squared = _nearest(cloud, centres)
    for _ in range(_ROUNDS):
        centres = _means(cloud, of, squared, centres)
        before = of
        of, squared = _nearest(cloud, centres)
        if np.array_equal(of, before):
            break
    return of, centres + cloud.centre


def _start(cloud: Cloud, num_centres: int, rng: np.random.Generator) -> Float64:
    """k-means++ (Arthur and Vassilvitskii 2007): each next centre drawn by squared distance."""
    chosen = np.zeros(num_centres, dtype=np.int64)
    nearest = np.full(len(cloud), np.inf)
    for k in range(num_centres):
        if k == 0:
            chosen[k] = rng.integers(len(cloud))
        elif total := nearest.sum():
            place = np.searchsorted(np.cumsum(nearest), rng.random() * total, side="right")
            chosen[k] = min(place, len(cloud) - 1)
        else:  # every point lies on a centre
            chosen[k] = k
        nearest = np.minimum(nearest, cloud.squared(slice(None), chosen[k : k + 1])[:, 0])
    return cloud.at(chosen)


def _nearest(cloud: Cloud, centres_KD: Float64) -> tuple[Rows, Float32]:
    """The centre that each point is nearest to, the first of equals; and the squared distance."""
    of = np.empty(len(cloud), dtype=np.int64)
    least = np.empty(len(cloud), dtype=np.float32)
    norms = (centres_KD**2).sum(axis=1)
    for block in cloud.blocks(max(centres_KD.shape)):
        squared = squared_distances(cloud.at(block), cloud.norms[block], centres_KD, norms)
        of[block] = squared.argmin(axis=1)
        least[block] = squared[np.arange(len(squared)), of[block]]
    return of, least


def _means(cloud: Cloud, of: Rows, squared: Float32, centres_KD: Float64) -> Float64:
    sums = np.zeros_like(centres_KD)
    for block in cloud.blocks(centres_KD.shape[1]):
        np.add.at(sums, of[block], cloud.at(block))
    counts = np.bincount(of, minlength=len(sums))
    empty = np.flatnonzero(counts == 0)
    means = sums / np.maximum(counts, 1)[:, None]
    means[empty] = cloud.at(np.argsort(-squared, kind="stable")[: len(empty)])
    return means
