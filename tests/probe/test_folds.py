"""Folds and holdouts: stratified, exact, and blind to the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dataprune.probe.folds import stratified_folds, stratified_holdout, stratified_order

Array = np.ndarray[Any, np.dtype[Any]]


def rows_of(class_sizes: list[int], seed: int = 0) -> tuple[Array, Array]:
    """Distinct content hashes, and labels in a shuffled order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(class_sizes)), class_sizes))
    hashes = rng.permutation(len(labels)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return hashes, labels.astype(np.int64)


sizes = st.lists(st.integers(0, 25), min_size=1, max_size=5).filter(sum)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(2, 10), st.integers(0, 5))
def test_every_row_is_in_one_fold_and_folds_of_a_class_differ_by_one_row_at_most(
    class_sizes: list[int], num_folds: int, seed: int
) -> None:
    hashes, labels = rows_of(class_sizes)
    folds = stratified_folds(hashes, labels, num_folds, seed)
    assert folds.shape == labels.shape
    assert set(folds.tolist()) <= set(range(num_folds))
    for label in range(len(class_sizes)):
        counts = np.bincount(folds[labels == label], minlength=num_folds)
        assert counts.sum() == class_sizes[label]
        assert counts.max() - counts.min() <= 1


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(2, 10), st.randoms(use_true_random=False))
def test_permuting_the_rows_permutes_the_folds(
    class_sizes: list[int], num_folds: int, random: Any
) -> None:
    hashes, labels = rows_of(class_sizes)
    order = list(range(len(labels)))
    random.shuffle(order)
    folds = stratified_folds(hashes, labels, num_folds, 3)
    assert np.array_equal(
        stratified_folds(hashes[order], labels[order], num_folds, 3), folds[order]
    )
    held_out = stratified_holdout(hashes, labels, 0.3, 3)
    again = stratified_holdout(hashes[order], labels[order], 0.3, 3)
    assert np.array_equal(again, held_out[order])


def test_rows_with_the_same_content_are_all_placed_once() -> None:
    labels = np.array([0, 0, 0, 1, 1, 0], dtype=np.int64)
    hashes = np.array([5, 5, 5, 5, 9, 9], dtype=np.uint64)
    place = stratified_order(hashes, labels, 0)
    assert sorted(place[labels == 0]) == [0, 1, 2, 3]
    assert sorted(place[labels == 1]) == [0, 1]


def test_another_seed_gives_other_folds_and_the_same_seed_the_same() -> None:
    hashes, labels = rows_of([40, 40])
    first = stratified_folds(hashes, labels, 5, 0)
    assert np.array_equal(first, stratified_folds(hashes, labels, 5, 0))
    assert not np.array_equal(first, stratified_folds(hashes, labels, 5, 1))


def test_folds_follow_neither_the_rows_order_nor_their_hashes_order() -> None:
    hashes, labels = rows_of([100])
    folds = stratified_folds(hashes, labels, 2, 0)
    assert not np.array_equal(folds, np.arange(100) % 2)
    assert not np.array_equal(folds[np.argsort(hashes)], np.arange(100) % 2)


def test_classes_of_one_row_do_not_all_fall_into_the_same_fold() -> None:
    hashes, labels = rows_of([1] * 12)
    assert np.bincount(stratified_folds(hashes, labels, 4, 0)).tolist() == [3, 3, 3, 3]


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(2, 10))
@example([7, 7, 7], 10)
@example([4, 4, 4, 4, 4], 10)
def test_no_fold_is_empty_where_there_are_two_rows_for_each(
    class_sizes: list[int], num_folds: int
) -> None:
    """A seed whose fold is empty holds nothing out, and its accuracy cannot be measured."""
    assume(sum(class_sizes) >= 2 * num_folds)
    hashes, labels = rows_of(class_sizes)
    folds = stratified_folds(hashes, labels, num_folds, 0)
    assert set(folds.tolist()) == set(range(num_folds))


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(0, 1), st.integers(0, 5))
def test_the_held_out_share_of_each_class_is_exact(
    class_sizes: list[int], frac: float, seed: int
) -> None:
    hashes, labels = rows_of(class_sizes)
    held_out = stratified_holdout(hashes, labels, frac, seed)
    for label, size in enumerate(class_sizes):
        assert held_out[labels == label].sum() == round(frac * size)


@settings(max_examples=30, deadline=None)
@given(sizes, st.floats(0, 0.9))
def test_a_larger_holdout_contains_the_smaller_one(class_sizes: list[int], frac: float) -> None:
    hashes, labels = rows_of(class_sizes)
    smaller = stratified_holdout(hashes, labels, frac, 0)
    larger = stratified_holdout(hashes, labels, frac + 0.1, 0)
    assert not np.any(smaller & ~larger)
