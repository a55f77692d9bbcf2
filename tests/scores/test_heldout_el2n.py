"""Held-out EL2N: that of the seeds that did not train on the row."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dataprune.scores import SCORES
from dataprune.scores._aggregate import compute_scores


def slow_el2n(history: list[Any]) -> float:
    seen = history[-1]
    return math.sqrt(sum((p - (k == seen.label)) ** 2 for k, p in enumerate(seen.p)))


def test_recorded_heldout_el2n_equals_a_float64_reference_where_the_seed_held_the_row_out(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("heldout_el2n", slow_el2n, absolute=1e-7)


def test_heldout_el2n_is_the_mean_over_the_seeds_that_held_the_row_out(
    watched: SimpleNamespace,
) -> None:
    score, epoch = SCORES.get("heldout_el2n"), watched.epochs[-1]
    columns = compute_scores(watched.recipe, [score], watched.traces, watched.labels)
    for row in range(len(watched.labels)):
        seen = [
            slow_el2n([watched.shown[seed][epoch][row]])
            for seed, trace in watched.traces.items()
            if not trace.in_sample[row]
        ]
        assert columns.values["heldout_el2n"][row] == pytest.approx(np.mean(seen), rel=1e-4)
    assert "held the row out" in columns.specs["heldout_el2n"]["over"]


def test_mislabelled_examples_look_harder_to_models_that_never_saw_them(
    watched: SimpleNamespace,
) -> None:
    epoch, flipped = watched.epochs[-1], watched.flipped
    held, trained = (
        np.nanmean(watched.per_seed(name, epoch), axis=0) for name in ("heldout_el2n", "el2n")
    )
    assert held[flipped].mean() > trained[flipped].mean()
    assert held[flipped].mean() > 2 * held[~flipped].mean()
