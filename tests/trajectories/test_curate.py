"""A curation from files to versions: every row decided, every reason told, nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import dataprune
from dataprune.cli import main
from dataprune.core.errors import SourceError, UsageError, VersionExistsError
from dataprune.core.recipe import parse_recipe
from dataprune.core.recipe_curate import CurateRecipe, Preset
from dataprune.publishing.curated import CurateResult
from dataprune.tables.ledger import COLUMNS, check_ledger
from dataprune.tables.scores import read_scores
from dataprune.trajectories.settings import curation_recipe
from dataprune.trajectories.table import stored_rows


def run(query: int, answer: str, *, code: str = "print(1)", reward: float = 1.0) -> dict[str, Any]:
    """An agent that executes and then answers, in the dialect of MINT."""
    return {
        "task_id": f"q{query}",
        "reward": reward,
        "messages": [
            {"role": "user", "content": f"Task:\nWhat is number {query} in the book of numbers?"},
            {"role": "assistant", "content": f"<thought>go</thought><execute>{code}</execute>"},
            {"role": "user", "content": "Observation:\n1"},
            {"role": "assistant", "content": f"<solution>{answer}</solution>"},
        ],
    }


def bad(query: int, **changed: str) -> dict[str, Any]:
    """The same with other texts of the agent: first or last."""
    row = run(query, "1")
    for place, text in changed.items():
        row["messages"][{"first": 1, "last": 3}[place]]["content"] = text
    return row


def write(path: Path, rows: list[Any]) -> Path:
    """JSON Lines; a text stands as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    return path


ROWS = [
    run(0, "7"),
    bad(1, last="I do not know where to look."),  # no answer, void
    run(2, "8", code="print(2)"),
    "{not json",
    bad(3, first="<execute>print(3)</execute>\nObservation:\n3\n", last="<solution>3</solution>"),
    run(0, "7"),  # a copy of the first
    bad(4, last="<solution>4</solution>", first="<execute>KEY='AKIA" + "Q7" * 8 + "'</execute>"),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write(tmp_path / "runs.jsonl", ROWS)


def curate(files: Path | str, tmp_path: Path, *, tag: str = "v1", **changes: Any) -> CurateResult:
    settled = {name.replace("__", "."): value for name, value in changes.items()}
    return dataprune.curate(
        files, name="runs", tag=tag, store=tmp_path / "store", work=tmp_path / "work",
        changes={"dialect": "mint", **settled},
    )  # fmt: skip


def ledger_of(made: CurateResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_scores(made.curation.ledger).table.to_pylist()
    return rows


def test_every_row_has_a_decision_and_every_rejection_a_reason(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path)
    ledger = ledger_of(made)
    assert [row["decision"] for row in ledger] == [
        "keep", "reject", "keep", "reject", "reject", "reject", "reject",
    ]  # fmt: skip
    assert [row["reject_code"] for row in ledger] == [
        None, "F_NO_ANSWER", None, "S_PARSE", "F_FABRICATED_OBS", "D_EXACT", "X_SECRET",
    ]  # fmt: skip
    for row in ledger:
        severities = {reason["severity"] for reason in row["reasons"]}
        assert (row["decision"] == "reject") == ("reject" in severities)
    codes = {reason["code"] for reason in ledger[1]["reasons"]}
    assert {"F_NO_ANSWER", "F_VOID_TURN"} <= codes  # all rules run, not the first alone
    assert made.curation.told["decisions"] == {"keep": 2, "reject": 5, "undecided": 0}


def test_spans_point_at_the_text_of_the_stored_trajectory(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path)
    stored = list(stored_rows(made.curation.rows))
    pointed = 0
    for row, trajectory in zip(ledger_of(made), stored, strict=True):
        for reason in row["reasons"]:
            if reason["char_start"] is not None:
                content = trajectory.messages[reason["step"]].content
                assert 0 <= reason["char_start"] < reason["char_end"] <= len(content)
                pointed += 1
    assert pointed >= 3
    [fabricated] = [r for r in ledger_of(made)[4]["reasons"] if r["code"] == "F_FABRICATED_OBS"]
    content = stored[4].messages[fabricated["step"]].content
    assert content[fabricated["char_start"] :].startswith("Observation:")


def test_no_reason_quotes_a_secret(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path)
    assert "AKIA" not in json.dumps(ledger_of(made), default=str)


def test_kept_rows_are_the_version_and_rejected_ones_beside_it(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path)
    version = dataprune.load("runs", "v1", store=tmp_path / "store")
    frame = version.frame().collect()
    assert frame["query_id"].to_list() == ["q0", "q2"]
    [said] = [m for m in frame["messages"][0].to_list() if m["content"].startswith("<solution>")]
    assert said["train"]
    assert not any(m["train"] for m in frame["messages"][0].to_list() if m["role"] == "user")
    assert made.rejected is not None
    rejected = dataprune.load("runs-rejected", "v1", store=tmp_path / "store")
    names = rejected.frame().collect()["traj_id"].to_list()
    assert len(names) == 4  # all but the one with a key in it
    assert "AKIA" not in str(rejected.frame().collect().to_dicts())
    assert {"kept", "D_EXACT", "X_SECRET"} <= set(made.reasons)


def test_curating_what_was_curated_changes_nothing(files: Path, tmp_path: Path) -> None:
    first = curate(files, tmp_path)
    again = dataprune.curate(
        str(first.folder), name="twice", tag="v1", store=tmp_path / "store", work=tmp_path / "work",
        changes={"dialect": "mint"},
    )  # fmt: skip
    assert again.curation.told["decisions"] == {"keep": 2, "reject": 0, "undecided": 0}
    one, two = (
        dataprune.load(name, "v1", store=tmp_path / "store").frame().collect()
        for name in ("runs", "twice")
    )
    assert one.equals(two)


def test_same_input_gives_the_same_bytes_and_finds_the_version_built(
    files: Path, tmp_path: Path
) -> None:
    first = curate(files, tmp_path)
    before = {p: p.read_bytes() for p in (first.curation.rows, first.curation.ledger)}
    again = curate(files, tmp_path)
    assert first.created
    assert not again.created
    assert {p: p.read_bytes() for p in before} == before
    write(files, ROWS[:3])
    with pytest.raises(VersionExistsError):
        curate(files, tmp_path)


def test_agreement_rejects_the_minority_and_tells_what_to_try_again(tmp_path: Path) -> None:
    rows = [
        run(0, "10", code="print(10)"), run(0, "10.0", code="print(5+5)"),
        run(0, "11", code="print(11)"),
        run(1, "1", code="print(1)"), run(1, "2", code="print(2)"), run(1, "3", code="print(3)"),
        *(run(2, "20", code=f"print({20 + i} - {i})") for i in range(3)),
    ]  # fmt: skip
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path, groups__policy="share")
    ledger = ledger_of(made)
    assert [row["tier"] for row in ledger] == [
        "silver", "silver", "none", "none", "none", "none", "gold", "gold", "gold",
    ]  # fmt: skip
    assert [row["reject_code"] for row in ledger[2:6]] == ["G_MINORITY", *["G_NO_CONSENSUS"] * 3]
    assert ledger[0]["vote_share"] == pytest.approx(2 / 3)
    [retry] = map(json.loads, (made.curation.folder / "retry.jsonl").read_text().splitlines())
    assert retry["query_id"] == "q1"
    assert len(retry["traj_ids"]) == 3


def test_pass_rates_are_told_before_and_after(tmp_path: Path) -> None:
    rows = [
        run(q, str(i), code=f"print({i})", reward=float(i < solved))
        for q, solved in enumerate([0, 2, 4])
        for i in range(4)
    ]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path, preset="rl")
    told = made.curation.told
    assert told["stages"][0]["pass_rates"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert told["stages"][-1]["pass_rates"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert told["frontier_retention"] == 1.0
    assert {row["query_id"] for row in ledger_of(made) if row["decision"] == "keep"} == {"q1"}


def test_a_ledger_goes_back_into_prune(tmp_path: Path) -> None:
    rows = [
        run(q, str(i), code=f"print({i})", reward=float(i < q)) for q in range(5) for i in range(4)
    ]
    rows[0] = bad(0, last="hm")
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path)
    result = dataprune.prune(
        made.curation.ledger, name="hard", tag="v1", by="pass_rate", strategy="easiest", keep=8,
        store=tmp_path / "store",
    )  # fmt: skip
    kept = dataprune.load("hard", "v1", store=tmp_path / "store").frame().collect()
    assert sorted(kept["query_id"].to_list()) == ["q0"] * 3 + ["q1"] * 4 + ["q2"]
    assert result.reasons["F_NO_ANSWER"] == 1
    other = dataprune.prune(
        made.curation.ledger, name="hard", tag="v2", by="pass_rate", keep=8,
        store=tmp_path / "store", strategy="hardest",
    )  # fmt: skip
    assert any("higher for easier rows" in warning for warning in other.warnings)


def test_nothing_kept_is_a_ledger_and_no_version(tmp_path: Path) -> None:
    made = curate(write(tmp_path / "r.jsonl", [bad(0, last="hm"), bad(1, last="")]), tmp_path)
    assert made.manifest is None
    assert any("no version was built" in warning for warning in made.warnings)
    assert len(ledger_of(made)) == 2


def test_presets_stand_below_what_is_asked_for(tmp_path: Path) -> None:
    text = "some words<thought>x</thought><execute>print(1)</execute>"
    files = write(tmp_path / "r.jsonl", [bad(0, first=text), run(1, "2")])
    assert ledger_of(curate(files, tmp_path))[0]["decision"] == "keep"
    strict = {"preset": "datamind", "groups.policy": "off"}
    made = curate(files, tmp_path, tag="v2", **{k.replace(".", "__"): v for k, v in strict.items()})
    assert ledger_of(made)[0]["reject_code"] == "F_TEXT_OUTSIDE_TAGS"
    own = curate(
        files, tmp_path, tag="v3", preset="datamind", groups__policy="off",
        rules__flag=["F_TEXT_OUTSIDE_TAGS"],
    )  # fmt: skip
    assert ledger_of(own)[0]["decision"] == "keep"


def test_void_turns_alone_reject_in_simpletir(files: Path, tmp_path: Path) -> None:
    made = curate(files, tmp_path, preset="simpletir")
    assert [row["reject_code"] for row in ledger_of(made) if row["reject_code"]] == [
        "F_VOID_TURN", "S_PARSE", "X_SECRET",  # what cannot be read and secrets are kept by none
    ]  # fmt: skip
    rows = [run(0, "7", code=f"print({i})") for i in range(3)]
    chosen = curate(
        write(tmp_path / "r.jsonl", rows), tmp_path, tag="v2", preset="simpletir",
        select__policy="shortest",
    )  # fmt: skip
    assert chosen.rows_out == 1  # a choice that is asked for is made


def test_secrets_are_in_no_version_whatever_else_rejects_or_stops_early(tmp_path: Path) -> None:
    key = "AKIA" + "Q7" * 8
    rows = [
        bad(0, last=f"no answer {key}"),  # another rule rejects first
        {**run(1, "1"), "note": key},  # in what becomes `meta`
        bad(2, last="no answer"),
        run(3, "1"),
    ]
    files = write(tmp_path / "r.jsonl", rows)
    for tag, fail_fast in (("v1", False), ("v2", True)):
        made = curate(files, tmp_path, tag=tag, rules__fail_fast=fail_fast)
        assert made.rejected is not None
        assert (made.rows_out, made.rejected.selection.rows_out) == (1, 1)
    for file in (tmp_path / "store").rglob("*"):
        if file.suffix == ".parquet":
            assert key not in str(pq.read_table(file).to_pylist()) + str(pq.read_schema(file))
        elif file.is_file():
            assert key not in file.read_text()


def test_repairs_are_recorded_and_stored(tmp_path: Path) -> None:
    row = bad(0, first="<execute>print(1)</execute>\nObservation:\n9\n")
    files = write(tmp_path / "r.jsonl", [row])
    made = curate(files, tmp_path, rules__repair=["P_TRIM_AFTER_ACTION"])
    [told] = ledger_of(made)
    assert told["decision"] == "keep"
    [repair] = told["repairs"]
    assert (repair["code"], repair["step"]) == ("P_TRIM_AFTER_ACTION", 1)
    [stored] = stored_rows(made.curation.rows)
    assert stored.messages[1].content == "<execute>print(1)</execute>"


def test_two_rows_of_one_id_are_told_apart(tmp_path: Path) -> None:
    rows = [{**run(q, str(q), code=f"print({q})"), "traj_id": "same"} for q in range(3)]
    made = curate(write(tmp_path / "r.jsonl", rows), tmp_path)
    assert [row["traj_id"] for row in ledger_of(made)] == ["same", "same#2", "same#3"]
    assert [row["reject_code"] for row in ledger_of(made)] == [None, "S_DUP_ID", "S_DUP_ID"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rules__off": ["F_VOID_TURNS"]}, "F_VOID_TURNS"),
        ({"rules__reject": ["D_EXACTLY"]}, "D_EXACTLY"),
        ({"dialect": "mnt"}, "mnt"),
        ({"format": "nope"}, "nope"),
        ({"select__policy": "judge_best"}, "judge"),
        ({"select__k": 3}, "select.k has no effect without select.policy: bt"),
        ({"select__mix": 0.5, "select__policy": "shortest"}, "select.mix has no effect"),
        ({"groups__share": 0.9}, "groups.share has no effect"),
        ({"groups__share": 0.9, "groups__policy": "unanimous"}, "groups.share has no effect"),
        ({"groups__min_n": 2}, "groups.min_n has no effect without groups.policy"),
        ({"judge__votes": 3}, "judge.votes has no effect without judge.base_url"),
        ({"judge__max_undecided": 0.5}, "judge.max_undecided has no effect"),
        ({"judge__base_url": "http://127.0.0.1:9/v1", "judge__model": "m"}, "nothing to judge"),
        ({"duplicates__words": 8}, "duplicates.words has no effect"),
        ({"rules__length__tokenizer": "none.json"}, "no tokenizer none.json"),
        ({"select": 5, "select__k": 3}, "select.k cannot be set"),
    ],
)
def test_what_cannot_work_is_refused(
    files: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        curate(files, tmp_path, **changes)
    assert not (tmp_path / "store" / "runs").exists()


def test_files_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        curate(tmp_path / "none.jsonl", tmp_path)
    with pytest.raises(UsageError, match="no file fits"):
        curate(str(tmp_path / "*.jsonl"), tmp_path)


def test_a_recipe_says_it_all(files: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(
        {
            "name": "runs", "task": "none", "source": {"uri": str(files)},
            "curate": {"dialect": "mint", "preset": "simpletir", "rules": {"max_turns": 5}},
        },
        where="test",
    )  # fmt: skip
    made = dataprune.curate(
        recipe, name="runs", tag="v1", store=tmp_path / "store", work=tmp_path / "work"
    )
    assert made.manifest is not None
    recorded = made.manifest.recipe["curate"]
    assert (recorded["preset"], recorded["rules"]["max_turns"]) == ("simpletir", 5)
    assert recorded["rules"]["only"] == ["F_VOID_TURN"]


def test_the_command_shows_the_funnel_and_explains_rows(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def command(*line: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dataprune", *map(str, line)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    where = ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    line = ["curate", files, "--dialect", "mint", "--name", "runs", "--tag", "v1", *where]
    code, out, err = command(*line)
    assert code == 0
    assert "Trajectories by stage" in out
    assert "F_FABRICATED_OBS" in out
    assert "runs@v1 built" in err
    code, out, _ = command(*line, "--json")
    assert json.loads(out)["decisions"]["keep"] == 2
    code, out, _ = command("explain", "runs", "v1", 4, "--store", tmp_path / "store")
    assert code == 0
    assert "rejected, F_FABRICATED_OBS at stage fabrication" in out
    code, _, err = command(*line, "--set", "selekt.policy=all")
    assert code == 2
    assert "did you mean select" in err


def test_a_ledger_keeps_its_contract(files: Path, tmp_path: Path) -> None:
    table = read_scores(curate(files, tmp_path).curation.ledger).table
    check_ledger(table, what="it")
    assert set(COLUMNS.names) <= set(table.schema.names)
    at = table.schema.get_field_index("decision")
    turned = table.set_column(
        at, table.schema.field(at), pa.array(np.where(np.arange(len(table)) == 1, "keep", "reject"))
    )
    with pytest.raises(dataprune.DatapruneError, match="the ledger has"):
        check_ledger(turned, what="the ledger")


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
