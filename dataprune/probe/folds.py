"""Stratified folds that depend on content and seed alone; rows of one group share a fold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64, mix64
from dataprune.sources._labels import Labels

Rows = npt.NDArray[np.int64]
_BINS = 10


def strata_of(labels: Labels) -> Rows:
    """What folds balance, int64 (n,): classes; sets of labels; or tenths of the first number.

    Rows without labels are one stratum.
    """
    if labels.ndim == 1:
        return labels.astype(np.int64)
    if labels.shape[1] == 0:
        return np.zeros(len(labels), dtype=np.int64)
    if labels.dtype == np.uint8:
        return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    edges = np.quantile(labels[:, 0], np.arange(1, _BINS) / _BINS)
    return np.searchsorted(edges, labels[:, 0], side="right").astype(np.int64)


def stratified_folds(
    hashes: UInt64, strata: Rows, num_folds: int, *salt: int, groups: Rows | None = None
) -> Rows:
    """Fold of each row, 0..num_folds-1, balanced within each stratum and in all.

    Without groups folds differ by one row at most, in each stratum and in all: a stratum goes on at
    the fold where the one before it ended. Groups are dealt out first, the largest first, each to
    the fold that has fewest rows; single rows then level what groups left uneven.

    groups: a number per row; rows with the same one share a fold.
    """
    folds = np.full(len(strata), -1, dtype=np.int64)
    counts = np.zeros((int(strata.max()) + 1, num_folds), dtype=np.int64)
    if groups is not None:
        _deal_groups(folds, counts, hashes, strata, groups, *salt)
    _deal_singles(folds, counts, hashes, strata, *salt)
    return folds


def stratified_holdout(
    hashes: UInt64, strata: Rows, frac: float, seed: int, groups: Rows | None = None
) -> npt.NDArray[np.bool_]:
    """Mask of a held-out share: `round(frac * size)` rows of each stratum.

    With groups the share is one fold of round(1 / frac), the one nearest to it in size.
    """
    if groups is not None:
        num_folds = round(1 / frac)
        folds = stratified_folds(hashes, strata, num_folds, seed, groups=groups)
        sizes = np.bincount(folds, minlength=num_folds)
        off = np.abs(sizes - frac * len(folds)) + (sizes == 0) * len(folds)
        held_out: npt.NDArray[np.bool_] = folds == int(np.argmin(off))
        return held_out
    sizes = np.bincount(strata)
    quota = np.round(frac * sizes).astype(np.int64)
    return stratified_order(hashes, strata, seed) < quota[strata]


def stratified_order(hashes: UInt64, strata: Rows, *salt: int) -> Rows:
    """Place of each row within its stratum, in a seeded order by content hash (ties by row)."""
    order = np.lexsort((np.arange(len(strata)), mix64(hashes, "folds", *salt), strata))
    _, start = np.unique(strata[order], return_index=True)
    sizes = np.diff(np.append(start, len(strata)))
    place = np.empty(len(strata), dtype=np.int64)
    place[order] = np.arange(len(strata)) - np.repeat(start, sizes)
    return place


def _deal_groups(
    folds: Rows, counts: Rows, hashes: UInt64, strata: Rows, groups: Rows, *salt: int
) -> None:
    """Give every group of two rows or more a fold; counts (strata, folds) grow with it.

    Groups within a factor of two in size come in a salted order, and ties between folds are broken
    by the salt, so that another salt gives another partition.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(sizes[inverse] > 1)
    order = shared[np.argsort(inverse[shared], kind="stable")]
    starts = np.unique(inverse[order], return_index=True)[1]
    members = np.split(order, starts[1:]) if len(order) else []
    keys = mix64(hashes, "groups", *salt)
    identity = [int(keys[rows].min()) for rows in members]
    totals = counts.sum(axis=0)
    for i in sorted(
        range(len(members)), key=lambda i: (-len(members[i]).bit_length(), identity[i])
    ):
        rows = members[i]
        here, sizes = np.unique(strata[rows], return_counts=True)
        crowding = (counts[here] * sizes[:, None]).sum(axis=0)
        fold = int(
            np.lexsort(
                (np.roll(np.arange(len(totals)), identity[i] % len(totals)), totals, crowding)
            )[0]
        )
        folds[rows] = fold
        counts[here, fold] += sizes
        totals[fold] += len(rows)


def _deal_singles(folds: Rows, counts: Rows, hashes: UInt64, strata: Rows, *salt: int) -> None:
    """Give each row left the fold with fewest of its stratum; of those, with fewest of all."""
    rows = np.flatnonzero(folds < 0)
    if len(rows) == 0:
        return
    order = rows[np.lexsort((stratified_order(hashes[rows], strata[rows], *salt), strata[rows]))]
    starts = np.unique(strata[order], return_index=True)[1]
    totals = counts.sum(axis=0)
    for part in np.split(order, starts[1:]):
        stratum = strata[part[0]]
        emptiest_first = np.argsort(np.argsort(totals, kind="stable"))
        folds[part] = _fill(counts[stratum], emptiest_first, len(part))
        added = np.bincount(folds[part], minlength=counts.shape[1])
        counts[stratum] += added
        totals += added


def _fill(have: Rows, tie: Rows, num_rows: int) -> Rows:
    """The folds of the next rows: always one that has fewest then; ties in the given order."""
    lowest = np.sort(have)
    size = np.arange(1, len(have) + 1)
    level = int((-(-(num_rows + np.cumsum(lowest)) // size)).min())  # the least with room for all
    room = np.maximum(level - have, 0)
    slots = np.repeat(np.arange(len(have)), room)
    at = np.repeat(have, room) + np.arange(len(slots)) - np.repeat(np.cumsum(room) - room, room)
    return slots[np.lexsort((tie[slots], at))][:num_rows]
