"""Held-out loss: that of the seeds that did not train on the row."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dataprune.scores import SCORES
from dataprune.scores._aggregate import compute_scores


def slow_loss(history: list[Any]) -> float:
    seen = history[-1]
    others = [z - seen.z[seen.label] for k, z in enumerate(seen.z) if k != seen.label]
    return math.log1p(math.fsum(math.exp(z) for z in others))


def test_recorded_heldout_loss_equals_a_float64_reference_where_the_seed_held_the_row_out(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("heldout_loss", slow_loss, absolute=1e-7)


def test_heldout_loss_is_the_mean_over_the_seeds_that_held_the_row_out(
    watched: SimpleNamespace,
) -> None:
    score, epoch = SCORES.get("heldout_loss"), watched.epochs[-1]
    columns = compute_scores(watched.recipe, [score], watched.traces, watched.labels)
    for row in range(len(watched.labels)):
        seen = [
            slow_loss([watched.shown[seed][epoch][row]])
            for seed, trace in watched.traces.items()
            if not trace.in_sample[row]
        ]
        assert columns.values["heldout_loss"][row] == pytest.approx(np.mean(seen), rel=1e-4)
        assert columns.values["heldout_loss_std"][row] == pytest.approx(np.std(seen), abs=1e-4)


def test_mislabelled_examples_look_harder_to_models_that_never_saw_them(
    watched: SimpleNamespace,
) -> None:
    epoch, flipped = watched.epochs[-1], watched.flipped
    held, trained = (
        np.nanmean(watched.per_seed(name, epoch), axis=0) for name in ("heldout_loss", "loss")
    )
    assert held[flipped].mean() > trained[flipped].mean()
