"""Held-out error: how many of the seeds that did not train on the row put it into another class."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dataprune.probe.tasks import TASKS
from dataprune.scores import SCORES, Seen
from dataprune.scores._aggregate import compute_scores
from dataprune.selection._choice import Choice
from dataprune.selection._decide import decide
from dataprune.tables.examples import examples_table


def slow_error(history: list[Any]) -> float:
    return 0.0 if history[-1].is_right else 1.0


def test_recorded_heldout_error_equals_a_reference_where_the_seed_held_the_row_out(
    equals_reference: Callable[..., None],
) -> None:
    equals_reference("heldout_error", slow_error)


def heldout_error(watched: SimpleNamespace) -> np.ndarray[Any, np.dtype[np.float64]]:
    score = SCORES.get("heldout_error")
    columns = compute_scores(watched.recipe, [score], watched.traces, watched.labels)
    return np.asarray(columns.values["heldout_error"], dtype=np.float64)


def test_heldout_error_is_the_share_of_the_seeds_that_held_the_row_out_and_were_wrong(
    watched: SimpleNamespace,
) -> None:
    values, epoch = heldout_error(watched), watched.epochs[-1]
    for row, value in enumerate(values):
        wrong = [
            not watched.shown[seed][epoch][row].is_right
            for seed, trace in watched.traces.items()
            if not trace.in_sample[row]
        ]
        assert value == sum(wrong) / len(wrong)
    assert values[watched.flipped].mean() > 2 * values[~watched.flipped].mean()


def test_its_mean_over_a_class_is_one_minus_the_recall_by_which_drop_shares_a_budget(
    watched: SimpleNamespace,
) -> None:
    values, epoch, labels = heldout_error(watched), watched.epochs[-1], watched.labels
    errors, sizes = [], np.bincount(labels)
    for k in range(len(sizes)):
        answers = [
            watched.shown[seed][epoch][row].is_right
            for seed, trace in watched.traces.items()
            for row in np.flatnonzero((labels == k) & ~trace.in_sample)
        ]
        errors.append(1 - sum(answers) / len(answers))
    assert [values[labels == k].mean() for k in range(len(sizes))] == pytest.approx(errors)
    examples = examples_table(np.arange(len(labels), dtype=np.uint64), labels)
    table = decide(examples, values, ["a", "b", "c"], Choice("drop", 24, {}))
    kept = np.bincount(table.filter(table.column("keep")).column("label").to_numpy())
    assert kept == pytest.approx(24 * sizes * errors / (sizes @ errors), abs=1)


def test_of_several_labels_all_must_be_right() -> None:
    """The signal of a multilabel task is the exact match of the set."""
    labels_BC = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = TASKS.get("multilabel").observe(torch.tensor([[2.0, -1.0], [2.0, 1.0]]), labels_BC)
    assert found.correct is not None
    seen = Seen(
        signals={"correct": found.correct.double().numpy()},
        epoch=1,
        seed=0,
        root_seed=0,
        num_rows=2,
        in_sample=np.zeros(2, dtype=np.bool_),
        labels=labels_BC.numpy(),
    )
    assert SCORES.get("heldout_error").compute(seen).tolist() == [0.0, 1.0]
