"""Data-IQ: the mean over epochs of p (1 - p) for the label's probability p."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.scores.conftest import TRAJECTORIES


def slow_data_iq(history: list[Any]) -> float:
    total = 0.0
    for seen in history:
        p = seen.p[seen.label]
        total += p * (1 - p)
    return total / len(history)


def test_recorded_data_iq_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("data_iq", slow_data_iq)


def test_data_iq_of_hand_made_probabilities(score_logits: Callable[..., Any]) -> None:
    epochs = [[[math.log(p / (1 - p)), 0.0]] for p in (0.5, 0.9, 0.2)]
    values = [value for (value,) in score_logits("data_iq", epochs, [0])]
    assert values == pytest.approx([0.25, 0.17, (0.25 + 0.09 + 0.16) / 3], rel=1e-5)


def test_data_iq_is_low_for_the_confident_right_and_wrong_alike(
    score_logits: Callable[..., Any],
) -> None:
    epochs = [[[9.0, 0.0], [0.0, 9.0], [0.0, 0.0]]] * 2
    right, wrong, torn = score_logits("data_iq", epochs, [0, 0, 0])[-1]
    assert right == pytest.approx(wrong, rel=1e-3)
    assert right < 1e-3
    assert torn == 0.25


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES)
def test_data_iq_of_any_trajectory_is_the_mean_up_to_every_checkpoint(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("data_iq", epochs_ENC, labels)
    expected_EN = slow_scores(slow_data_iq, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-5, atol=1e-6)
