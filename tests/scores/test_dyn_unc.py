"""Dyn-Unc: the mean over windows of epochs of the deviation (ddof 1) of the label's probability."""

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


def slow_dyn_unc(history: list[Any], window: int) -> float:
    p_E = [seen.p[seen.label] for seen in history]
    starts = range(len(p_E) - window + 1)
    deviations = [statistics.stdev(p_E[start : start + window]) for start in starts]
    return statistics.fmean(deviations) if deviations else math.nan


def test_recorded_dyn_unc_equals_a_float64_reference_from_the_first_whole_window_on(
    equals_reference: Callable[..., None], watched: SimpleNamespace
) -> None:
    equals_reference(
        "dyn_unc",
        lambda history: slow_dyn_unc(history, watched.window),
        rel=1e-4,
        first=watched.window,
    )


def test_dyn_unc_has_ddof_1_and_no_factor_of_ten(score_logits: Callable[..., Any]) -> None:
    epochs = [[[90.0, 0.0]], [[0.0, 90.0]], [[0.0, 90.0]]]
    values = [value for (value,) in score_logits("dyn_unc", epochs, [0], window=2)]
    assert math.isnan(values[0])
    assert values[1:] == pytest.approx([math.sqrt(0.5), math.sqrt(0.5) / 2])


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES, st.integers(2, 5))
def test_dyn_unc_of_any_trajectory_is_the_mean_over_all_windows_so_far(
    score_logits: Callable[..., Any],
    slow_scores: Callable[..., Any],
    epochs_ENC: Any,
    window: int,
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("dyn_unc", epochs_ENC, labels, window=window)
    expected_EN = slow_scores(lambda h: slow_dyn_unc(h, window), epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-4, atol=1e-6, equal_nan=True)
