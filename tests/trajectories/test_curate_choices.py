"""Curations by other settings and of odd input: what is chosen, refused, and told to nobody."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import dataprune
from dataprune.cli import main
from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.core.recipe_curate import CurateRecipe, Preset
from dataprune.tables.scores import read_scores
from dataprune.trajectories.settings import curation_recipe
from tests.trajectories.runs import bad, curate, ledger_of, run, write


def test_bradley_terry_prints_its_bounds_and_what_they_do_not_cover(tmp_path: Path) -> None:
    rows = [
        run(q, str(i), code=f"print({i})", reward=float(i < 2)) for q in range(6) for i in range(4)
    ]
    made = curate(
        write(tmp_path / "r.jsonl", rows), tmp_path, select__policy="bt", select__beta=0.1
    )
    ledger = ledger_of(made)
    kept = [row for row in ledger if row["decision"] == "keep"]
    assert len(kept) == 6
    assert all(row["weight"] is not None for row in kept)
    assert any("at least" in line for line in made.curation.told["bounds"])
    assert any("mix is 0" in line for line in made.curation.told["bounds"])
    assert "guarantee" not in " ".join(made.curation.told["bounds"])


def test_categories_come_from_the_rows_or_from_words(tmp_path: Path) -> None:
    rows = [{**run(0, "1"), "category": "fact-checking"}, run(1, "2", code="print(2)")]
    made = curate(
        write(tmp_path / "r.jsonl", rows), tmp_path, select__keywords={"Counting": ["number"]}
    )
    counts = {c["category"]: c["after"] for c in made.curation.told["categories"]}
    assert (counts["Fact Checking"], counts["Counting"]) == (1, 1)
    assert "Ranking" in made.curation.told["empty_categories"]


def test_undecided_runs_are_in_no_version_and_make_it_partial(tmp_path: Path) -> None:
    texts = ["it rained all day", "the sun was out", "a storm came by"]
    rows = [run(0, text, code=f"print({i})") for i, text in enumerate(texts)]
    rows += [run(1, "5", code=f"print({i})") for i in range(3)]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path, groups__policy="unanimous")
    assert [row["decision"] for row in ledger_of(made)] == ["undecided"] * 3 + ["keep"] * 3
    assert made.is_partial
    assert made.rows_out == 3
    assert made.rejected is None


def test_what_presets_and_defaults_say_is_no_setting_without_effect(tmp_path: Path) -> None:
    files = write(tmp_path / "r.jsonl", [run(0, "7")])
    for number, preset in enumerate(get_args(Preset)):
        whole = CurateRecipe(preset=preset).model_dump(mode="json")
        curate(files, tmp_path, tag=f"v{number + 1}", preset=preset, groups__policy="off")
        recipe = {"name": "r", "task": "none", "source": {"uri": str(files)}, "curate": whole}
        settled = curation_recipe(parse_recipe(recipe, where="test"), {"dialect": "mint"})
        again = yaml.safe_load(yaml.safe_dump(settled.model_dump(mode="json")["curate"]))
        assert CurateRecipe.model_validate(again) == settled.curate


def test_null_is_a_value_like_any_other(tmp_path: Path) -> None:
    rows = [run(q, "7", code=f"print({q})") for q in (0, 1)]
    for row in rows:
        row["messages"][0]["content"] = f"Task:\nWhat is it? {' '.join(map(str, range(60)))} it"
    rows[1]["messages"][0]["content"] += " really"
    files = write(tmp_path / "r.jsonl", rows)
    near = curate(files, tmp_path)
    assert near.curation.told["queries"] == 1
    off = curate(files, tmp_path, tag="v2", duplicates__near_query=None)
    assert off.curation.told["queries"] == 2


def test_each_choice_of_settings_has_its_own_ledger(files: Path, tmp_path: Path) -> None:
    first = curate(files, tmp_path)
    before = first.curation.ledger.read_bytes()
    other = curate(files, tmp_path, tag="v2", preset="simpletir")
    assert other.curation.rows == first.curation.rows
    assert other.curation.ledger != first.curation.ledger
    assert first.curation.ledger.read_bytes() == before


def test_nothing_that_is_made_tells_of_this_machine(files: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"name: r\ntask: none\nsource: {{uri: {files}}}\ncurate: {{dialect: mint}}\n")
    against = write(tmp_path / "eval.jsonl", [{"question": "who is it " * 20}])
    made = dataprune.curate(
        own, name="runs", tag="v1", store=tmp_path / "store", work=tmp_path / "work",
        changes={"duplicates.against": [str(against)]},
    )  # fmt: skip
    dataprune.prune(
        made.curation.ledger, name="half", tag="v1", keep=1, by="n_tokens", store=tmp_path / "store"
    )
    made_files = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent != tmp_path]
    assert len(made_files) > 10
    for file in made_files:
        assert str(tmp_path).encode() not in file.read_bytes()
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            assert str(tmp_path) not in f"{table.to_pylist()}{table.schema.metadata}"


def test_a_view_of_a_ledger_is_read_from_anywhere(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path)
    dataprune.prune(
        made.curation.ledger, name="seen", tag="v1", keep=1, by="n_tokens", view=True,
        store=tmp_path / "store",
    )  # fmt: skip
    seen = dataprune.load("seen", "v1", store=tmp_path / "store").frame().collect()
    assert seen["query_id"].to_list() in (["q0"], ["q2"])


def test_without_a_kept_run_a_ledger_still_has_the_columns_it_names(tmp_path: Path) -> None:
    rows: list[Any] = [bad(0, last="hm")]
    del rows[0]["reward"]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path)
    table = read_scores(made.curation.ledger)
    assert table.columns
    assert set(table.columns) <= set(table.table.column_names)


def test_halves_of_characters_are_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    half = chr(0xD800)
    row = run(0, f"7{half}") | dict.fromkeys(("category", "reference", "prompt", "query_id"), half)
    row |= {"tools": [half], "traj_id": f"a{half}", "files": [half], "termination": half}
    files = write(tmp_path / "r.jsonl", [row, run(1, "8")])
    places = ["--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    line = ["dataprune", "curate", str(files), "--dialect", "mint", "--name", "r", "--tag", "v1"]
    monkeypatch.setattr(sys, "argv", [*line, *places])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "r@v1 built" in capsys.readouterr().err


def test_a_secret_that_is_only_noted_is_warned_of(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path, rules__flag=["X_SECRET"])
    assert made.rows_out == 3
    assert any("a key, a token or a password" in warning for warning in made.warnings)


def test_settings_that_count_runs_are_not_done_on_what_was_thinned(
    files: Path, tmp_path: Path
) -> None:
    first = curate(files, tmp_path)
    again = dataprune.curate(
        str(first.folder), name="twice", tag="v1", store=tmp_path / "store", work=tmp_path / "work",
        changes={"dialect": "mint", "groups.policy": "unanimous"},
    )  # fmt: skip
    assert again.rows_out == 2
    assert any("not done again" in warning for warning in again.warnings)


MIXED = [
    *(run(q, a, code=f"print({i})") for q in range(3) for i, a in enumerate("112")),
    *(run(q, "4", code="print(4)") for q in (3, 3, 3)),  # copies
    bad(4, last="hm"), bad(4, first="<execute>1</execute>"), run(4, "5"), run(4, "5", code="x=1"),
    *(run(q, "6", code=f"print({q})") for q in (5, 6)),  # asked twice, in near words
]  # fmt: skip
for _row in MIXED[-2:]:
    _row["messages"][0]["content"] = f"Task:\n{' '.join(map(str, range(80)))} and {_row['task_id']}"
MIXED = [
    {**row, "traj_id": f"t{i:02}", "reward": float(i % 3), "category": "ab"[i % 2]}
    for i, row in enumerate(MIXED)
]
CHOICES: list[dict[str, Any]] = [
    {"groups__policy": "majority", "select__policy": "random"},
    {"groups__policy": "share", "groups__keep_frontier": True, "select__max_per_query": 1},
    {"select__policy": "bt", "select__k": 2},
    {"select__policy": "top_m", "select__max_per_query": 2, "select__max_share": 0.5},
    {"select__policy": "shortest", "select__pairs_margin": 0.5, "select__bands": ["medium"]},
    {"select__keywords": {"Counting": ["number"]}, "select__balance": 0.5},
]


@pytest.mark.parametrize("choice", CHOICES)
def test_the_order_of_rows_decides_nothing(choice: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for number in range(3):
        order = (
            np.random.default_rng(number).permutation(len(MIXED)) if number else range(len(MIXED))
        )
        files = write(tmp_path / f"r{number}.jsonl", [MIXED[i] for i in order])
        made = curate(files, tmp_path, tag=f"v{number + 1}", **choice)
        rows = sorted(ledger_of(made), key=lambda row: str(row["traj_id"]))
        for row in rows:
            del row["row"]
        found.append(
            (rows, made.curation.decided.retry, sorted(map(str, made.curation.decided.pairs)))
        )
    assert found[0] == found[1] == found[2]
    assert len({row["decision"] for row in found[0][0]}) == 2


def test_a_question_that_names_the_query_is_not_told_by_the_ledger(tmp_path: Path) -> None:
    asked = "What is the number of my account? " * 20
    rows = [{**run(q, "1"), "question": f"{asked}{q}"} for q in (0, 1, 1)]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path, group_by="question")
    names = [row["query_id"] for row in ledger_of(made)]
    assert names[1] == names[2] != names[0]
    assert max(map(len, names)) <= 64


def test_pairs_without_rewards_are_refused(tmp_path: Path) -> None:
    row = run(0, "7")
    del row["reward"]
    with pytest.raises(UsageError, match="pairs_margin needs rewards"):
        curate(write(tmp_path / "r.jsonl", [row]), tmp_path, select__pairs_margin=0.5)


def test_a_secret_in_an_id_is_told_nowhere(tmp_path: Path) -> None:
    key = "AKIA" + "Q7" * 8
    rows = [{**run(0, "1"), "traj_id": f"run-{key}", "task_id": key}, run(1, "1")]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path)
    first = ledger_of(made)[0]
    assert first["reject_code"] == "X_SECRET"
    assert key not in str(first)
    assert first["traj_id"].startswith("secret-")
