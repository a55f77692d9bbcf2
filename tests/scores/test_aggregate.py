"""From per-seed values to columns: means and spreads over in-sample seeds, and reliability."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from dataprune.core.errors import DatapruneError, PartialError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.scores import SCORES, Score, Seen, Values
from dataprune.scores._aggregate import (
    compute_scores,
    mean_and_std,
    per_seed_values,
    reliability,
    spearman,
)
from dataprune.tables.trace import Trace

SPEC_KEYS = {
    "score",
    "higher_is",
    "status",
    "source",
    "epoch",
    "schedule_epochs",
    "seeds",
    "mode",
    "augmentation",
    "precision",
    "model",
}


def recipe_at(*epochs: int, seeds: int = 3) -> Recipe:
    data = {
        "name": "a",
        "source": {"uri": "digits"},
        "probe": {"schedule_epochs": max(epochs)},
        "scores": {"at": list(epochs)},
        "seeds": seeds,
    }
    return parse_recipe(data, where="tests")


def el2n_traces(
    values: list[list[float]], in_sample: list[list[bool]], *, epoch: int = 2
) -> dict[int, Trace]:
    """One trace per seed with these el2n values."""
    return {
        seed: Trace(np.asarray(mask), {epoch: {"el2n": np.asarray(row, dtype=np.float64)}})
        for seed, (row, mask) in enumerate(zip(values, in_sample, strict=True))
    }


VALUES = [[0.1, 0.9, 0.4, 1.0], [0.3, 0.5, 0.4, 0.2], [0.8, 0.7, 0.4, 0.6]]
MASKS = [[True, True, False, True], [True, False, True, False], [True, True, True, False]]


def test_a_column_is_the_mean_over_in_sample_seeds_and_its_spread_has_ddof_0() -> None:
    columns = compute_scores(recipe_at(2), [SCORES.get("el2n")], el2n_traces(VALUES, MASKS), 4)
    for row in range(4):
        seen = [VALUES[s][row] for s in range(3) if MASKS[s][row]]
        assert columns.values["el2n"][row] == pytest.approx(statistics.fmean(seen), rel=1e-12)
        assert columns.values["el2n_std"][row] == pytest.approx(
            statistics.pstdev(seen), rel=1e-12, abs=1e-15
        )


def test_what_a_seed_recorded_for_its_held_out_rows_changes_nothing() -> None:
    other = [
        [v if m else 1e6 for v, m in zip(row, mask, strict=True)]
        for row, mask in zip(VALUES, MASKS, strict=True)
    ]
    score = [SCORES.get("el2n")]
    ours = compute_scores(recipe_at(2), score, el2n_traces(VALUES, MASKS), 4)
    theirs = compute_scores(recipe_at(2), score, el2n_traces(other, MASKS), 4)
    assert ours.reliability == theirs.reliability
    for name, values in ours.values.items():
        assert np.array_equal(values, theirs.values[name])


def test_per_seed_values_are_nan_exactly_where_the_seed_held_the_row_out() -> None:
    values_SN = per_seed_values(
        SCORES.get("el2n"), el2n_traces(VALUES, MASKS), epoch=2, root_seed=0
    )
    assert np.array_equal(np.isnan(values_SN), ~np.asarray(MASKS))
    assert np.array_equal(values_SN[np.asarray(MASKS)], np.asarray(VALUES)[np.asarray(MASKS)])


def test_el2n_is_the_mean_of_norms_and_not_the_norm_of_the_mean_error(
    watched: SimpleNamespace,
) -> None:
    epoch = watched.epochs[-1]
    columns = compute_scores(
        watched.recipe, [SCORES.get("el2n")], watched.traces, len(watched.labels)
    )
    errors, norms = [], []
    for row, label in enumerate(watched.labels):
        seen = []
        for seed, trace in watched.traces.items():
            if trace.in_sample[row]:
                p = np.exp(watched.logits[seed][epoch][row])
                seen.append(p / p.sum() - np.eye(3)[label])
        norms.append(np.mean([np.linalg.norm(e) for e in seen]))
        errors.append(np.linalg.norm(np.mean(seen, axis=0)))
    assert columns.values["el2n"] == pytest.approx(np.asarray(norms), rel=1e-5)
    assert np.max(np.asarray(norms) - np.asarray(errors)) > 1e-3


def test_the_order_in_which_seeds_finished_changes_nothing() -> None:
    traces = el2n_traces(VALUES, MASKS)
    backwards = dict(reversed(traces.items()))
    ours, theirs = (
        compute_scores(recipe_at(2), [SCORES.get("el2n")], t, 4) for t in (traces, backwards)
    )
    assert ours.specs == theirs.specs
    assert ours.reliability == theirs.reliability
    assert all(np.array_equal(v, theirs.values[k]) for k, v in ours.values.items())


def test_a_row_that_every_seed_held_out_is_partial_and_named() -> None:
    masks = [[True, False, True, False], [True, False, True, True]]
    with pytest.raises(PartialError, match=r"1 rows .*row 1\b") as caught:
        compute_scores(recipe_at(2), [SCORES.get("el2n")], el2n_traces(VALUES[:2], masks), 4)
    assert caught.value.exit_code == 3
    assert caught.value.hint


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mean_and_std_equal_a_loop_for_any_mask(data: st.DataObject) -> None:
    num_seeds, num_rows = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    number = st.one_of(st.none(), st.floats(-1e3, 1e3))
    rows = data.draw(
        st.lists(
            st.lists(number, min_size=num_seeds, max_size=num_seeds).filter(
                lambda seen: any(v is not None for v in seen)
            ),
            min_size=num_rows,
            max_size=num_rows,
        )
    )
    values_SN = np.asarray([[math.nan if v is None else v for v in row] for row in rows]).T
    mean, std = mean_and_std(values_SN)
    for i, row in enumerate(rows):
        seen = [v for v in row if v is not None]
        assert mean[i] == pytest.approx(statistics.fmean(seen), rel=1e-9, abs=1e-9)
        assert std[i] == pytest.approx(statistics.pstdev(seen), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_score_that_is_nan_for_a_row_it_trained_on_is_an_error_that_names_the_row(
    num_seeds: int,
) -> None:
    def broken(seen: Seen) -> Values:
        values = np.array(seen.signals["el2n"])
        values[3] = np.nan if seen.seed == 0 else values[3]
        return values

    score = Score("broken", ("el2n",), broken, "harder", "experimental", "any", "a test")
    traces = el2n_traces(VALUES[:num_seeds], [[True] * 4] * num_seeds)
    with pytest.raises(DatapruneError, match=r"nan.*row 3") as caught:
        compute_scores(recipe_at(2), [score], traces, 4)
    assert not isinstance(caught.value, PartialError)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 6), min_size=n, max_size=n),
            st.lists(st.integers(0, 6), min_size=n, max_size=n),
        )
    )
)
def test_spearman_equals_scipys_with_ties(pair: tuple[list[int], list[int]]) -> None:
    a, b = (np.asarray(x, dtype=np.float64) for x in pair)
    assume(a.std() > 0 and b.std() > 0)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_with_a_constant_is_nan() -> None:
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))


def noisy_seeds(num_seeds: int, num_rows: int, noise: float) -> Values:
    rng = np.random.default_rng(5)
    return rng.normal(size=num_rows) + noise * rng.normal(size=(num_seeds, num_rows))


def test_reliability_is_spearman_brown_of_the_two_seeds_correlation() -> None:
    values_SN = noisy_seeds(2, 400, 1.0)
    r = stats.spearmanr(*values_SN).statistic
    found = reliability(values_SN, root_seed=0)
    assert found["split_half_spearman"] == pytest.approx(r, abs=1e-6)
    assert found["reliability"] == pytest.approx(2 * r / (1 + r), abs=1e-6)


def test_split_half_of_many_seeds_lies_within_what_the_splits_can_give() -> None:
    values_SN = noisy_seeds(4, 400, 1.0)
    halves = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    all_splits = [
        stats.spearmanr(values_SN[list(a)].mean(axis=0), values_SN[list(b)].mean(axis=0)).statistic
        for a, b in halves
    ]
    found = reliability(values_SN, root_seed=0)["split_half_spearman"]
    assert min(all_splits) - 1e-6 <= found <= max(all_splits) + 1e-6


def test_only_rows_that_both_halves_trained_on_are_compared() -> None:
    values_SN = noisy_seeds(2, 60, 0.5)
    values_SN[0, :10] = np.nan
    values_SN[1, 50:] = np.nan
    r = stats.spearmanr(values_SN[0, 10:50], values_SN[1, 10:50]).statistic
    found = reliability(values_SN, root_seed=0)["split_half_spearman"]
    assert found == pytest.approx(r, abs=1e-6)


def test_seeds_that_say_the_same_are_perfectly_reliable() -> None:
    values_SN = np.tile(np.random.default_rng(0).permutation(101).astype(np.float64), (5, 1))
    assert reliability(values_SN, root_seed=0) == {
        "split_half_spearman": 1.0,
        "reliability": 1.0,
        "kept_half_overlap": 1.0,
    }


def test_seeds_that_say_the_opposite_have_reliability_minus_one() -> None:
    values_SN = np.stack([np.arange(50.0), -np.arange(50.0)])
    found = reliability(values_SN, root_seed=0)
    assert found["reliability"] == -1.0
    assert found["kept_half_overlap"] == 0.0


def test_noise_is_not_reliable_and_overlaps_as_chance_does() -> None:
    values_SN = np.random.default_rng(1).normal(size=(6, 4000))
    found = reliability(values_SN, root_seed=0)
    assert abs(found["split_half_spearman"]) < 0.05
    assert abs(found["reliability"]) < 0.1
    assert found["kept_half_overlap"] == pytest.approx(0.5, abs=0.03)


def test_ties_earn_no_credit_in_the_overlap_of_kept_halves() -> None:
    values_SN = np.zeros((4, 4000))
    values_SN[:, 17] = 1.0  # one row differs, the same in every seed
    found = reliability(values_SN, root_seed=0)
    assert found["split_half_spearman"] == 1.0
    assert found["kept_half_overlap"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("values_SN", [np.arange(9.0)[None], np.ones((3, 9))])
def test_reliability_is_none_for_one_seed_and_for_scores_without_any_order(
    values_SN: Values,
) -> None:
    found = reliability(values_SN, root_seed=0)
    assert found["split_half_spearman"] is None
    assert found["reliability"] is None


def test_reliability_depends_on_the_root_seed_alone() -> None:
    values_SN = noisy_seeds(6, 100, 1.0)
    assert reliability(values_SN, root_seed=3) == reliability(values_SN, root_seed=3)
    assert reliability(values_SN, root_seed=3) != reliability(values_SN, root_seed=4)


@pytest.fixture(scope="module")
def all_columns(watched: SimpleNamespace) -> Any:
    scores = [SCORES.get(name) for name in SCORES.names()]
    return compute_scores(watched.recipe, scores, watched.traces, len(watched.labels))


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_is_finite_at_every_checkpoint(
    all_columns: Any, watched: SimpleNamespace, name: str
) -> None:
    wanted = [f"{name}@{epoch}" for epoch in watched.epochs] + [name, f"{name}_std"]
    for column in wanted:
        values = all_columns.values[column]
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
    assert np.array_equal(all_columns.values[name], all_columns.values[wanted[-3]])
    assert all_columns.values[name].std() > 0


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_says_what_it_is_and_how_it_was_made(
    all_columns: Any, watched: SimpleNamespace, name: str
) -> None:
    score = SCORES.get(name)
    assert score.name == name
    assert score.status in {"core", "experimental"}
    assert score.higher_is in {"harder", "noisier", "more uncertain", "more memorized", "nothing"}
    assert score.value_range
    assert score.source
    for epoch in watched.epochs:
        spec = all_columns.specs[f"{name}@{epoch}"]
        assert all(
            value not in (None, "") for value in spec.values() if not isinstance(value, list)
        )
        assert spec["seeds"] == [0, 1, 2]
        if score.signals:
            assert spec.keys() >= SPEC_KEYS
            assert spec["epoch"] == epoch
            assert spec["schedule_epochs"] == watched.recipe.probe.schedule_epochs
        else:
            assert "model" not in spec
    assert all_columns.specs[name] == all_columns.specs[f"{name}@{watched.epochs[-1]}"]
    assert f"{name}_std" not in all_columns.specs
    assert all(value is not None for value in all_columns.reliability[name].values())


def test_a_score_spec_says_which_rows_were_held_out(all_columns: Any) -> None:
    assert "holdout" in all_columns.specs["el2n"]


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_has_a_test_file_of_its_own(name: str) -> None:
    assert Path(__file__).with_name(f"test_{name}.py").is_file()
