"""From traces to columns: every score at every checkpoint, its spread, and how it was made."""

from __future__ import annotations

import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from dataprune.core.errors import DatapruneError, PartialError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.scores import SCORES, Score, Seen, Values
from dataprune.scores._aggregate import ScoreColumns, compute_scores, per_seed_values
from dataprune.scores._reliability import reliability
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
LABELS = np.array([0, 1, 0, 1])
MASKS = [[True, True, False, True], [True, False, True, False], [True, True, True, False]]


def test_a_column_is_the_mean_over_in_sample_seeds_and_its_spread_has_ddof_0() -> None:
    columns = compute_scores(recipe_at(2), [SCORES.get("el2n")], el2n_traces(VALUES, MASKS), LABELS)
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
    ours = compute_scores(recipe_at(2), score, el2n_traces(VALUES, MASKS), LABELS)
    theirs = compute_scores(recipe_at(2), score, el2n_traces(other, MASKS), LABELS)
    assert ours.reliability == theirs.reliability
    for name, values in ours.values.items():
        assert np.array_equal(values, theirs.values[name])


def test_per_seed_values_are_nan_exactly_where_the_seed_held_the_row_out() -> None:
    values_SN = per_seed_values(
        SCORES.get("el2n"), el2n_traces(VALUES, MASKS), epoch=2, root_seed=0, labels=LABELS
    )
    assert np.array_equal(np.isnan(values_SN), ~np.asarray(MASKS))
    assert np.array_equal(values_SN[np.asarray(MASKS)], np.asarray(VALUES)[np.asarray(MASKS)])


def test_el2n_is_the_mean_of_norms_and_not_the_norm_of_the_mean_error(
    watched: SimpleNamespace,
) -> None:
    epoch = watched.epochs[-1]
    columns = compute_scores(watched.recipe, [SCORES.get("el2n")], watched.traces, watched.labels)
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
        compute_scores(recipe_at(2), [SCORES.get("el2n")], t, LABELS) for t in (traces, backwards)
    )
    assert ours.specs == theirs.specs
    assert ours.reliability == theirs.reliability
    assert all(np.array_equal(v, theirs.values[k]) for k, v in ours.values.items())


def test_a_row_that_every_seed_held_out_is_partial_and_named() -> None:
    masks = [[True, False, True, False], [True, False, True, True]]
    with pytest.raises(PartialError, match=r"1 rows .*row 1\b") as caught:
        compute_scores(recipe_at(2), [SCORES.get("el2n")], el2n_traces(VALUES[:2], masks), LABELS)
    assert caught.value.exit_code == 3
    assert caught.value.hint


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
        compute_scores(recipe_at(2), [score], traces, LABELS)
    assert not isinstance(caught.value, PartialError)


def scored_at(watched: SimpleNamespace, *epochs: int) -> Recipe:
    scores = watched.recipe.scores.model_copy(update={"at": epochs})
    return watched.recipe.model_copy(update={"scores": scores})


@pytest.fixture(scope="module")
def whole_windows(watched: SimpleNamespace) -> list[int]:
    """The epochs at which scores over windows have a value."""
    return [epoch for epoch in watched.epochs if epoch >= watched.window]


@pytest.fixture(scope="module")
def all_columns(watched: SimpleNamespace, whole_windows: list[int]) -> ScoreColumns:
    scores = [SCORES.get(name) for name in SCORES.names()]
    recipe = scored_at(watched, *whole_windows)
    return compute_scores(recipe, scores, watched.traces, watched.labels, holds_out=True)


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_has_a_finite_column_at_every_checkpoint(
    all_columns: ScoreColumns, whole_windows: list[int], name: str
) -> None:
    score = SCORES.get(name)
    spread = f"{name}_se" if score.over == "difference" else f"{name}_std"
    at = [] if score.at_init else [f"{name}@{epoch}" for epoch in whole_windows]
    of_this = {c for c in all_columns.values if c.split("@")[0] in {name, spread}}
    assert of_this == {*at, name, spread}
    for column in of_this:
        values = all_columns.values[column]
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
    if at:
        assert np.array_equal(all_columns.values[name], all_columns.values[at[-1]])
    assert all_columns.values[name].std() > 0


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_says_how_each_of_its_columns_was_made(
    all_columns: ScoreColumns, watched: SimpleNamespace, whole_windows: list[int], name: str
) -> None:
    score = SCORES.get(name)
    columns = {name: 0 if score.at_init else whole_windows[-1]}
    if not score.at_init:
        columns |= {f"{name}@{epoch}": epoch for epoch in whole_windows}
    of_this = {c for c, spec in all_columns.specs.items() if spec["score"] == name}
    assert of_this == set(columns)
    for column, epoch in columns.items():
        spec = all_columns.specs[column]
        assert all(value not in (None, "", []) for value in spec.values())
        assert spec.items() >= score.spec.items()
        assert spec["seeds"] == [0, 1, 2, 3]
        if not score.signals:
            assert "model" not in spec
            continue
        assert spec.keys() >= SPEC_KEYS
        assert spec["epoch"] == epoch
        assert spec["schedule_epochs"] == watched.recipe.probe.schedule_epochs
        assert spec["holdout"] == "2 folds, 2 repeats"
        has_window = score.windowed or name == "lbpe"
        assert spec.get("window") == (watched.window if has_window else None)


@pytest.mark.parametrize("name", SCORES.names())
def test_every_registered_score_says_how_far_its_seeds_agree(
    all_columns: ScoreColumns, name: str
) -> None:
    values = all_columns.values[name]
    told = [value is not None for value in all_columns.reliability[name].values()]
    # These probes memorize next to nothing, so that half of the seeds may see no flip at all.
    assert all(told) or (name == "mem_flip" and (values == 0).mean() > 0.5)


def test_every_pair_of_scores_is_compared_once(all_columns: ScoreColumns) -> None:
    pairs = [frozenset((pair["a"], pair["b"])) for pair in all_columns.between]
    num_scores = len(SCORES.names())
    assert len(set(pairs)) == len(pairs) == num_scores * (num_scores - 1) // 2


def test_scores_that_rank_alike_are_found_to(all_columns: ScoreColumns) -> None:
    found = {frozenset((p["a"], p["b"])): p["spearman"] for p in all_columns.between}
    assert found[frozenset(("el2n", "loss"))] > 0.9
    assert found[frozenset(("el2n", "grand"))] > 0.9
    assert abs(found[frozenset(("el2n", "random"))]) < 0.5


def test_what_a_seed_trained_on_counts_only_for_the_scores_over_such_rows(
    watched: SimpleNamespace,
) -> None:
    epoch = watched.epochs[-1]
    for name, held_out in (("el2n", False), ("heldout_el2n", True)):
        values_SN = watched.per_seed(name, epoch)
        for seed, trace in watched.traces.items():
            assert np.array_equal(np.isnan(values_SN[seed]), trace.in_sample == held_out)
    assert not np.isnan(watched.per_seed("memorization", epoch)).any()


@pytest.mark.parametrize("name", ["dual", "dyn_unc", "tdds"])
def test_a_checkpoint_before_the_first_whole_window_is_partial_and_says_what_to_do(
    watched: SimpleNamespace, name: str
) -> None:
    recipe = scored_at(watched, watched.window - 1)
    with pytest.raises(
        PartialError, match=f"too few epochs for a window of score {name}"
    ) as caught:
        compute_scores(recipe, [SCORES.get(name)], watched.traces, watched.labels)
    assert "scores.window" in str(caught.value.hint)


def test_a_row_that_no_seed_held_out_is_partial_for_a_score_over_held_out_rows() -> None:
    masks = [[True, False, True, False], [True, True, False, True]]
    with pytest.raises(PartialError, match=r"1 rows .*held them out .*row 0\b.*heldout_el2n"):
        compute_scores(
            recipe_at(2), [SCORES.get("heldout_el2n")], el2n_traces(VALUES[:2], masks), LABELS
        )


def test_scores_of_the_whole_table_are_those_of_each_alone(
    all_columns: ScoreColumns, watched: SimpleNamespace, whole_windows: list[int]
) -> None:
    recipe = scored_at(watched, whole_windows[-1])
    for name in ("vog", "memorization", "random"):
        alone = compute_scores(recipe, [SCORES.get(name)], watched.traces, watched.labels)
        assert np.array_equal(alone.values[name], all_columns.values[name])
        assert alone.reliability[name] == all_columns.reliability[name]


def test_a_spread_is_of_the_seeds_that_count(watched: SimpleNamespace) -> None:
    epoch = watched.epochs[-1]
    recipe = scored_at(watched, epoch)
    for name in ("aum", "heldout_loss"):
        columns = compute_scores(recipe, [SCORES.get(name)], watched.traces, watched.labels)
        values_SN = watched.per_seed(name, epoch)
        for row in range(len(watched.labels)):
            seen = [float(v) for v in values_SN[:, row] if not np.isnan(v)]
            assert len(seen) == 2
            spread = columns.values[f"{name}_std"][row]
            assert spread == pytest.approx(statistics.pstdev(seen), rel=1e-9, abs=1e-12)


def test_reliability_is_that_of_the_last_checkpoint(watched: SimpleNamespace) -> None:
    score, seed = SCORES.get("heldout_margin"), watched.recipe.seed
    recipe = scored_at(watched, 2, 5)
    columns = compute_scores(recipe, [score], watched.traces, watched.labels)
    in_SN = np.stack([watched.traces[s].in_sample for s in range(4)])
    expected = reliability(watched.per_seed(score.name, 5), in_SN, "held_out", root_seed=seed)
    assert columns.reliability == {score.name: expected}
