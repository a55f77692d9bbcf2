"""A curation with a judge on loopback; and a version written for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataprune
from dataprune.core.errors import UsageError
from dataprune.publishing.curated import CurateResult
from dataprune.publishing.export import export_version
from dataprune.tables.scores import read_scores
from dataprune.trajectories import content_sha256
from dataprune.trajectories.formats._read import read_trajectories
from tests.trajectories.judge.server import Act, JudgeServer, says
from tests.trajectories.test_curate_told import rows


@pytest.fixture
def curate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def run(made: list[dict[str, Any]], server: JudgeServer, **changes: Any) -> CurateResult:
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
        told = {"dialect": "mint", "judge.base_url": server.base_url, "judge.model": "m"}
        told |= {name.replace("__", "."): value for name, value in changes.items()}
        return dataprune.curate(
            path, name="n", tag="v1", store=tmp_path / "store", work=tmp_path / "work",
            changes={**told, "judge.retry_s": 0.01, "judge.timeout_s": 5, "judge.deadline_s": 5},
        )  # fmt: skip

    return run


def decisions(made: CurateResult) -> list[str]:
    found: list[str] = read_scores(made.curation.ledger).table.column("decision").to_pylist()
    return found


def test_answers_that_a_judge_calls_the_same_agree(curate: Any, serve: Any) -> None:
    def same_if_both_rain(_server: JudgeServer, request: dict[str, Any]) -> Act:
        asked = json.dumps(request["messages"])
        fields = request["response_format"]["json_schema"]["schema"]["properties"]
        both = asked.count("rain") >= 2
        answer = {name: both for name, kind in fields.items() if kind.get("type") == "boolean"}
        return says({"reasoning": "as told", **answer})

    made = rows("it was rain all day", "rain, the whole day", "there was sun")
    settings = {"groups__policy": "share", "groups__min_n": 2}
    result = curate(made, serve(same_if_both_rain), **settings)
    assert decisions(result) == ["keep", "keep", "reject"]
    assert result.curation.told["judge"]["task"] == "equivalence"


def test_a_server_that_only_fails_rejects_nobody(curate: Any, serve: Any) -> None:
    answered: list[int] = []

    def once(_server: JudgeServer, _request: dict[str, Any]) -> Act:
        answered.append(1)
        return says("no JSON at all")

    made = rows("it was rain all day", "there was sun")
    result = curate(made, serve(once), groups__policy="share", groups__min_n=2)
    assert answered
    assert decisions(result) == ["undecided", "undecided"]
    assert result.is_partial


def test_answers_are_held_against_references(curate: Any, serve: Any) -> None:
    def right(_server: JudgeServer, request: dict[str, Any]) -> Act:
        asked = json.dumps(request["messages"])
        fields = request["response_format"]["json_schema"]["schema"]["properties"]
        [name] = [n for n, kind in fields.items() if kind.get("type") == "boolean"]
        return says({"reasoning": "", name: "seven" in asked})

    made = [{**row, "reference": "7"} for row in rows("seven", "eight")]
    result = curate(made, serve(right), judge__task="correctness")
    table = read_scores(result.curation.ledger).table
    assert table.column("reject_code").to_pylist() == [None, "J_INCORRECT"]


def test_queries_get_their_category_from_the_judge(curate: Any, serve: Any) -> None:
    server = serve(lambda _server, _request: says({"reasoning": "", "category": "Counting"}))
    result = curate(rows("1", "2"), server, judge__task="category", select__max_share=1.0)
    counts = {c["category"]: c["after"] for c in result.curation.told["categories"]}
    assert counts["Counting"] == 2
    assert len(server.requests) == 1  # one query, asked once


@pytest.mark.parametrize("name", ["messages", "atif"])
def test_a_version_is_written_for_other_tools_and_read_back_the_same(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows("1", "2")))
    where: dict[str, Any] = {"store": tmp_path / "store", "work": tmp_path / "work"}
    dataprune.curate(path, name="n", tag="v1", changes={"dialect": "mint"}, **where)
    version = dataprune.load("n", "v1", store=tmp_path / "store")
    out = tmp_path / "out.jsonl"
    assert export_version(version, name, out) == 2
    runs = list(read_trajectories([out], name).trajectories())
    hashes = [content_sha256(run.messages, run.tools) for run in runs]
    assert hashes == version.frame().collect()["content_sha256"].to_list()
    with pytest.raises(UsageError, match="is there already"):
        export_version(version, name, out)
    with pytest.raises(UsageError, match="mint is only read"):
        export_version(version, "mint", tmp_path / "other.jsonl")
