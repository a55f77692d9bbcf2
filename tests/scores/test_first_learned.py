"""First learned: the first epoch predicted right; never is one more than there were epochs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def slow_first_learned(history: list[Any]) -> float:
    for epoch, seen in enumerate(history, start=1):
        if seen.is_right:
            return epoch
    return len(history) + 1


def logits_for(was_right_EN: Any) -> Any:
    """Logits (E, N, 2) whose prediction is label 0 exactly where `was_right`."""
    right = np.asarray(was_right_EN, dtype=np.float32)
    return np.stack([right, 1 - right], axis=-1)


def test_recorded_first_learned_equals_a_search_over_the_nets_own_predictions(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("first_learned", slow_first_learned, rel=0, absolute=0)


@pytest.mark.parametrize(
    ("history", "expected"), [("1000", 1), ("0010", 3), ("0101", 2), ("0000", 5), ("0", 2)]
)
def test_first_learned_of_hand_made_histories(
    score_logits: Callable[..., Any], history: str, expected: int
) -> None:
    right = [[mark == "1"] for mark in history]
    assert score_logits("first_learned", logits_for(right), [0])[-1][0] == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_later_epochs_do_not_change_when_an_example_was_first_learned(
    score_logits: Callable[..., Any], history: list[bool]
) -> None:
    values = score_logits("first_learned", logits_for([[right] for right in history]), [0])
    for epoch, (value,) in enumerate(values, start=1):
        first = (history.index(True) if any(history) else epoch) + 1
        assert value == min(first, epoch + 1)


def test_mislabelled_examples_are_learned_later_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("first_learned", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 1
