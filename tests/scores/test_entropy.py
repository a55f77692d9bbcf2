"""Entropy of the predicted distribution, in nats, against float64 loops over the net's logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def slow_entropy(history: list[Any]) -> float:
    """-sum p log p; of the likeliest class, log p is -log1p of the others' odds."""
    z = history[-1].z
    top = max(range(len(z)), key=z.__getitem__)
    odds = [math.exp(z[k] - z[top]) for k in range(len(z)) if k != top]
    log_total = math.log1p(math.fsum(odds))
    terms = [-log_total]
    terms += [odd * (math.log(odd) - log_total) for odd in odds if odd > 0]
    return -math.exp(-log_total) * math.fsum(terms)


def test_recorded_entropy_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("entropy", slow_entropy, absolute=0)


@pytest.mark.parametrize("p_wrong", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12])
def test_entropy_keeps_its_digits_where_one_class_is_nearly_certain(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], p_wrong: float
) -> None:
    high = math.log((1 - p_wrong) / (p_wrong / 2))
    logits = [[[high, 0.0, 0.0], [0.0, high, 0.01]]]
    (values,) = score_logits("entropy", logits, [0, 0])
    (expected,) = slow_scores(slow_entropy, logits, [0, 0])
    assert values.tolist() == pytest.approx(expected, rel=1e-4, abs=0)


def test_entropy_is_in_nats_and_does_not_read_the_label(score_logits: Callable[..., Any]) -> None:
    (values,) = score_logits("entropy", [[[0.0, 0.0, 0.0, 0.0]] * 2], [0, 3])
    assert values.tolist() == pytest.approx([math.log(4)] * 2)
    (values,) = score_logits("entropy", [[[9.0, 0.0]] * 2], [0, 1])
    assert values[0] == values[1]


@settings(max_examples=20, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.just(1), st.integers(1, 4), st.integers(2, 5)),
        elements=st.floats(-30, 30, width=32),
    )
)
def test_entropy_of_any_logits_equals_the_reference(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.zeros(epochs_ENC.shape[1], dtype=np.int64)
    values_EN = score_logits("entropy", epochs_ENC, labels)
    expected_EN = slow_scores(slow_entropy, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-4, atol=0)
