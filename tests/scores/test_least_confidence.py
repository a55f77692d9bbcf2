"""Least confidence: one minus the largest probability, against float64 loops over logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def slow_least_confidence(history: list[Any]) -> float:
    """The sum of all other probabilities, so that no digit is lost near certainty."""
    p = sorted(history[-1].p)
    return math.fsum(p[:-1])


def test_recorded_least_confidence_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("least_confidence", slow_least_confidence, absolute=0)


@pytest.mark.parametrize("p_wrong", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12])
def test_least_confidence_keeps_its_digits_where_one_class_is_nearly_certain(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], p_wrong: float
) -> None:
    high = math.log((1 - p_wrong) / (p_wrong / 2))
    logits = [[[high, 0.0, 0.0], [0.0, high, 0.01]]]
    (values,) = score_logits("least_confidence", logits, [0, 0])
    (expected,) = slow_scores(slow_least_confidence, logits, [0, 0])
    assert values.tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def test_least_confidence_is_of_the_prediction_and_not_of_the_label(
    score_logits: Callable[..., Any],
) -> None:
    (values,) = score_logits("least_confidence", [[[9.0, 0.0, 0.0]] * 3], [0, 1, 2])
    assert len(set(values.tolist())) == 1
    assert values[0] == pytest.approx(2 / (math.exp(9) + 2), rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.just(1), st.integers(1, 4), st.integers(2, 5)),
        elements=st.floats(-30, 30, width=32),
    )
)
def test_least_confidence_of_any_logits_equals_the_reference(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.zeros(epochs_ENC.shape[1], dtype=np.int64)
    values_EN = score_logits("least_confidence", epochs_ENC, labels)
    expected_EN = slow_scores(slow_least_confidence, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-4, atol=0)
