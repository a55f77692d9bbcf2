"""Memorization: share of right seeds among those that trained on a row, less that of the others."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import PartialError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.scores import SCORES
from dataprune.scores._aggregate import compute_scores
from dataprune.tables.trace import Trace

MEMORIZATION = SCORES.get("memorization")


def slow_memorization(trained: list[bool], held_out: list[bool]) -> float:
    return sum(trained) / len(trained) - sum(held_out) / len(held_out)


def slow_error(trained: list[bool], held_out: list[bool]) -> float:
    """Agresti and Caffo 2000: one success and one failure more on either side."""
    variance = 0.0
    for side in (trained, held_out):
        share = (sum(side) + 1) / (len(side) + 2)
        variance += share * (1 - share) / (len(side) + 2)
    return math.sqrt(variance)


def recipe_of(num_seeds: int) -> Recipe:
    return parse_recipe(
        {"name": "m", "source": {"uri": "digits"}, "scores": {"at": [1]}, "seeds": num_seeds},
        where="tests",
    )


def traces_of(correct: Any, in_sample: Any) -> dict[int, Trace]:
    return {
        seed: Trace(np.asarray(mask), {1: {"correct": np.asarray(right, dtype=np.float64)}})
        for seed, (right, mask) in enumerate(zip(correct, in_sample, strict=True))
    }


def test_memorization_equals_counting_the_nets_own_predictions_at_every_epoch(
    watched: SimpleNamespace,
) -> None:
    columns = compute_scores(watched.recipe, [MEMORIZATION], watched.traces, watched.labels)
    for epoch in watched.epochs:
        for row in range(len(watched.labels)):
            sides: dict[bool, list[bool]] = {True: [], False: []}
            for seed, trace in watched.traces.items():
                sides[bool(trace.in_sample[row])].append(watched.shown[seed][epoch][row].is_right)
            trained, held_out = sides[True], sides[False]
            value = columns.values[f"memorization@{epoch}"][row]
            assert value == pytest.approx(slow_memorization(trained, held_out), abs=1e-12)
        assert len(trained) == len(held_out) == 2
    expected = slow_error(trained, held_out)  # of the last row at the last epoch
    assert columns.values["memorization_se"][-1] == pytest.approx(expected, rel=1e-12)
    assert "memorization_std" not in columns.values


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_value_and_error_equal_a_count_for_any_seeds(data: st.DataObject) -> None:
    num_seeds, num_rows = data.draw(st.integers(2, 8)), data.draw(st.integers(1, 5))
    bits = st.lists(st.booleans(), min_size=num_seeds, max_size=num_seeds)
    masks = [
        data.draw(bits.filter(lambda mask: any(mask) and not all(mask))) for _ in range(num_rows)
    ]
    rights = [data.draw(bits) for _ in range(num_rows)]
    traces = traces_of(np.asarray(rights).T, np.asarray(masks).T)
    labels = np.zeros(num_rows, dtype=np.int64)
    columns = compute_scores(recipe_of(num_seeds), [MEMORIZATION], traces, labels)
    for row in range(num_rows):
        pairs = list(zip(rights[row], masks[row], strict=True))
        sides = [r for r, m in pairs if m], [r for r, m in pairs if not m]
        expected = slow_memorization(*sides), slow_error(*sides)
        found = columns.values["memorization"][row], columns.values["memorization_se"][row]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_row_right_only_where_it_was_trained_on_is_memorized_and_never_without_error() -> None:
    in_sample = [[True] * 3, [True] * 3, [False] * 3, [False] * 3]
    correct = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]]
    columns = compute_scores(
        recipe_of(4), [MEMORIZATION], traces_of(correct, in_sample), np.zeros(3, dtype=np.int64)
    )
    assert columns.values["memorization"].tolist() == [1.0, 0.0, -1.0]
    # Both shares are 3/4 or 1/4 of 4 after the additions.
    expected = math.sqrt(2 * 0.75 * 0.25 / 4)
    assert columns.values["memorization_se"].tolist() == pytest.approx([expected] * 3)


def test_rows_that_no_seed_held_out_are_partial_and_named() -> None:
    in_sample = [[True, True, True], [False, True, True]]
    traces = traces_of([[1, 0, 1]] * 2, in_sample)
    with pytest.raises(PartialError, match=r"2 rows .*held them out .*row 1\b.*memorization"):
        compute_scores(recipe_of(2), [MEMORIZATION], traces, np.zeros(3, dtype=np.int64))


def test_rows_that_every_seed_held_out_are_partial_too() -> None:
    traces = traces_of([[1, 0]] * 2, [[False, True], [False, False]])
    with pytest.raises(PartialError, match=r"1 rows have no seed that trained on them .*row 0\b"):
        compute_scores(recipe_of(2), [MEMORIZATION], traces, np.zeros(2, dtype=np.int64))


def test_mislabelled_examples_are_memorized_more_on_average(watched: SimpleNamespace) -> None:
    columns = compute_scores(watched.recipe, [MEMORIZATION], watched.traces, watched.labels)
    values = columns.values["memorization"]
    assert values[watched.flipped].mean() > values[~watched.flipped].mean() + 0.1
