"""Anchors and the noise they tell of, against loops; and that their labels are really counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataprune.flags._anchors import anchor_counts, transition_of


def slow_counts(p: list[list[float]], labels: list[int]) -> list[list[int]]:
    """A twentieth of a class's rows, or up to 100 of at most half, the surest."""
    num_classes = len(p[0])
    counts = [[0] * num_classes for _ in range(num_classes)]
    for k in range(num_classes):
        mine = [i for i, row in enumerate(p) if max(range(num_classes), key=row.__getitem__) == k]
        mine.sort(key=lambda i: -p[i][k])
        wanted = max(round(0.05 * len(mine)), min(100, round(0.5 * len(mine))), 1)
        for i in mine[:wanted]:
            counts[labels[i]][k] += 1
    return counts


def slow_transition(counts: list[list[int]], a: float) -> list[list[float]]:
    classes = range(len(counts))
    rows = [sum(counts[j][k] for j in classes) for k in classes]
    errors = [rows[k] - counts[k][k] for k in classes]
    common = (sum(errors) + 0.5) / (sum(rows) + 1)
    found = [[0.0] * len(counts) for _ in classes]
    for k in classes:
        rate = (errors[k] + 5 * common) / (rows[k] + 5)
        for j in classes:
            share = (counts[j][k] + a) / (errors[k] + (len(counts) - 1) * a)
            found[j][k] = 1 - rate if j == k else rate * share
    return found


@pytest.mark.parametrize(("n", "num_classes"), [(300, 3), (5000, 4), (800, 10)])
def test_counts_equal_a_slow_reference(
    noisy: Callable[..., Any], means: Callable[..., Any], n: int, num_classes: int
) -> None:
    data = noisy(n=n, num_classes=num_classes)
    p = data.votes[0]
    expected = slow_counts(p.astype(np.float64).tolist(), data.given.tolist())
    assert anchor_counts(means(p, data.given), data.given).tolist() == expected


def test_rows_that_are_as_sure_as_the_last_anchor_count_as_well(
    means: Callable[..., Any],
) -> None:
    p = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 8 + [1] * 2)
    for order in (np.arange(10), np.arange(10)[::-1]):
        assert anchor_counts(means(p, labels), labels[order]).tolist() == [[8, 0], [2, 0]]


@pytest.mark.parametrize("pairwise", [False, True])
def test_the_transition_is_the_slow_references_at_its_concentration(
    noisy: Callable[..., Any], means: Callable[..., Any], *, pairwise: bool
) -> None:
    data = noisy(n=6000, noise=0.3, pairwise=pairwise)
    counts = anchor_counts(means(data.votes[0], data.given), data.given)
    transition, a = transition_of(counts)
    assert transition.tolist() == [
        pytest.approx(row) for row in slow_transition(counts.tolist(), a)
    ]
    assert transition.sum(axis=0) == pytest.approx(1)
    assert (transition > 0).all()


def test_noise_that_looks_symmetric_is_shrunk_to_it_and_other_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    symmetric = rng.multinomial(100, [0.8, *[0.2 / 9] * 9], size=10)  # a row per true class
    counts = np.array([np.roll(row, k) for k, row in enumerate(symmetric)]).T
    transition, a = transition_of(counts)
    assert a >= 10
    off = transition[~np.eye(10, dtype=bool)]
    assert off.max() / off.min() < 4
    pairs = 80 * np.eye(10, dtype=np.int64) + 20 * np.roll(np.eye(10, dtype=np.int64), 1, axis=0)
    transition, a = transition_of(pairs)
    assert a == pytest.approx(0.1)
    assert np.roll(transition, -1, axis=0).diagonal().min() > 0.18


def test_the_concentration_is_the_likeliest() -> None:
    """Dirichlet-multinomial, term by term, of the errors' labels."""
    counts = np.array([[50, 3, 0], [1, 40, 6], [0, 4, 60]])
    grid = [10 ** (-1 + 0.2 * i) for i in range(21)]

    def log_likelihood(a: float) -> float:
        found = 0.0
        for k in range(3):
            cells = [int(counts[j, k]) for j in range(3) if j != k]
            found += math.lgamma(2 * a) - math.lgamma(2 * a + sum(cells))
            found += sum(math.lgamma(a + m) - math.lgamma(a) for m in cells)
        return found

    assert transition_of(counts)[1] == pytest.approx(max(grid, key=log_likelihood))


def test_without_an_error_among_anchors_none_is_impossible() -> None:
    transition, a = transition_of(100 * np.eye(4, dtype=np.int64))
    assert a == pytest.approx(1000)
    assert transition.diagonal() == pytest.approx(1 - 0.5 / 401 * 5 / 105)
    assert (transition > 0).all()


def test_a_class_that_is_never_best_has_the_common_rate() -> None:
    counts = np.array([[90, 10, 0], [10, 90, 0], [0, 0, 0]])
    transition, _ = transition_of(counts)
    assert 1 - transition[2, 2] == pytest.approx(20.5 / 201)
