"""EL2N: the norm of softmax minus one-hot, against float64 loops over the net's own logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def slow_el2n(logits: Sequence[float], label: int) -> float:
    peak = max(logits)
    weights = [math.exp(logit - peak) for logit in logits]
    total = math.fsum(weights)
    squares = []
    for k, weight in enumerate(weights):
        if k == label:  # p - 1, written as minus the sum of the others to keep its digits
            others = math.fsum(w for j, w in enumerate(weights) if j != label)
            squares.append((others / total) ** 2)
        else:
            squares.append((weight / total) ** 2)
    return math.sqrt(math.fsum(squares))


def test_recorded_el2n_equals_a_float64_reference_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("el2n", epoch)
        for seed, trace in watched.traces.items():
            for row, label in enumerate(watched.labels):
                if not trace.in_sample[row]:
                    assert np.isnan(values_SN[seed, row])
                    continue
                expected = slow_el2n(watched.logits[seed][epoch][row].tolist(), int(label))
                assert values_SN[seed, row] == pytest.approx(expected, rel=1e-5, abs=0)


@pytest.mark.parametrize("p_wrong", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12, 1e-30])
def test_el2n_keeps_its_digits_where_the_label_is_nearly_certain(
    score_logits: Callable[..., Any], p_wrong: float
) -> None:
    high = math.log((1 - p_wrong) / (p_wrong / 2))
    logits = np.array([[high, 0.0, 0.0], [0.0, high, 0.01]], dtype=np.float32)
    (values,) = score_logits("el2n", [logits], [0, 1])
    for row, label in enumerate([0, 1]):
        expected = slow_el2n(logits[row].astype(np.float64).tolist(), label)
        assert values[row] == pytest.approx(expected, rel=1e-4, abs=0)


def test_el2n_ranks_easy_examples_that_one_minus_p_would_tie_in_float32(
    score_logits: Callable[..., Any],
) -> None:
    margins = np.arange(12, 40, dtype=np.float32)
    logits = np.stack([margins, np.zeros_like(margins), np.zeros_like(margins)], axis=1)
    (values,) = score_logits("el2n", [logits], np.zeros(len(margins), dtype=np.int64))
    assert np.all(np.diff(values) < 0)


def test_el2n_is_a_norm_and_not_its_square(score_logits: Callable[..., Any]) -> None:
    sure_and_wrong = [[60.0, 0.0, 0.0]]
    undecided = [[0.0, 0.0, 0.0]]
    (wrong,) = score_logits("el2n", [sure_and_wrong], [1])
    (unsure,) = score_logits("el2n", [undecided], [1])
    assert wrong[0] == pytest.approx(math.sqrt(2))
    assert unsure[0] == pytest.approx(math.sqrt(4 / 9 + 1 / 9 + 1 / 9))


def test_el2n_stays_finite_for_extreme_logits(score_logits: Callable[..., Any]) -> None:
    extreme = [[1e30, 0.0, -1e30], [1e30, 0.0, -1e30], [-1e30, -1e30, -1e30]]
    (values,) = score_logits("el2n", [extreme], [0, 2, 1])
    assert values.tolist() == pytest.approx([0, math.sqrt(2), math.sqrt(6) / 3])


def test_mislabelled_examples_have_higher_el2n_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("el2n", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > 2 * values[~watched.flipped].mean()
