"""`evaluate SCORES.parquet`: the table, the sentences, the files."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.cli.conftest import Cli


def test_it_prints_a_table_and_whether_it_pays(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = (
        "evaluate", ground / "work/scores.parquet", "--strategy", "hardest",
        "--strategy", "window:offset=0.1", "--keep", "50%,0.3", "--by", "margin", "--seeds", 2,
        "--protocol", "fixed_epochs", "--epochs", 2, "--baseline", "rs2",
        "--work", tmp_path / "w", "--out", tmp_path / "out",
    )  # fmt: skip
    done = cli(*args)
    assert done.code == 0
    for told in ("random@0.5", "rs2@0.3", "window:offset=0.1@0.3", "gain over random", "p (Holm)"):
        assert told in done.out
    assert "scoring took" in done.out
    assert "hardest@0.5: " in done.out
    assert "no arm trained for more than" in done.err
    assert (tmp_path / "out/curve.svg").is_file()
    found = cli(*args, "--json")
    assert found.json["protocol"] == "fixed_epochs"
    assert found.json["status"] == "complete"
    arms = {row["arm"]: row for row in found.json["rows"]}
    assert arms["hardest@0.5"]["num_rows"] == arms["random@0.5"]["num_rows"] == 24
    assert cli("status", tmp_path / "w", "--json").json["busy"] is False


def test_the_recipes_own_strategy_is_evaluated_where_none_is_named(
    ground: Path, cli: Cli, tmp_path: Path
) -> None:
    args = ("--keep", "20", "--seeds", 1, "--steps", 3, "--work", tmp_path, "--json")
    found = cli("evaluate", ground / "work/scores.parquet", *args).json
    arms = [row["arm"] for row in found["rows"] if row["kind"] != "matched"]
    assert arms == ["full", "random@20", "hardest@20"]


def test_choose_prints_what_was_tried_and_a_line_that_prunes_so(
    ground: Path, cli: Cli, tmp_path: Path
) -> None:
    scores, work = ground / "work/scores.parquet", tmp_path / "w"
    args = ("evaluate", scores, "--choose", "--keep", "0.3", "--by", "margin", "--pilot", 4)
    done = cli(*args, "--work", work)
    assert done.code == 0
    for told in ("hardest", "random", "wrong labels: unknown", "trainings on everything"):
        assert told in done.out
    (found,) = cli(*args, "--work", work, "--json").json
    line = shlex.split(found["command"])
    assert found["command"] in done.out
    assert found["strategy"].partition(":")[0] in line
    assert cli(*line[1:], "--store", tmp_path / "store").code == 0
    assert cli(*args, "--seeds", 2).code == cli(*args, "--out", tmp_path / "o").code == 2


def test_auto_is_a_row_of_the_table(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = ("--strategy", "auto", "--keep", "0.5", "--seeds", 2, "--steps", 20, "--work", tmp_path)
    done = cli("evaluate", ground / "work/scores.parquet", *args)
    assert done.code == 0
    assert "auto (" in done.out
    assert "auto at keep 0.5 chose" in done.out
    assert "after a pilot of" in done.out


def test_prune_names_the_command_that_chooses(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = ("--keep", "0.5", "--strategy", "auto", "--name", "d", "--tag", "v1")
    done = cli("prune", ground / "work/scores.parquet", *args, "--store", tmp_path)
    assert done.code == 2
    assert "evaluate SCORES.parquet --choose" in done.err
