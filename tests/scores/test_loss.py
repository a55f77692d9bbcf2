"""Loss: -log of the label's softmax, against float64 loops over the net's own logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def slow_loss(logits: Sequence[float], label: int) -> float:
    """log(sum exp z) - z_label, as log1p of the others where the label is the largest."""
    others = [z - logits[label] for k, z in enumerate(logits) if k != label]
    peak = max(others)
    if peak < 0:
        return math.log1p(math.fsum(math.exp(z) for z in others))
    return peak + math.log(math.exp(-peak) + math.fsum(math.exp(z - peak) for z in others))


def test_recorded_loss_equals_a_float64_reference_for_every_seed_epoch_and_row(
    watched: SimpleNamespace,
) -> None:
    for epoch in watched.epochs:
        values_SN = watched.per_seed("loss", epoch)
        for seed, trace in watched.traces.items():
            for row in np.flatnonzero(trace.in_sample):
                logits = watched.logits[seed][epoch][row].tolist()
                expected = slow_loss(logits, int(watched.labels[row]))
                assert values_SN[seed, row] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("p_wrong", [1e-1, 1e-3, 1e-6, 1e-9])
def test_loss_keeps_its_digits_where_the_label_is_nearly_certain(
    score_logits: Callable[..., Any], p_wrong: float
) -> None:
    high = math.log((1 - p_wrong) / (p_wrong / 2))
    logits = np.array([[high, 0.0, 0.0]], dtype=np.float32)
    (values,) = score_logits("loss", [logits], [0])
    expected = slow_loss(logits[0].astype(np.float64).tolist(), 0)
    assert values[0] == pytest.approx(expected, rel=1e-4, abs=0)


def test_loss_of_a_sure_and_wrong_prediction_is_the_logit_gap(
    score_logits: Callable[..., Any],
) -> None:
    (values,) = score_logits("loss", [[[500.0, 0.0, 0.0], [0.0, 0.0, 0.0]]], [1, 1])
    assert values.tolist() == pytest.approx([500.0, math.log(3)])


def test_mislabelled_examples_have_higher_loss_on_average(watched: SimpleNamespace) -> None:
    values = np.nanmean(watched.per_seed("loss", watched.epochs[-1]), axis=0)
    assert values[watched.flipped].mean() > 2 * values[~watched.flipped].mean()
