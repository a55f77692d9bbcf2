"""Flags from a run's stored units: the same as from its held-out outputs, given by hand."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import PartialError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.flags._evidence import fit_temperature
from dataprune.flags._plateau import train_plateau
from dataprune.flags._units import read_units, vote_of
from dataprune.flags.label_issue import _contradictions, flag_votes, judge_votes
from dataprune.tables.flags import read_flags
from dataprune.tables.heldout import condense, read_heldout
from dataprune.tables.scores import read_scores
from dataprune.tables.trace import read_trace
from tests.conftest import RECIPE, blobs

N = 300


@pytest.fixture(scope="module")
def wrong() -> Any:
    """Which labels are errors."""
    return np.random.default_rng(5).random(N) < 0.15


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, wrong: Any) -> Any:
    """300 rows, 15 % of them given the next class, scored with the flag; read-only."""
    folder = tmp_path_factory.mktemp("units")
    table = blobs(N)
    names = np.array(table.column("label").to_pylist())
    given = np.where(wrong, np.roll(["class-0", "class-1", "class-2"], -1)[np.arange(N) % 3], names)
    table = table.set_column(1, "label", pa.array(given.tolist()))
    pq.write_table(table, folder / "rows.parquet")
    recipe = copy.deepcopy(RECIPE)
    recipe["source"]["uri"] = str(folder / "rows.parquet")
    recipe["probe"]["batch_size"] = 16
    return flow.score(parse_recipe(recipe, where="t"), flags=["label_issue"], work=folder / "run")


@pytest.fixture
def run(scored: Any, tmp_path: Path) -> Path:
    """A copy of the run folder, to be spoilt."""
    return Path(shutil.copytree(scored.work, tmp_path / "run"))


def by_hand(work: Path) -> tuple[list[Any], Any]:
    """Votes per repeat from the units' held-out logits."""
    stored = read_units(work)
    labels = stored.examples.table.column("label").to_numpy().astype(np.int64)
    votes = [np.full((N, 3), np.nan, np.float32) for _ in range(2)]
    for seed, record in stored.records.items():
        part = read_heldout(record.path("heldout.parquet"))
        votes[seed // 5][part.rows] = part.outputs
    return votes, labels


def test_flags_are_those_of_the_held_out_outputs(scored: Any) -> None:
    votes, labels = by_hand(scored.work)
    names = ["class-0", "class-1", "class-2"]
    expected = dataprune.flag_labels(votes, labels, logits=True, class_names=names)
    found = flow.flag(scored.work)
    for name, values in expected.columns.items():
        assert np.array_equal(found.columns[name], values), name
    assert found.totals["noise_rate"] == expected.totals["noise_rate"]
    assert found.class_names == names


def test_wrong_labels_are_found(scored: Any, wrong: Any, f1: Callable[..., float]) -> None:
    found = flow.flag(scored.work).columns
    assert f1(found["is_label_issue"], wrong) > 0.9
    flagged = found["is_label_issue"] & wrong
    assert (found["suggested"][flagged] == (np.arange(N) % 3)[flagged]).mean() > 0.9


def test_the_score_table_has_the_same_flags_beside_its_scores(scored: Any, tmp_path: Path) -> None:
    flow.flag(scored.work, out=tmp_path / "F.parquet")
    flags, scores = read_flags(tmp_path / "F.parquet"), read_scores(scored.path)
    for name in flags.table.schema.names:
        here = {"label_q": "label_issue", "given": "label"}.get(name, name)
        assert scores.table.column(here).equals(flags.table.column(name)), name
    assert scores.meta["scores"]["label_issue"]["higher_is"] == "noisier"
    assert scores.meta["flags"]["label_issue"]["rule"] == flags.meta["rule"]
    assert scores.meta["flags"]["label_issue"]["totals"] == flags.meta["totals"]
    assert flags.meta["unit_ids"] == scores.meta["unit_ids"]
    assert flags.meta["source"] == scores.meta["source"]
    assert scored.flags["label_issue"] == flags.meta["totals"]


def test_scoring_again_trains_nothing_and_gives_the_same_table(scored: Any) -> None:
    before = scored.path.read_bytes()
    again = flow.score(scored.recipe, work=scored.work)
    assert again.trained == []
    assert scored.path.read_bytes() == before


def test_the_recipe_was_cross_fitted_five_times_two(scored: Any) -> None:
    assert (scored.recipe.holdout.folds, scored.recipe.holdout.repeats) == (5, 2)
    assert len(scored.seeds) == 10


def test_the_plateau_is_what_training_did_not_fit(scored: Any, wrong: Any) -> None:
    stored = read_units(scored.work)
    found = train_plateau(stored.records.values(), [2, 4])
    assert found is not None
    correct, held_out = [], []
    for record in stored.records.values():
        trace = read_trace(record.path("trace.parquet"), ["correct"], [4])
        correct.append(trace.signals[4]["correct"][trace.in_sample].mean())
        held_out.append(trace.signals[4]["correct"][~trace.in_sample].mean())
    assert found["rate"] == pytest.approx(1 - np.mean(correct))
    assert found["held_out"] == pytest.approx(np.mean(held_out))
    assert found["rate"] == pytest.approx(wrong.mean(), abs=0.03)
    assert list(found["accuracy"]) == ["2", "4"]
    assert found["status"] == "experimental"
    assert train_plateau(stored.records.values(), [4])["settled"] is None  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [120])
def test_votes_of_many_classes_are_what_all_their_logits_would_be(
    noisy: Callable[..., Any], f1: Callable[..., float], num_classes: int
) -> None:
    data = noisy(n=2000, num_classes=num_classes, sharpness=3.5, votes=1, overconfident=1.5)
    logits = (np.log(data.votes[0].astype(np.float64)) + 3).astype(np.float32)
    rows = np.arange(2000)
    parts = [condense(rows[r::2], logits[r::2], data.given[r::2]) for r in range(2)]
    assert parts[0].outputs is None
    vote = vote_of("repeat 0", parts, data.given, num_classes)
    exact = logits.astype(np.float64)
    expected = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    found = np.exp(vote.logits(rows))
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)
    own = rows, data.given
    assert found[own] == pytest.approx(expected[own], rel=1e-3)
    order = np.argsort(-expected, axis=1)[:, :32]
    assert np.take_along_axis(found, order, axis=1) == pytest.approx(
        np.take_along_axis(expected, order, axis=1), rel=0.01
    )
    whole_t, top_t = (fit_temperature(z, data.given) for z in (exact, vote.logits(rows)))
    assert top_t == pytest.approx(whole_t, rel=0.1)
    whole = dataprune.flag_labels(data.votes, data.given).columns
    dense = vote.logits(slice(None)).astype(np.float32)
    top = dataprune.flag_labels(dense, data.given, logits=True).columns
    assert f1(top["is_label_issue"], data.wrong) > f1(whole["is_label_issue"], data.wrong) - 0.02
    assert np.corrcoef(top["label_q"], whole["label_q"])[0, 1] > 0.99


def test_a_fold_without_errors_does_not_vouch_for_the_others() -> None:
    """One temperature per repeat: that of a fold would be tiny where no label contradicts."""
    rng = np.random.default_rng(3)
    n = 500
    truth = rng.integers(0, 5, n)
    logits = (4 * rng.normal(size=(n, 5)) / 3 + 6 * np.eye(5)[truth]).astype(np.float32)
    given, errors = truth.copy(), np.arange(200, 212)
    given[errors] = (truth[errors] + 1) % 5
    parts = [condense(np.arange(a, a + 100), logits[a : a + 100], given) for a in range(0, n, 100)]
    vote = vote_of("repeat 0", parts, given, 5)
    found = judge_votes([vote], given, class_names=None, seed=0, rule="tiers").columns
    assert found["is_label_issue"][errors].mean() > 0.8
    assert found["is_label_issue"].sum() < 15


def test_rows_that_a_vote_did_not_hold_out_say_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 150)).astype(np.float32)
    part = condense(np.array([1, 3]), logits[[1, 3]], np.array([7, 9]))
    vote = vote_of("repeat 0", [part], np.array([0, 7, 0, 9]), 150)
    assert vote.held_out.tolist() == [False, True, False, True]
    assert (vote.logits(slice(0, 4))[[0, 2]] == 0).all()


def test_copies_with_other_labels_are_told() -> None:
    hashes = np.array([7, 9, 7, 3, 9, 7, 3], dtype=np.uint64)
    told = _contradictions(hashes, np.array([1, 0, 1, 2, 0, 2, 2]))
    assert len(told) == 1
    assert told[0].startswith("3 rows are exact copies of rows with another label (rows 0 and 5,")
    assert _contradictions(hashes, np.array([1, 0, 1, 2, 0, 1, 2])) == []


# --- what is not there


def finished(run: Path, seed: int) -> Path:
    return read_units(run).records[seed].folder


def test_a_missing_unit_makes_flags_partial(run: Path) -> None:
    (finished(run, 3) / "unit.json").unlink()
    found = flow.flag(run)
    assert found.is_partial
    assert any(w.startswith("PARTIAL: 1 units are missing (seed 3)") for w in found.warnings)
    assert set(found.columns["n_votes"].tolist()) == {1, 2}


def test_a_row_without_a_vote_is_an_error(run: Path) -> None:
    for seed in range(1, 10):
        (finished(run, seed) / "unit.json").unlink()
    with pytest.raises(PartialError, match="240 rows were held out by no finished unit"):
        flow.flag(run)


def test_scores_are_written_although_a_row_has_no_vote(
    tiny: Callable[..., Any], blobs_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One repeat, one unit that always fails: PARTIAL scores without flags, as without asking."""
    from dataprune.probe import unit

    train = unit.probe_unit

    def failing(spec: Any, *rest: Any) -> Any:
        if spec["seed"] == 2:
            raise RuntimeError("no luck")
        return train(spec, *rest)

    monkeypatch.setattr(unit, "probe_unit", failing)
    found = tiny(flags=["label_issue"], seeds=5)
    assert found.status == "partial"
    assert read_scores(found.path).meta["status"] == "partial"
    assert found.flags == {}
    assert any("left out: label_issue: 60 rows were held out by no" in w for w in found.warnings)


def test_folds_that_a_recipe_names_are_kept(
    tiny: Callable[..., Any], blobs_recipe: dict[str, Any]
) -> None:
    blobs_recipe["holdout"] = {"folds": 3}
    found = tiny(flags=["label_issue"])
    assert (found.recipe.holdout.folds, found.recipe.holdout.repeats) == (3, 2)
    with pytest.raises(UsageError, match="5 seeds do not hold every row out equally often in 3"):
        tiny(flags=["label_issue"], seeds=5)


def test_another_table_is_not_overwritten(scored: Any) -> None:
    before = scored.path.read_bytes()
    with pytest.raises(UsageError, match="is there and holds scores, which flags would replace"):
        flow.flag(scored.work, out=scored.path)
    assert scored.path.read_bytes() == before


def test_a_damaged_unit_counts_as_missing(run: Path) -> None:
    path = finished(run, 3) / "heldout.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert flow.flag(run).about["missing"] == ["seed 3"]


def test_folders_that_hold_no_votes_say_what_to_do(
    run: Path, tmp_path: Path, tiny: Callable[..., Any]
) -> None:
    with pytest.raises(UsageError, match="is no run folder") as caught:
        flow.flag(tmp_path)
    assert "--flag label_issue" in str(caught.value.hint)
    with pytest.raises(UsageError, match="keep no held-out outputs"):
        flow.flag(tiny().work)
    (run / "examples.parquet").unlink()
    with pytest.raises(UsageError, match=r"has no examples\.parquet"):
        flow.flag(run)


def test_seeds_must_make_whole_repeats(tiny: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="7 seeds do not hold every row out equally often"):
        tiny(flags=["label_issue"], seeds=7)
    once = tiny(flags=["label_issue"], seeds=5)
    assert once.recipe.holdout.repeats == 1
    assert any("one held-out vote" in w for w in once.warnings)


def test_a_flag_that_is_not_there_is_named(tiny: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="no flag named label_isue") as caught:
        tiny(flags=["label_isue"])
    assert "label_issue" in str(caught.value.hint)


def test_flags_want_classes(
    tiny: Callable[..., Any], blobs_recipe: dict[str, Any], blobs_path: Path
) -> None:
    table = pq.read_table(blobs_path).append_column("y", pa.array(np.arange(300) / 7))
    pq.write_table(table, blobs_path)
    blobs_recipe["task"] = "regression"
    blobs_recipe["source"]["columns"] = {"input": "features", "label": "y"}
    with pytest.raises(UsageError, match="wants one class per row, and the task is regression"):
        tiny(flags=["label_issue"])


# --- cleanlab's rule


@pytest.mark.parametrize("filter_by", ["prune_by_noise_rate", "both", "low_self_confidence"])
def test_cleanlabs_verdicts_are_those_of_its_filter(
    noisy: Callable[..., Any], filter_by: str
) -> None:
    from cleanlab.filter import find_label_issues

    data = noisy(n=1000, votes=2)
    probs = {f"v{i}": vote for i, vote in enumerate(data.votes)}
    more: Any = {"labels_name": "labels", "class_names": None, "logits": False, "seed": 0}
    found = flag_votes(probs, data.given, **more, rule=f"cleanlab:{filter_by}")
    expected = find_label_issues(
        data.given, np.mean(data.votes, axis=0), filter_by=filter_by, n_jobs=1
    )
    assert np.array_equal(found.columns["is_label_issue"], expected)
    assert found.totals["tiers"] == {
        "likely": expected.sum(), "suspect": 0, "ok": 1000 - expected.sum(),
    }  # fmt: skip
    assert found.totals["planted_recall"]["random"] is None
    assert found.table().meta["rule"].startswith("likely: cleanlab 2")
    ours = flag_votes(probs, data.given, **more)
    assert np.array_equal(found.columns["label_q"], ours.columns["label_q"])


def test_the_rule_works_on_units_and_a_wrong_one_is_named(scored: Any) -> None:
    assert "both" in flow.flag(scored.work, rule="cleanlab:both").table().meta["rule"]
    with pytest.raises(UsageError, match="there is no rule cleanlab:bth") as caught:
        flow.flag(scored.work, rule="cleanlab:bth")
    assert "cleanlab:both" in str(caught.value.hint)
