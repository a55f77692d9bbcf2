"""DUAL: the mean over windows of epochs of deviation times one minus mean of p_label."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.conftest import TRAJECTORIES


def slow_dual(history: list[Any], window: int) -> float:
    p_E = [seen.p[seen.label] for seen in history]
    values = []
    for start in range(len(p_E) - window + 1):
        inside = p_E[start : start + window]
        values.append(statistics.stdev(inside) * (1 - statistics.fmean(inside)))
    return statistics.fmean(values) if values else math.nan


def test_recorded_dual_equals_a_float64_reference_from_the_first_whole_window_on(
    equals_reference: Callable[..., None], watched: SimpleNamespace
) -> None:
    equals_reference(
        "dual", lambda history: slow_dual(history, watched.window), rel=1e-4, first=watched.window
    )


def test_dual_of_a_hand_made_window(score_logits: Callable[..., Any]) -> None:
    epochs = [[[math.log(p / (1 - p)), 0.0]] for p in (0.2, 0.4, 0.6)]
    values = score_logits("dual", epochs, [0], window=3)
    assert values[-1][0] == pytest.approx(0.2 * (1 - 0.4), rel=1e-5)


def test_of_two_rows_that_waver_alike_the_harder_one_has_the_higher_dual(
    score_logits: Callable[..., Any],
) -> None:
    p_EN = [(0.1, 0.7), (0.3, 0.9), (0.1, 0.7)]
    epochs = [[[math.log(p / (1 - p)), 0.0] for p in row] for row in p_EN]
    hard, easy = score_logits("dual", epochs, [0, 0], window=3)[-1]
    assert hard == pytest.approx(easy * (1 - 0.5 / 3) / (1 - 2.3 / 3), rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES, st.integers(2, 5))
def test_dual_of_any_trajectory_is_the_mean_over_all_windows_so_far(
    score_logits: Callable[..., Any],
    slow_scores: Callable[..., Any],
    epochs_ENC: Any,
    window: int,
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("dual", epochs_ENC, labels, window=window)
    expected_EN = slow_scores(lambda h: slow_dual(h, window), epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-4, atol=1e-6, equal_nan=True)
