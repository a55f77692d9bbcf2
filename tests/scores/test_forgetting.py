"""Forgetting: right-to-wrong events per epoch; an example never learned is the hardest of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def slow_forgetting(was_right: Sequence[bool]) -> int:
    events = 0
    for t in range(1, len(was_right)):
        if was_right[t - 1] and not was_right[t]:
            events += 1
    if not any(was_right):
        return len(was_right)
    return events


def logits_for(was_right_EN: Any) -> Any:
    """Logits (E, N, 2) whose prediction is label 0 exactly where `was_right`."""
    right = np.asarray(was_right_EN, dtype=np.float32)
    return np.stack([right, 1 - right], axis=-1)


def test_recorded_forgetting_equals_a_count_over_the_nets_own_predictions(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("forgetting", epoch)
        for seed, trace in watched.traces.items():
            for row in np.flatnonzero(trace.in_sample):
                history = [
                    int(watched.logits[seed][t][row].argmax()) == watched.labels[row]
                    for t in range(1, epoch + 1)
                ]
                assert values_SN[seed, row] == slow_forgetting(history)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ("11111", 0),
        ("00001", 0),
        ("00111", 0),
        ("10000", 1),
        ("01010", 2),
        ("10101", 2),
        ("11010", 2),
        ("00000", 5),
        ("0", 1),
        ("1", 0),
    ],
)
def test_forgetting_of_hand_made_histories(
    score_logits: Callable[..., Any], history: str, expected: int
) -> None:
    right = [[mark == "1"] for mark in history]
    assert score_logits("forgetting", logits_for(right), [0])[-1][0] == expected


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda epochs: st.lists(
            st.lists(st.booleans(), min_size=epochs, max_size=epochs), min_size=1, max_size=8
        )
    )
)
def test_forgetting_counts_any_history_up_to_every_checkpoint(
    score_logits: Callable[..., Any], rows: list[list[bool]]
) -> None:
    right_EN = np.asarray(rows).T
    values_EN = score_logits("forgetting", logits_for(right_EN), [0] * len(rows))
    for epoch, values in enumerate(values_EN, start=1):
        assert values.tolist() == [slow_forgetting(row[:epoch]) for row in rows]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_no_example_that_was_ever_learned_scores_as_high_as_one_that_never_was(
    score_logits: Callable[..., Any], history: list[bool]
) -> None:
    right_EN = np.asarray([history, [False] * len(history)]).T
    learned, never = score_logits("forgetting", logits_for(right_EN), [0, 0])[-1]
    assert learned < never == len(history)


def test_mislabelled_examples_are_forgotten_more_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("forgetting", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 1
