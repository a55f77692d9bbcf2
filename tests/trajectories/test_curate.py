"""A curation from files to versions: every row decided, every reason told, nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune.cli import main
from dataprune.core.errors import SourceError, UsageError, VersionExistsError
from dataprune.core.recipe import parse_recipe
from dataprune.tables.ledger import COLUMNS, check_ledger
from dataprune.tables.scores import read_scores
from dataprune.trajectories.table import stored_rows
from tests.trajectories.runs import ROWS, bad, curate, ledger_of, run, write


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
