"""CSL: the sum of the loss over epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from tests.scores.conftest import TRAJECTORIES


def slow_csl(history: list[Any]) -> float:
    total = 0.0
    for seen in history:
        peak = max(seen.z)
        total += peak + math.log(sum(math.exp(z - peak) for z in seen.z)) - seen.z[seen.label]
    return total


def test_recorded_csl_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("csl", slow_csl, absolute=1e-5)


def test_csl_adds_up_over_epochs(score_logits: Callable[..., Any]) -> None:
    epochs = [[[0.0, 0.0]], [[500.0, 0.0]], [[0.0, 500.0]]]
    values = [value for (value,) in score_logits("csl", epochs, [0])]
    expected = [math.log(2), math.log(2), math.log(2) + 500]
    assert values == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(TRAJECTORIES)
def test_csl_of_any_trajectory_is_the_sum_and_never_falls(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = np.asarray(score_logits("csl", epochs_ENC, labels))
    expected_EN = slow_scores(slow_csl, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-5, atol=1e-5)
    assert (np.diff(values_EN, axis=0) >= -1e-4).all()


def test_mislabelled_examples_have_higher_csl_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("csl", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > 2 * values[~watched.flipped].mean()
