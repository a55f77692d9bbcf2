"""Pairs of rows worth comparing, found without looking at all pairs and in bounded pieces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Pairs = tuple[Rows, Rows]

_BITS = 64
_PIECE = 1 << 21  # pairs held at once: some 100 MB with their temporaries


def pairs_within(left: UInt64, right: UInt64, max_distance: int) -> Iterator[Pairs]:
    """Each (i, j) with at most `max_distance` differing bits between left[i] and right[j], once.

    Hashes that differ in at most d bits agree wholly in one of d + 1 bands of bits (pigeonhole),
    so only hashes that share a band are compared, and no pair is missed. The work grows with
    len(left) * len(right) / 2 ** (64 / (max_distance + 1)).
    """
    assert 0 <= max_distance < _BITS
    bands = _bands(max_distance + 1)
    for number, (offset, mask) in enumerate(bands):
        for i, j in equal_pairs((left >> offset) & mask, (right >> offset) & mask):
            differing = left[i] ^ right[j]
            new = np.bitwise_count(differing) <= max_distance
            for earlier_offset, earlier_mask in bands[:number]:
                new &= ((differing >> earlier_offset) & earlier_mask) != 0
            if new.any():
                yield i[new], j[new]


def equal_pairs(left: UInt64, right: UInt64) -> Iterator[Pairs]:
    """Each (i, j) with left[i] == right[j], in ascending i."""
    order = np.argsort(right, kind="stable")
    starts = np.searchsorted(right, left, side="left", sorter=order)
    counts = np.searchsorted(right, left, side="right", sorter=order) - starts
    for first, last in pieces(counts, _PIECE):
        here = counts[first:last]
        i = np.repeat(np.arange(first, last), here)
        within = np.arange(len(i)) - np.repeat(np.cumsum(here) - here, here)
        yield i, order[starts[i] + within]


def pieces(sizes: Rows, limit: int) -> Iterator[tuple[int, int]]:
    """Runs first..last of items whose sizes sum to at most `limit`, or single larger items."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + limit, side="right")))
        yield first, last
        first = last


def _bands(num_bands: int) -> list[tuple[np.uint64, np.uint64]]:
    """Offset and mask of each band; together they cover the 64 bits."""
    edges = [_BITS * band // num_bands for band in range(num_bands + 1)]
    return [
        (np.uint64(low), np.uint64((1 << (high - low)) - 1))
        for low, high in itertools.pairwise(edges)
    ]
