"""`prune --drop-likely` and `--relabel` on the command line: from probabilities to a version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.tables.flags import read_flags, write_flags
from dataprune.tables.scores import read_scores
from tests.tables.flagged import put_flags

NAMES = ["ape", "bee", "cat"]
N = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with wrong labels, random scores of it, and flags from two votes; read-only."""
    from dataprune.cli.flags import command

    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, N)
    given = np.where(rng.random(N) < 0.1, (truth + 1) % 3, truth)
    features = (np.eye(3)[truth] + rng.normal(size=(N, 3)) / 5).astype(np.float32)
    labels = [NAMES[k] for k in given]
    table = {"features": pa.array(features.tolist(), pa.list_(pa.float32())), "label": labels}
    pq.write_table(pa.table(table), folder / "data.parquet")
    line = ["--labels", str(folder / "data.parquet"), "--out", str(folder / "FLAGS.parquet")]
    for vote, order in (("a", [2, 0, 1]), ("b", [1, 2, 0])):
        logits = rng.normal(size=(N, 3)) + 4 * np.eye(3)[truth]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        columns = {NAMES[k]: p[:, k].astype(np.float32) for k in order}
        pq.write_table(pa.table(columns), folder / f"{vote}.parquet")
        line += ["--probs", str(folder / f"{vote}.parquet")]
    command.main(line, standalone_mode=False)
    (folder / "recipe.yaml").write_text(
        f"name: r\nsource: {{uri: {folder / 'data.parquet'}}}\nscores: {{names: [random]}}\n"
        "seeds: 1\nprune: {keep: 0.5}\n"
    )
    flow.score(folder / "recipe.yaml", work=folder / "work", out=folder / "scores.parquet")
    return folder


@pytest.fixture
def prune(cli: Any, place: Path, tmp_path: Path) -> Any:
    """Run `dataprune prune` on them."""

    def run(*more: object, tag: str = "v1", scores: str = "scores.parquet") -> Any:
        line = ["prune", place / scores, "--name", "d", "--tag", tag, "--store", tmp_path / "s"]
        return cli(*line, *more)

    return run


def likely(place: Path) -> Any:
    return read_flags(place / "FLAGS.parquet").column("is_label_issue")


def test_likely_label_issues_are_dropped_and_counted(
    cli: Any, prune: Any, place: Path, tmp_path: Path
) -> None:
    done = prune("--with", place / "FLAGS.parquet", "--drop-likely")
    num_likely = int(likely(place).sum())
    assert 30 < num_likely < 90
    assert done.code == 0
    assert done.out.splitlines()[0] == "d@v1: every row that is left"
    assert f"reasons: kept {N - num_likely}, label_issue {num_likely}" in done.err
    assert "these flags were not audited: `dataprune audit FLAGS.parquet --out DIR`" in done.err
    row = int(np.flatnonzero(likely(place))[0])
    told = cli("explain", "d", "v1", row, "--store", tmp_path / "s")
    given = NAMES[read_scores(place / "scores.parquet").table.column("label")[row].as_py()]
    assert told.out.startswith(f"row {row} (class {given}) was dropped, label_issue, before")
    assert "its label is likely wrong (label_issue " in told.out
    found = cli("explain", "d", "v1", row, "--store", tmp_path / "s", "--json").json
    assert found["scores"]["tier"] == "likely"
    assert found["suggested_class"] != found["class_name"]


def test_suggested_labels_are_stored_loaded_compared_and_verified(
    cli: Any, prune: Any, place: Path, tmp_path: Path
) -> None:
    flags = ("--with", place / "FLAGS.parquet")
    assert prune(*flags, "--relabel").code == 0
    assert prune(*flags, "--drop-likely", tag="v2").code == 0
    rows = flow.load("d", "v1", store=tmp_path / "s").frame().collect()
    assert rows.height == N
    changed = (rows["label"] != rows["suggested_label"]).to_numpy()
    assert np.array_equal(changed, likely(place))
    store = ("--store", tmp_path / "s")
    assert cli("versions", "verify", "d", "v1", *store).code == 0
    assert prune("--keep", "1.0", tag="v3").code == 0
    told = f"of the rows in both, {changed.sum()} have another suggested label"
    assert told in cli("diff", "d", "v1", "v3", *store).out
    settings = cli("diff", "d", "v1", "v2", *store, "--json").json["settings"]
    assert settings == {"drop_likely": [False, True], "relabel": [True, False]}
    row = int(np.flatnonzero(likely(place))[0])
    assert "suggested_label in this version: " in cli("explain", "d", "v1", row, *store).out
    assert cli("load", "d", "v1", *store).code == 0


def test_a_suspect_is_kept_and_said_to_be_one(
    cli: Any, prune: Any, place: Path, tmp_path: Path
) -> None:
    given = read_scores(place / "scores.parquet").table.column("label").to_numpy()
    suspect, none = np.arange(N) == 7, np.zeros(N, np.bool_)
    flags = put_flags(tmp_path / "f.parquet", given, none, suspect=suspect, class_names=NAMES)
    assert prune("--with", flags, "--drop-likely").code == 0
    told = cli("explain", "d", "v1", 7, "--store", tmp_path / "s").out
    assert "was kept: place" in told
    assert "its label is suspect (label_issue 0.55" in told
    assert "suggested:" not in told


def test_an_evaluation_says_which_labels_it_trained_on(
    cli: Any, prune: Any, place: Path, tmp_path: Path
) -> None:
    flags = ("--with", place / "FLAGS.parquet", "--relabel", "--keep", "0.5")
    assert prune(*flags, "--control").code == 0
    where = ("--store", tmp_path / "s", "--work", tmp_path / "e", "--seeds", "1")
    done = cli("evaluate", "d", "v1", *where)
    assert "trained on suggested_label: v1; every arm is tested on labels as given" in done.out
    arms = {
        arm["arm"]: arm["labels"]
        for arm in cli("evaluate", "d", "v1", *where, "--json").json["rows"]
    }
    assert arms.pop("v1") == "suggested_label"
    assert set(arms.values()) == {"given"}


def test_labels_that_change_are_counted_and_those_that_cannot_warned_of(
    prune: Any, place: Path, tmp_path: Path
) -> None:
    done = prune("--with", place / "FLAGS.parquet", "--relabel")
    assert f"suggested_label differs from the label in {likely(place).sum()} rows" in done.out
    found = read_flags(place / "FLAGS.parquet")
    columns = {name: found.column(name) for name in found.table.schema.names}
    suggested, first = columns["suggested"].copy(), int(np.flatnonzero(likely(place))[0])
    suggested[first] = columns["given"][first]  # as tables of before may have it
    write_flags(tmp_path / "old.parquet", {**columns, "suggested": suggested}, found.meta)
    done = prune("--with", tmp_path / "old.parquet", "--relabel", "--dry-run", "--json")
    assert done.json["relabelled"] == likely(place).sum() - 1
    assert any(
        f"the suggested label of 1 of the {likely(place).sum()} kept rows" in warning
        for warning in done.json["warnings"]
    )
    done = prune("--with", place / "FLAGS.parquet", "--drop-likely", "--dry-run", "--json")
    assert done.json["relabelled"] is None


def test_json_says_what_was_asked_for(prune: Any, place: Path) -> None:
    done = prune("--with", place / "FLAGS.parquet", "--drop-likely", "--keep", "0.5", "--json")
    told = done.json
    assert (told["drop_likely"], told["relabel"], told["rows_out"]) == (True, False, N // 2)
    assert told["reasons"]["label_issue"] == int(likely(place).sum())


def test_help_says_what_is_kept(cli: Any) -> None:
    shown = " ".join(cli("prune", "--help").out.split())
    assert "Without --keep, keep all the others" in shown
    assert "--relabel" in shown


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        (["--drop-likely"], "drop_likely wants flags of labels", "--with FLAGS.parquet"),
        (["--relabel"], "relabel wants flags of labels", "--flag label_issue"),
        (["--with", "F", "--drop-likely", "--relabel"], "no effect with drop_likely", "leave one"),
        (["--with", "F", "--relabel", "--view"], "no effect on a view", "leave --view out"),
        (["--with", "F", "--drop-likely", "--keep", "599"], "rows are left without", "keep fewer"),
        (["--with", "F", "--with", "F", "--drop-likely"], "has a column suggested", "leave one"),
        (["--with", "F", "--keep", "0.5", "--by", "label_isue"], "no column label_isue",
         "did you mean label_issue"),
        (["--with", "a.parquet", "--drop-likely"], "a.parquet is a table of neither",
         "dataprune flags makes flags"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence_and_what_to_do(
    prune: Any, place: Path, tmp_path: Path, more: list[str], message: str, hint: str
) -> None:
    names = {"F": place / "FLAGS.parquet", "a.parquet": place / "a.parquet"}
    done = prune(*(names.get(word, word) for word in more))
    assert done.code in {1, 2}
    assert message in done.err
    assert hint in done.err
    assert not list(tmp_path.glob("s/d/v*"))


def test_a_mistyped_option_is_answered_with_the_nearest(prune: Any) -> None:
    done = prune("--drop-likly")
    assert done.code == 2
    assert "--drop-likely" in done.err


def test_flags_are_no_scores(prune: Any) -> None:
    done = prune("--drop-likely", scores="FLAGS.parquet")
    assert done.code == 1
    assert "it is a flags table" in done.err
