"""Pairs of near hashes: the banded search finds what comparing all pairs finds, once each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.similarity import pairs
from dataprune.similarity.pairs import equal_pairs, pairs_within, pieces

UInt64 = np.ndarray[tuple[int], np.dtype[np.uint64]]


def flipped(hashes: UInt64, rng: np.random.Generator, max_bits: int) -> UInt64:
    """The same hashes with up to so many bits changed."""
    changed = hashes.copy()
    for k in range(len(hashes)):
        for bit in rng.choice(64, rng.integers(0, max_bits + 1), replace=False):
            changed[k] ^= np.uint64(1) << np.uint64(bit)
    return changed


def found_by(left: UInt64, right: UInt64, distance: int) -> list[tuple[int, int]]:
    """What the banded search yields, in order of position."""
    yielded = [
        pair for i, j in pairs_within(left, right, distance) for pair in zip(i, j, strict=True)
    ]
    return sorted((int(i), int(j)) for i, j in yielded)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10), st.integers(0, 25))
def test_the_banded_search_finds_each_near_pair_once(seed: int, distance: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 2**64, rows, dtype=np.uint64)
    right = flipped(np.concatenate([left, left[: rows // 2]]), rng, 2 * distance + 1)
    expected = [
        (i, j)
        for i in range(len(left))
        for j in range(len(right))
        if (int(left[i]) ^ int(right[j])).bit_count() <= distance
    ]
    assert found_by(left, right, distance) == expected


@pytest.mark.parametrize("distance", [0, 3, 10, 63])
def test_pairs_at_exactly_the_distance_are_found_and_one_bit_further_not(distance: int) -> None:
    left = np.array([0], dtype=np.uint64)
    right = np.array([2**distance - 1, 2 ** (distance + 1) - 1], dtype=np.uint64)
    assert found_by(left, right, distance) == [(0, 0)]


def test_pairs_come_in_pieces_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_PIECE", 50)
    keys = np.repeat(np.arange(4, dtype=np.uint64), 20)
    parts = list(equal_pairs(keys, keys))
    assert sum(len(i) for i, _ in parts) == 4 * 20 * 20
    assert max(len(i) for i, _ in parts) <= 50
    assert all((keys[i] == keys[j]).all() for i, j in parts)


def test_an_item_larger_than_the_limit_is_a_piece_of_its_own() -> None:
    assert list(pieces(np.array([3, 3, 9, 1, 1]), 6)) == [(0, 2), (2, 3), (3, 5)]
    assert list(pieces(np.array([], dtype=np.int64), 6)) == []
