"""Margin: the largest other probability minus the label's, against float64 loops over logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def slow_margin(logits: Sequence[float], label: int) -> float:
    peak = max(logits)
    weights = [math.exp(logit - peak) for logit in logits]
    total = math.fsum(weights)
    best_other = 0.0
    for k, weight in enumerate(weights):
        if k != label and weight / total > best_other:
            best_other = weight / total
    return best_other - weights[label] / total


def test_recorded_margin_equals_a_float64_reference_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("margin", epoch)
        for seed, trace in watched.traces.items():
            for row in np.flatnonzero(trace.in_sample):
                logits = watched.logits[seed][epoch][row].tolist()
                expected = slow_margin(logits, int(watched.labels[row]))
                assert values_SN[seed, row] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_margin_is_above_zero_exactly_where_the_prediction_is_wrong(
    watched: SimpleNamespace,
) -> None:
    epoch = watched.epochs[-1]
    values_SN = watched.per_seed("margin", epoch)
    wrong_seen = 0
    for seed, trace in watched.traces.items():
        wrong = watched.logits[seed][epoch].argmax(axis=1) != watched.labels
        here = trace.in_sample
        assert np.array_equal(values_SN[seed, here] > 0, wrong[here])
        wrong_seen += int(wrong[here].sum())
    assert wrong_seen > 0


def test_margin_runs_from_minus_one_for_sure_and_right_to_one_for_sure_and_wrong(
    score_logits: Callable[..., Any],
) -> None:
    logits = [[80.0, 0.0, 0.0], [80.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    (values,) = score_logits("margin", [logits], [0, 2, 1])
    assert values.tolist() == [-1.0, 1.0, 0.0]


def test_mislabelled_examples_have_higher_margin_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("margin", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 0.5
