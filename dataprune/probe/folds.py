"""Stratified folds that depend on content and seed alone, never on row order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64, mix64


def stratified_order(
    hashes: UInt64, labels: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.int64]:
    """Place of each row within its class, in a seeded order by content hash (ties by row)."""
    order = np.lexsort((np.arange(len(labels)), mix64(hashes, "folds", seed), labels))
    _, start = np.unique(labels[order], return_index=True)
    sizes = np.diff(np.append(start, len(labels)))
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(start, sizes)
    return place


def stratified_folds(
    hashes: UInt64, labels: npt.NDArray[np.int64], num_folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Fold of each row, 0..num_folds-1; folds differ by one row at most, in each class and in all.

    A class goes on at the fold where the class before it ended.
    """
    sizes = np.bincount(labels)
    before = np.cumsum(sizes) - sizes
    return (before[labels] + stratified_order(hashes, labels, seed)) % num_folds


def stratified_holdout(
    hashes: UInt64, labels: npt.NDArray[np.int64], frac: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Mask of a held-out share: `round(frac * size)` rows of each class."""
    sizes = np.bincount(labels)
    quota = np.round(frac * sizes).astype(np.int64)
    return stratified_order(hashes, labels, seed) < quota[labels]
