"""TDDS: weighted deviations, over windows of epochs, of how far predictions moved."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.conftest import TRAJECTORIES


def slow_tdds(history: list[Any], window: int) -> float:
    """The whole trajectory at hand: moves, deviation of each window, then the weighted sum."""
    moves = []
    for t in range(1, len(history)):
        pairs = zip(history[t].p, history[t - 1].p, strict=True)
        moves += [sum(abs(p * (math.log(p + 1e-8) - math.log(q + 1e-8))) for p, q in pairs)]
    num_windows = len(history) - window + 1
    if num_windows < 1:
        return math.nan
    total = 0.0
    for k in range(num_windows):
        inside = moves[k : k + window - 1]
        mean = sum(inside) / len(inside)
        deviation = math.sqrt(sum((a - mean) ** 2 for a in inside))
        total += 0.9 * 0.1 ** (num_windows - 1 - k) * deviation
    return total


def test_recorded_tdds_equals_a_float64_reference_from_the_first_whole_window_on(
    equals_reference: Callable[..., None], watched: SimpleNamespace
) -> None:
    equals_reference(
        "tdds",
        lambda history: slow_tdds(history, watched.window),
        rel=1e-3,
        absolute=1e-5,
        first=watched.window,
    )


def test_tdds_of_one_hand_made_window(score_logits: Callable[..., Any]) -> None:
    """Two classes, p of the first 1/2, then 3/4, then 3/4: it moves once, and then not at all."""
    epochs = [[[0.0, 0.0]], [[math.log(3), 0.0]], [[math.log(3), 0.0]]]
    moved = 0.75 * math.log(1.5) + 0.25 * math.log(2)
    values = score_logits("tdds", epochs, [0], window=3)
    assert values[-1][0] == pytest.approx(0.9 * moved / math.sqrt(2), rel=1e-5)


def test_tdds_does_not_read_the_label(score_logits: Callable[..., Any]) -> None:
    epochs = np.random.default_rng(0).normal(size=(5, 4, 3))
    one = score_logits("tdds", epochs, [0, 1, 2, 0])
    other = score_logits("tdds", epochs, [2, 2, 1, 0])
    assert np.array_equal(one, other, equal_nan=True)


def test_what_happened_before_the_last_window_loses_nine_tenths_of_its_weight_each_epoch(
    score_logits: Callable[..., Any],
) -> None:
    moving = np.array([[[0.0, 0.0]], [[2.0, 0.0]], [[0.0, 0.0]], [[3.0, 0.0]]])
    still = np.repeat(moving[-1:], 5, axis=0)
    values = [value for (value,) in score_logits("tdds", np.concatenate([moving, still]), [0])]
    assert values[-2] == pytest.approx(0.1 * values[-3], rel=1e-4)
    assert values[-1] == pytest.approx(0.1 * values[-2], rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES, st.integers(2, 5))
def test_tdds_of_any_trajectory_is_the_weighted_sum_over_all_windows_so_far(
    score_logits: Callable[..., Any],
    slow_scores: Callable[..., Any],
    epochs_ENC: Any,
    window: int,
) -> None:
    labels = np.zeros(epochs_ENC.shape[1], dtype=np.int64)
    values_EN = score_logits("tdds", epochs_ENC, labels, window=window)
    expected_EN = slow_scores(lambda h: slow_tdds(h, window), epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-3, atol=1e-4, equal_nan=True)
