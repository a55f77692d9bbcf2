"""AUM: minus the mean over epochs of the label's logit less the largest other one."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def slow_aum(history: list[Any]) -> float:
    total = 0.0
    for seen in history:
        best_other = max(z for k, z in enumerate(seen.z) if k != seen.label)
        total += seen.z[seen.label] - best_other
    return -total / len(history)


def test_recorded_aum_equals_a_float64_reference_for_every_seed_epoch_and_row(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("aum", slow_aum)


def test_aum_is_of_logits_and_not_of_probabilities(score_logits: Callable[..., Any]) -> None:
    epochs = [[[100.0, 0.0, 40.0], [0.0, 3.0, 1.0]], [[20.0, 0.0, 10.0], [0.0, 9.0, 1.0]]]
    first, second = score_logits("aum", epochs, [0, 0])
    assert first.tolist() == [-60.0, 3.0]
    assert second.tolist() == [-35.0, 6.0]


def test_aum_sees_which_other_class_is_ahead_at_each_epoch(
    score_logits: Callable[..., Any],
) -> None:
    epochs = [[[1.0, 3.0, 0.0]], [[1.0, 0.0, 7.0]]]
    assert score_logits("aum", epochs, [0])[-1][0] == (2 + 6) / 2


@settings(max_examples=20, deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 8), st.integers(1, 4), st.integers(2, 4)),
        elements=st.floats(-1e3, 1e3, width=32),
    )
)
def test_aum_of_any_trajectory_is_minus_the_mean_margin_up_to_every_checkpoint(
    score_logits: Callable[..., Any], slow_scores: Callable[..., Any], epochs_ENC: Any
) -> None:
    labels = np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]
    values_EN = score_logits("aum", epochs_ENC, labels)
    expected_EN = slow_scores(slow_aum, epochs_ENC, labels)
    assert np.allclose(values_EN, expected_EN, rtol=1e-5, atol=1e-3)


def test_mislabelled_examples_have_higher_aum_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("aum", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 1
