"""Confidence: minus the mean over epochs of the label's probability."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.scores.conftest import TRAJECTORIES


def slow_confidence(history: list[Any]) -> float:
    return -math.fsum(seen.p[seen.label] for seen in history) / len(history)


def test_recorded_confidence_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("confidence", slow_confidence)


def test_confidence_of_hand_made_probabilities(score_logits: Callable[..., Any]) -> None:
    p_E = [0.5, 0.25, 0.75, 1.0]
    epochs = [[[math.log(p), math.log(1 - p) if p < 1 else -1e9]] for p in p_E]
    values = [value for (value,) in score_logits("confidence", epochs, [0])]
    assert values == pytest.approx([-0.5, -0.375, -0.5, -0.625], rel=1e-6)


def test_confidence_is_of_the_label_and_not_of_the_prediction(
    score_logits: Callable[..., Any],
) -> None:
    sure = [[[50.0, 0.0, 0.0], [50.0, 0.0, 0.0]]]
    right, wrong = score_logits("confidence", sure, [0, 1])[0]
    assert (right, wrong) == (-1.0, pytest.approx(0.0, abs=1e-12))


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES)
def test_confidence_of_any_trajectory_is_minus_the_mean_up_to_every_checkpoint(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("confidence", epochs_ENC, labels)
    expected_EN = slow_scores(slow_confidence, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-5, atol=1e-6)


def test_models_are_less_confident_of_mislabelled_examples(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("confidence", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 0.3
