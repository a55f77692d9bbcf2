"""Held-out margin: that of the seeds that did not train on the row, higher is harder."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dataprune.scores import SCORES
from dataprune.scores._aggregate import compute_scores


def slow_margin(history: list[Any]) -> float:
    seen = history[-1]
    return max(p for k, p in enumerate(seen.p) if k != seen.label) - seen.p[seen.label]


def test_recorded_heldout_margin_equals_a_float64_reference_where_the_seed_held_the_row_out(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("heldout_margin", slow_margin)


def test_heldout_margin_is_the_mean_over_the_seeds_that_held_the_row_out(
    watched: SimpleNamespace,
) -> None:
    score, epoch = SCORES.get("heldout_margin"), watched.epochs[-1]
    columns = compute_scores(watched.recipe, [score], watched.traces, watched.labels)
    for row in range(len(watched.labels)):
        seen = [
            slow_margin([watched.shown[seed][epoch][row]])
            for seed, trace in watched.traces.items()
            if not trace.in_sample[row]
        ]
        assert columns.values["heldout_margin"][row] == pytest.approx(np.mean(seen), abs=1e-5)


def test_heldout_margin_is_above_zero_exactly_where_the_seed_is_wrong(
    watched: SimpleNamespace,
) -> None:
    epoch = watched.epochs[-1]
    values_SN = watched.per_seed("heldout_margin", epoch)
    for seed, trace in watched.traces.items():
        for row in np.flatnonzero(~trace.in_sample):
            is_wrong = not watched.shown[seed][epoch][row].is_right
            assert (values_SN[seed, row] > 0) == is_wrong
