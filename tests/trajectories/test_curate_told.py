"""What a curation tells its user: fields and dialects that cannot be, doubts, what codes mean."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import dataprune
from dataprune.cli import main
from dataprune.core.errors import UsageError
from dataprune.publishing.curated import CurateResult


def rows(*answers: str) -> list[dict[str, Any]]:
    """Runs of one task that print a number each and give these answers."""
    return [
        {
            "task_id": "t",
            "reward": float(i == 0),
            "messages": [
                {"role": "user", "content": "Task:\nWhat is the sum of the numbers?"},
                {"role": "assistant", "content": f"<execute>print({i})</execute>"},
                {"role": "user", "content": f"Observation:\n{i}"},
                {"role": "assistant", "content": f"<solution>{answer}</solution>"},
            ],
        }
        for i, answer in enumerate(answers)
    ]


@pytest.fixture
def curate(tmp_path: Path) -> Any:
    def run(made: list[dict[str, Any]], **changes: Any) -> CurateResult:
        path = tmp_path / "runs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
        return dataprune.curate(
            path, name="n", tag="v1", store=tmp_path / "store", work=tmp_path / "work",
            changes={"dialect": "mint", **{k.replace("__", "."): v for k, v in changes.items()}},
        )  # fmt: skip

    return run


def test_a_field_that_no_row_has_is_refused_by_name(curate: Any) -> None:
    with pytest.raises(UsageError, match="no row names its query in a field task_idd") as caught:
        curate(rows("1", "2"), group_by="task_idd")
    assert "did you mean task_id" in str(caught.value.hint)


def test_a_dialect_that_is_hardly_spoken_is_doubted(curate: Any) -> None:
    made = curate(rows("1", "2"), dialect="webdancer")
    assert any("0% of the first turns" in warning for warning in made.warnings)
    assert not any("of the first turns" in warning for warning in curate(rows("1")).warnings)


def test_texts_that_differ_want_a_judge_and_say_so(curate: Any) -> None:
    made = curate(rows("rain all day", "a storm came"), groups__policy="share", groups__min_n=2)
    assert any("2 trajectories are undecided" in warning for warning in made.warnings)
    assert made.curation.told["decisions"]["undecided"] == 2
    assert [stage["stage"] for stage in made.curation.told["stages"]] == ["input", "groups"]


def test_one_code_may_stand_alone(curate: Any) -> None:
    made = rows("1")
    made[0]["messages"][1]["content"] = "nothing to do"
    told = curate(made, rules__off="F_VOID_TURN,F_MAX_TURNS").curation.told
    assert told["decisions"]["keep"] == 1


def test_what_rules_made_of_rewards_is_told(curate: Any) -> None:
    told = curate(rows("1", "2", "3", "4")).curation.told
    assert told["rewards"] == {"mean_before": 0.25, "mean_after": 0.25, "kept_below_best": 3}
    assert (told["queries"], told["queries_of_one_run"]) == (1, 0)


def test_every_code_that_was_found_says_what_it_means(curate: Any) -> None:
    made = rows("1")
    made[0]["messages"][1]["content"] = ""
    codes = curate(made).curation.told["codes"]
    assert codes
    assert all(code["means"] for code in codes)


def test_nothing_kept_is_no_success_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = rows("1")
    made[0]["messages"][3]["content"] = "hm"
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(made[0]) + "\n")
    line = ["curate", path, "--dialect", "mint", "--name", "n", "--tag", "v1"]
    line += ["--store", tmp_path / "store", "--work", tmp_path / "work"]
    monkeypatch.setattr(sys, "argv", ["dataprune", *map(str, line)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "no trajectory is kept" in capsys.readouterr().err


def test_a_rule_that_takes_out_most_runs_by_itself_is_doubted(curate: Any) -> None:
    made = rows("1", "2", "3")
    for row in made[:2]:
        row["messages"][1]["content"] = "so: " + row["messages"][1]["content"]
    strict = curate(made, rules__reject="F_TEXT_OUTSIDE_TAGS")
    [warning] = [w for w in strict.warnings if "F_TEXT_OUTSIDE_TAGS alone takes out 2 of 3" in w]
    assert "--set rules.flag=F_TEXT_OUTSIDE_TAGS" in warning


def test_the_command_writes_a_version_for_other_tools(
    curate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate(rows("1", "2"))

    def load(*more: object) -> int:
        line = ["load", "n", "v1", "--store", tmp_path / "store", *more]
        monkeypatch.setattr(sys, "argv", ["dataprune", *map(str, line)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    out = tmp_path / "train.jsonl"
    assert load("--export", "messages", "--to", out) == 0
    assert len(out.read_text().splitlines()) == 2
    assert load("--export", "messages") == 2
    assert load("--export", "nope", "--to", tmp_path / "o.jsonl") == 2
