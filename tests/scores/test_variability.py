"""Variability: the standard deviation (ddof 0) over epochs of the label's probability."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.scores.conftest import TRAJECTORIES


def slow_variability(history: list[Any]) -> float:
    return statistics.pstdev([seen.p[seen.label] for seen in history])


def test_recorded_variability_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("variability", slow_variability, rel=1e-4)


def test_variability_says_nothing_after_one_epoch(score_logits: Callable[..., Any]) -> None:
    (values,) = score_logits("variability", [[[3.0, 1.0], [0.0, 5.0]]], [0, 0])
    assert values.tolist() == [0.0, 0.0]


def test_variability_has_ddof_0_so_that_certainty_lost_is_one_half(
    score_logits: Callable[..., Any],
) -> None:
    values = score_logits("variability", [[[90.0, 0.0]], [[0.0, 90.0]]], [0])
    assert values[-1][0] == pytest.approx(0.5)


def test_variability_keeps_its_digits_where_the_probability_hardly_changes(
    score_logits: Callable[..., Any],
) -> None:
    p_E = [0.5, 0.5 + 1e-4, 0.5 - 1e-4, 0.5]
    epochs = [[[math.log(p / (1 - p)), 0.0]] for p in p_E]
    values = score_logits("variability", epochs, [0])
    assert values[-1][0] == pytest.approx(statistics.pstdev(p_E), rel=5e-3)


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES)
def test_variability_of_any_trajectory_is_its_deviation_up_to_every_checkpoint(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("variability", epochs_ENC, labels)
    expected_EN = slow_scores(slow_variability, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-4, atol=1e-6)
