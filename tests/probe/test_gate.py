"""The timing gate: scores of an epoch at which probes had learned too little are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataprune.core.errors import ProbeError
from dataprune.core.recipe import Recipe
from dataprune.probe.gate import check_timing, timing_gate, wilson_low
from dataprune.probe.observe import Observed
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.trace import Trace

MakeRecipe = Callable[..., Recipe]


def record(accuracies: Sequence[float]) -> Record:
    """A finished unit with this held-out accuracy after epochs 1, 2, ..."""
    history = [{"epoch": e, "heldout": a} for e, a in enumerate(accuracies, start=1)]
    return Record("id", {}, {}, {"history": history}, {}, Path("nowhere"))


def seen_with(*accuracies: Sequence[float], num_rows: int = 60) -> Observed:
    """One seed per argument; seed s held out every third row from s on."""
    traces, records = {}, {}
    for seed, values in enumerate(accuracies):
        traces[seed] = Trace(np.arange(num_rows) % 3 != seed % 3, {})
        records[seed] = record(values)
    return Observed(traces, records, [], [], [])


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_bound_solves_the_score_equation(pair: tuple[int, int]) -> None:
    right, count = pair
    low = wilson_low(right / count, count)
    expected = stats.binomtest(right, count).proportion_ci(0.95, method="wilson").low
    assert low == pytest.approx(expected, abs=1e-9)
    z = stats.norm.ppf(0.975)
    assert (right / count - low) ** 2 == pytest.approx(z**2 * low * (1 - low) / count, abs=1e-9)


def test_an_epoch_surely_above_chance_and_near_the_best_passes() -> None:
    (judged,) = check_timing(
        [record([0.5, 0.9])], (1,), metric="accuracy", chance=0.34, heldout_rows=100
    )
    assert judged.problem is None
    assert judged.value == 0.5
    assert judged.low == pytest.approx(wilson_low(0.5, 100))


def test_more_held_out_rows_can_make_the_same_accuracy_believable() -> None:
    few, many = (
        check_timing([record([0.45])], (1,), metric="accuracy", chance=0.4, heldout_rows=rows)[0]
        for rows in (50, 5000)
    )
    assert "not above chance 0.400" in (few.problem or "")
    assert many.problem is None


def test_an_epoch_under_half_of_the_runs_best_is_too_early() -> None:
    first, second = check_timing(
        [record([0.44, 0.9, 0.2])], (1, 2), metric="accuracy", chance=0.1, heldout_rows=10_000
    )
    assert "under half of the run's best, 0.900" in (first.problem or "")
    assert second.problem is None


def test_accuracies_are_averaged_over_seeds_before_they_are_judged() -> None:
    records = [record([0.2, 0.6]), record([0.6, 0.8])]
    judged = check_timing(records, (1, 2), metric="accuracy", chance=0.1, heldout_rows=1000)
    assert [j.value for j in judged] == pytest.approx([0.4, 0.7])
    assert [j.epoch for j in judged] == [1, 2]


def test_scores_taken_too_early_are_an_error_that_names_an_epoch_to_use(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    recipe = make_recipe(scores__at=[1, 3])
    accuracies = [0.3, 0.5, 0.9, 0.9]
    with pytest.raises(ProbeError, match=r"epoch 1 come too early.* not above chance") as caught:
        timing_gate(recipe, features_loaded, seen_with(accuracies, accuracies))
    assert "--at 3" in (caught.value.hint or "")


def test_a_probe_that_never_learned_is_told_to_train_better(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    with pytest.raises(ProbeError, match="not above chance") as caught:
        timing_gate(make_recipe(), features_loaded, seen_with([0.3] * 4, [0.3] * 4))
    assert "check the input and label columns" in (caught.value.hint or "")


def test_warn_returns_the_problem_as_a_warning_and_off_judges_nothing(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    seen = seen_with([0.3] * 4, [0.3] * 4)
    timing, warnings = timing_gate(make_recipe(scores__timing_gate="warn"), features_loaded, seen)
    assert [t.epoch for t in timing] == [2]
    assert len(warnings) == 1
    assert "epoch 2 come too early" in warnings[0]
    assert timing_gate(make_recipe(scores__timing_gate="off"), features_loaded, seen) == ([], [])


def test_scores_that_need_no_probe_are_not_judged(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    nothing = Observed({}, {}, [], [], [])
    assert timing_gate(make_recipe(), features_loaded, nothing) == ([], [])


@pytest.mark.parametrize(("num_seeds", "rows"), [(1, 20), (2, 40), (3, 60), (4, 60)])
def test_the_bound_counts_each_held_out_row_once_over_all_seeds(
    make_recipe: MakeRecipe, features_loaded: Loaded, num_seeds: int, rows: int
) -> None:
    seen = seen_with(*[[0.8, 0.8, 0.8, 0.8]] * num_seeds)
    ((judged,), _) = timing_gate(make_recipe(), features_loaded, seen)
    assert judged.low == pytest.approx(wilson_low(0.8, rows))


def test_with_a_test_split_chance_and_rows_are_the_test_splits(
    make_recipe: MakeRecipe, tested_loaded: Loaded
) -> None:
    everything = Trace(np.ones(60, dtype=np.bool_), {})
    seen = Observed({0: everything}, {0: record([0.6] * 4)}, [], [], [])
    ((judged,), _) = timing_gate(make_recipe(), tested_loaded, seen)
    assert judged.low == pytest.approx(wilson_low(0.6, 30))
    seen = Observed({0: everything}, {0: record([0.5] * 4)}, [], [], [])
    with pytest.raises(ProbeError, match=r"not above chance 0\.333"):
        timing_gate(make_recipe(), tested_loaded, seen)


def test_chance_is_the_share_of_the_largest_class(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded]
) -> None:
    import pyarrow as pa

    labels = [0] * 54 + [1] * 6
    rows: Any = [[float(i)] for i in range(60)]
    loaded = load_table(pa.table({"features": rows, "label": labels}))
    with pytest.raises(ProbeError, match=r"not above chance 0\.900"):
        timing_gate(make_recipe(), loaded, seen_with([0.9] * 4, [0.9] * 4))
