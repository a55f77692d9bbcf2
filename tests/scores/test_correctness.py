"""Correctness: minus the number of epochs after which the prediction was right."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def slow_correctness(history: list[Any]) -> float:
    return -sum(seen.is_right for seen in history)


def logits_for(was_right_EN: Any) -> Any:
    """Logits (E, N, 2) whose prediction is label 0 exactly where `was_right`."""
    right = np.asarray(was_right_EN, dtype=np.float32)
    return np.stack([right, 1 - right], axis=-1)


def test_recorded_correctness_equals_a_count_over_the_nets_own_predictions(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("correctness", slow_correctness, rel=0, absolute=0)


@pytest.mark.parametrize(
    ("history", "expected"), [("1111", -4), ("0000", 0), ("0101", -2), ("1", -1), ("0", 0)]
)
def test_correctness_of_hand_made_histories(
    score_logits: Callable[..., Any], history: str, expected: int
) -> None:
    right = [[mark == "1"] for mark in history]
    assert score_logits("correctness", logits_for(right), [0])[-1][0] == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_correctness_counts_any_history_up_to_every_checkpoint(
    score_logits: Callable[..., Any], history: list[bool]
) -> None:
    values = score_logits("correctness", logits_for([[right] for right in history]), [0])
    assert [v for (v,) in values] == [-sum(history[: e + 1]) for e in range(len(history))]


def test_mislabelled_examples_are_right_less_often(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("correctness", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 2
