"""LBPE: the mean EL2N over the epochs of highest accuracy on the rows trained on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def slow_el2n(seen: Any) -> float:
    return math.sqrt(sum((p - (k == seen.label)) ** 2 for k, p in enumerate(seen.p)))


def best_epochs(accuracy: dict[int, float], size: int) -> list[tuple[int, ...]]:
    """Every choice of `size` epochs of highest accuracy; more than one where some tie."""
    size = min(size, len(accuracy))
    lowest = sorted(accuracy.values())[-size]
    sure = [epoch for epoch, value in accuracy.items() if value > lowest]
    tied = [epoch for epoch, value in accuracy.items() if value == lowest]
    return [(*sure, *rest) for rest in itertools.combinations(tied, size - len(sure))]


def test_recorded_lbpe_is_the_mean_el2n_of_the_same_best_epochs_for_every_row(
    watched: SimpleNamespace,
) -> None:
    for seed, trace in watched.traces.items():
        rows = np.flatnonzero(trace.in_sample)
        accuracy = {
            e: np.mean([watched.shown[seed][e][row].is_right for row in rows])
            for e in watched.epochs
        }
        for epoch in watched.epochs:
            so_far = {e: a for e, a in accuracy.items() if e <= epoch}
            fits = []
            for chosen in best_epochs(so_far, watched.window):
                expected = [
                    np.mean([slow_el2n(watched.shown[seed][e][row]) for e in chosen])
                    for row in rows
                ]
                values = watched.per_seed("lbpe", epoch)[seed, rows]
                fits.append(values == pytest.approx(np.asarray(expected), rel=1e-4, abs=1e-6))
            assert any(fits), (seed, epoch)


def at_accuracies(rights: list[int], num_rows: int = 4) -> Any:
    """Logits (E, N, 2) at which so many rows of label 0 are right, each epoch as sure as before."""
    return [
        [[1.0, 0.0] if row < right else [0.0, 1.0] for row in range(num_rows)] for right in rights
    ]


def test_lbpe_is_over_all_epochs_until_there_are_more_than_it_takes(
    score_logits: Callable[..., Any],
) -> None:
    right, wrong = (slow_el2n_of(gap) for gap in (1.0, -1.0))
    values = score_logits("lbpe", at_accuracies([1, 2, 3]), [0] * 4, window=3)
    assert values[0][1] == pytest.approx(wrong, rel=1e-5)
    assert values[1][1] == pytest.approx((wrong + right) / 2, rel=1e-5)
    assert values[2][1] == pytest.approx((wrong + 2 * right) / 3, rel=1e-5)


def test_a_worse_epoch_changes_nothing_and_a_better_one_takes_the_place_of_the_worst(
    score_logits: Callable[..., Any],
) -> None:
    right, wrong = (slow_el2n_of(gap) for gap in (1.0, -1.0))
    values = score_logits("lbpe", at_accuracies([2, 3, 1, 4]), [0] * 4, window=2)
    assert np.array_equal(values[2], values[1])
    assert values[1].tolist() == pytest.approx([right, right, (right + wrong) / 2, wrong], rel=1e-5)
    assert values[3].tolist() == pytest.approx([right, right, right, (right + wrong) / 2], rel=1e-5)


def test_accuracy_is_that_of_the_rows_trained_on(score_logits: Callable[..., Any]) -> None:
    right, wrong = (slow_el2n_of(gap) for gap in (1.0, -1.0))
    in_sample = [True, False, False, False]
    epochs = [*at_accuracies([1]), *[[[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]] * 2]
    values = score_logits("lbpe", epochs, [0] * 4, window=2, in_sample=in_sample)
    assert values[-1][0] == pytest.approx((right + wrong) / 2, rel=1e-5)


def slow_el2n_of(gap: float) -> float:
    """EL2N of two classes whose label is ahead by `gap`."""
    return math.sqrt(2) / (1 + math.exp(gap))
