"""The flag `memorized`: rows whose wrong labels a network learned by heart, and nothing else."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import dataprune
from dataprune import flow
from dataprune.cli import main
from dataprune.core.errors import PartialError, UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flags import overlap_of
from dataprune.flags._units import read_units
from dataprune.flags.memorized import flag_memorized, plurality
from dataprune.scores._result import ScoreResult
from dataprune.tables.flags import FlagColumns
from dataprune.tables.scores import ScoreTable, read_scores

N, CLASSES = 500, 10


@dataclass(frozen=True)
class Scored:
    """A scoring with both flags, and which labels are wrong."""

    made: ScoreResult
    truth: Any
    wrong: Any

    @property
    def table(self) -> ScoreTable:
        """The score table."""
        return read_scores(self.made.path)

    def column(self, name: str) -> Any:
        """One column of it."""
        return self.table.table.column(name).to_numpy()


def recipe(folder: Path, *, epochs: int) -> tuple[Recipe, Any, Any]:
    """Ten well separated classes in 60 dimensions, a fifth of the labels another class."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, N)
    inputs = rng.normal(size=(N, 60)) + 2 * rng.normal(size=(CLASSES, 60))[truth]
    wrong = rng.random(N) < 0.2
    given = np.where(wrong, (truth + rng.integers(1, CLASSES, N)) % CLASSES, truth)
    rows = pl.DataFrame({"x": inputs.astype(np.float32).tolist(), "y": given})
    rows.write_parquet(folder / "rows.parquet")
    source = {
        "uri": str(folder / "rows.parquet"),
        "columns": {"input": "x", "label": "y"},
    }
    probe = {
        "model": {"name": "mlp", "params": {"widths": [256]}},
        "batch_size": 50,
        "optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.0},
        "schedule_epochs": epochs,
    }
    whole = {
        "name": "by-heart", "source": source, "probe": probe, "seeds": 5,
        "holdout": {"folds": 5, "repeats": 1}, "scores": {"timing_gate": "off"},
    }  # fmt: skip
    return parse_recipe(whole, where="tests"), truth, wrong


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Trained until most wrong labels are fitted; read-only."""
    folder = tmp_path_factory.mktemp("memorized")
    wanted, truth, wrong = recipe(folder, epochs=30)
    made = flow.score(wanted, flags=["memorized", "label_issue"], work=folder / "run")
    return Scored(made, truth, wrong)


def test_wrong_labels_that_were_fitted_are_flagged_and_right_ones_are_not(scored: Scored) -> None:
    verdict = scored.column("is_memorized")
    assert (verdict & scored.wrong).sum() > 0.8 * scored.wrong.sum()
    assert (verdict & ~scored.wrong).sum() < 0.02 * N
    assert (scored.column("mem_answer") == scored.truth)[scored.wrong].mean() > 0.95


def test_number_is_the_share_of_in_sample_seeds_that_flip(scored: Scored) -> None:
    flips: list[list[float]] = [[] for _ in range(N)]
    answers: list[list[int]] = [[] for _ in range(N)]
    for path in scored.made.work.glob("units/*/trace.parquet"):
        for row in pq.read_table(path).to_pylist():
            if row["in_sample"]:
                flips[row["row"]].append(row["mem_flip"])
                answers[row["row"]].append(int(row["mem_relabel"]))
    expected = np.array([sum(of_row) / len(of_row) for of_row in flips])
    assert {len(of_row) for of_row in flips} == {4}
    np.testing.assert_array_equal(scored.column("memorized"), expected.astype(np.float32))
    np.testing.assert_array_equal(scored.column("memorized"), scored.column("mem_flip"))
    np.testing.assert_array_equal(scored.column("is_memorized"), expected >= 0.5)
    found, share = scored.column("mem_answer"), scored.column("mem_answer_frac")
    for row, of_row in enumerate(answers):
        counts = Counter(of_row)
        most = max(counts.values())
        best = min(answer for answer, count in counts.items() if count == most)
        assert found[row] == best
        assert share[row] == most / 4


def test_metadata_says_what_the_flag_rests_on(scored: Scored) -> None:
    about = scored.table.meta["flags"]["memorized"]
    totals = about["totals"]
    assert about["columns"] == ["memorized", "is_memorized", "mem_answer", "mem_answer_frac"]
    assert totals["memorized"] == scored.column("is_memorized").sum()
    assert totals["removed"]["is_localizable"]
    assert totals["removed"]["seeds"] == 5
    assert len(about["unit_ids"]) == 5
    spec = scored.table.meta["scores"]["memorized"]
    assert spec["higher_is"] == "more memorized"
    assert {"mem_drop", "mem_margin_pruned", "memorization"} <= set(scored.table.columns)


def test_memorized_and_mislabelled_are_counted_apart(scored: Scored) -> None:
    [rows] = scored.table.meta["flag_overlap"]
    mine, other = scored.column("is_memorized"), scored.column("is_label_issue")
    assert (rows["a"], rows["b"]) == ("memorized", "label_issue")
    assert rows["both"] == (mine & other).sum()
    assert rows["only_a"] == (mine & ~other).sum()
    assert rows["only_b"] == (~mine & other).sum()
    assert sum(rows[key] for key in ("both", "only_a", "only_b", "neither")) == N
    assert scored.made.flag_overlap == [rows]


def test_rows_can_be_selected_by_the_flag(scored: Scored, tmp_path: Path) -> None:
    dataprune.prune(
        scored.made.path, name="n", tag="v1", keep=0.9, by="memorized", strategy="easiest",
        store=tmp_path,
    )  # fmt: skip
    version = dataprune.load("n", "v1", store=tmp_path)
    dropped = np.setdiff1d(np.arange(N), version.rows)
    assert len(dropped) == 50
    assert (scored.column("memorized")[dropped] > 0.5).all()


def test_nothing_is_flagged_before_anything_is_memorized(tmp_path: Path) -> None:
    wanted, _, _ = recipe(tmp_path, epochs=4)
    made = flow.score(wanted, flags=["memorized"], work=tmp_path / "run")
    assert not read_scores(made.path).table.column("is_memorized").to_numpy().any()
    assert made.flags["memorized"]["memorized"] == 0
    assert any("not_localizable" in warning for warning in made.warnings)
    assert any("no row is flagged memorized" in warning for warning in made.warnings)


def test_a_row_that_no_finished_unit_trained_on_is_no_false_zero(scored: Scored) -> None:
    stored = read_units(scored.made.work)
    with pytest.raises(PartialError, match="100 rows were trained on by no finished unit"):
        flag_memorized(replace(stored, records={0: stored.records[0]}))


def test_of_equally_frequent_answers_the_lowest_class_stands() -> None:
    answer = np.array([[3, 1, 7], [1, 1, 2], [3, 9, 2], [1, 9, 7]], dtype=np.int32)
    counts = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 1]], dtype=bool)
    found, share = plurality(answer, counts)
    assert found.tolist() == [1, 1, 2]
    assert share.tolist() == [0.5, 2 / 3, 2 / 3]


def test_three_flags_are_compared_two_by_two() -> None:
    def flagged(name: str, verdict: list[bool]) -> FlagColumns:
        return FlagColumns(name, pa.table({f"is_{name}": verdict}), {}, {})

    found = overlap_of(
        [
            flagged("a", [True, True, False, False]),
            flagged("b", [True, False, True, False]),
            flagged("c", [False, False, False, False]),
        ]
    )
    assert [(rows["a"], rows["b"]) for rows in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [found[0][key] for key in ("both", "only_a", "only_b", "neither")] == [1, 1, 1, 1]
    assert [found[1][key] for key in ("both", "only_a", "only_b", "neither")] == [0, 2, 0, 2]


def test_it_has_no_table_of_its_own(scored: Scored) -> None:
    with pytest.raises(UsageError, match="flag memorized has no table of its own"):
        flow.flag(scored.made.work, name="memorized")


def test_command_tells_it_for_people(
    scored: Scored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = tmp_path / "recipe.yaml"
    written.write_text(yaml.safe_dump(scored.made.recipe.model_dump(mode="json")))
    line = ["score", written, "--work", scored.made.work, "--out", tmp_path / "again.parquet"]
    monkeypatch.setattr(sys, "argv", ["dataprune", *map(str, line)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 0
    assert "What probes know by heart of 500 rows: not the same as wrong labels" in told.out
    assert "localizability index" in told.out
    assert "memorized and label_issue: " in told.err
