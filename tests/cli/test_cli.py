"""Every command: its help, its table for people, its JSON for programs, its exit code."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from dataprune import __version__
from dataprune.cli import COMMANDS
from dataprune.core.errors import VersionNotFoundError
from dataprune.core.files import exclusive
from dataprune.runs.ledger import Ledger

Cli = Callable[..., Any]

FRAGILE = """
import torch
from torch import nn
from dataprune.core.fingerprint import derive_seed
from dataprune.probe.models import Model

def build(shape, num_outputs):
    if torch.initial_seed() == derive_seed(0, 1, "init"):
        raise RuntimeError("this seed is out of luck")
    return nn.Linear(shape[0], num_outputs)

MODEL = Model("fragile", build)
"""


def command(name: str) -> click.Command:
    found = importlib.import_module(f"dataprune.cli.{name}").command
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_a_help_page(name: str, flag: str, cli: Cli) -> None:
    done = cli(name, flag)
    assert done.code == 0
    assert done.out.startswith(f"Usage: dataprune {name} ")
    assert (command(name).help or "").split("\n")[0][:40] in " ".join(done.out.split())
    assert done.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_line_of_help(name: str) -> None:
    silent = [
        parameter.opts[0]
        for parameter in command(name).params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "schedule"])
def test_every_command_can_print_json(name: str) -> None:
    """But for `schedule`, which prints a document in a scheduler's own format."""
    group = command(name)
    leaves = group.commands.values() if isinstance(group, click.Group) else [group]
    for leaf in leaves:
        assert "--json" in [opt for parameter in leaf.params for opt in parameter.opts]


def test_the_help_page_lists_every_command_and_shows_the_flow_line_by_line(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    lines = [line.strip() for line in done.out.splitlines()]
    for name in COMMANDS:
        assert any(line.startswith(f"{name} ") for line in lines)
    assert "dataprune score digits --out scores.parquet" in lines
    assert "dataprune load digits v1" in lines


def test_the_version_is_the_package_s(cli: Cli) -> None:
    assert cli("--version").out == f"dataprune, version {__version__}\n"


@pytest.mark.parametrize(
    ("typo", "meant"), [("scoer", "score"), ("prun", "prune"), ("version", "versions")]
)
def test_a_mistyped_command_names_the_nearest(typo: str, meant: str, cli: Cli) -> None:
    done = cli(typo)
    assert done.code == 2
    assert f"Error: no command {typo}; did you mean {meant}?" in done.err
    assert done.out == ""


def test_score_trains_once_and_tells_what_it_made(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = (
        "score",
        ground / "recipe.yaml",
        "--work",
        tmp_path / "w",
        "--out",
        tmp_path / "s.parquet",
    )
    first = cli(*args, "--json")
    assert first.code == 0
    assert first.err == ""
    assert first.json["trained"] == first.json["seeds"] == [0, 1]
    assert first.json["status"] == "complete"
    assert first.json["failed"] == []
    assert first.json["num_rows"] == 60
    assert first.json["scores"] == str(tmp_path / "s.parquet")
    assert set(first.json["reliability"]) == {"el2n", "margin"}
    assert cli(*args, "--json").json["trained"] == []
    told = cli(*args)
    assert told.code == 0
    assert told.out.splitlines()[-1] == str(tmp_path / "s.parquet")
    assert "Seed reliability at epoch 6 (2 seeds)" in told.out
    assert "0 of 2 seeds to train" in told.err


def test_options_override_the_recipe(ground: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "score", ground / "recipe.yaml", "--work", tmp_path, "--seeds", 3, "--at", "2,6",
        "--score", "loss", "--score", "random", "--json",
    )  # fmt: skip
    assert done.json["seeds"] == [0, 1, 2]
    assert set(done.json["reliability"]) == {"loss", "random"}
    assert [t["epoch"] for t in done.json["timing"]] == [2, 6]


def test_plain_data_is_scored_with_the_default_recipe(
    ground: Path, cli: Cli, tmp_path: Path
) -> None:
    done = cli("score", ground / "data.parquet", "--score", "random", "--work", tmp_path)
    assert done.code == 0
    assert "60 rows in train; features column features 2, label column label" in done.err


def test_prune_tells_the_counts_and_the_folder(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = ("prune", ground / "work" / "scores.parquet", "--keep", "50%", "--name", "x", "--tag",
            "v1", "--store", tmp_path, "--control")  # fmt: skip
    done = cli(*args)
    assert done.code == 0
    assert done.out.splitlines()[-1] == str(tmp_path / "x" / "v1")
    assert "reasons: kept 30, too_easy 30" in done.err
    assert "x@v1 built" in done.err
    assert "control: v1-control" in done.err
    again = cli(*args, "--json")
    assert again.json["created"] is False
    assert (again.json["rows_in"], again.json["rows_out"]) == (60, 30)
    assert again.json["control"] == "v1-control"
    assert sum(c["kept"] for c in again.json["classes"].values()) == 30


def test_a_dry_run_says_that_nothing_was_built(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = ("prune", ground / "work" / "scores.parquet", "--keep", "0.5", "--name", "x", "--tag",
            "v1", "--store", tmp_path / "store", "--dry-run")  # fmt: skip
    assert "dry run: nothing was built" in cli(*args).err
    assert cli(*args, "--json").json["created"] is False
    assert not (tmp_path / "store").exists()


def test_a_warning_goes_to_stderr_and_into_the_json(ground: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "prune", ground / "work" / "scores.parquet", "--keep", "10%", "--name", "x", "--tag", "v1",
        "--store", tmp_path, "--json",
    )  # fmt: skip
    assert done.code == 0
    assert done.err.startswith("Warning: hardest keeps 10%")
    assert done.json["warnings"][0].startswith("hardest keeps 10%")


def test_parameters_of_a_strategy_are_read_as_numbers(
    ground: Path, cli: Cli, tmp_path: Path
) -> None:
    args = ("prune", ground / "work" / "scores.parquet", "--keep", "20", "--name", "x", "--store",
            tmp_path, "--strategy", "window", "--json")  # fmt: skip
    assert cli(*args, "--param", "offset=5", "--tag", "v1").json["reasons"]["below_window"] == 5
    assert cli(*args, "--param", "offset=0.5", "--tag", "v2").json["reasons"]["below_window"] == 30


def test_load_tells_what_a_version_holds(ground: Path, cli: Cli) -> None:
    done = cli("load", "d", "v1", "--store", ground / "store")
    assert done.code == 0
    assert "30 of 60" in done.out
    assert "features, label, id" in done.out
    printed = cli("load", "d", "v1", "--store", ground / "store", "--json").json
    assert printed["folder"] == str(ground / "store" / "d" / "v1")
    assert printed["manifest"]["version"] == "v1"


def test_versions_lists_the_store(ground: Path, cli: Cli) -> None:
    printed = cli("versions", "--store", ground / "store", "--json").json
    assert [(v["name"], v["tag"], v["rows"], v["of"]) for v in printed] == [
        ("d", "v1", 30, 60),
        ("d", "v1-control", 30, 60),
        ("d", "v2", 42, 60),
    ]
    assert [v["control_of"] for v in printed] == [None, "v1", None]
    table = cli("versions", "--store", ground / "store")
    assert table.code == 0
    assert "v1-control" in table.out


def test_an_empty_store_is_told_and_no_error(cli: Cli, tmp_path: Path) -> None:
    assert cli("versions", "--store", tmp_path / "none", "--json").json == []
    done = cli("versions", "--store", tmp_path / "none")
    assert done.code == 0
    assert "holds no version" in done.err


def test_explain_says_why_a_row_was_kept_or_dropped(ground: Path, cli: Cli) -> None:
    verdicts = {}
    for row in range(60):
        told = cli("explain", "d", "v1", row, "--store", ground / "store", "--json").json
        verdicts[told["keep"]] = told
    assert (verdicts[True]["reason"], verdicts[False]["reason"]) == ("kept", "too_easy")
    assert {"el2n", "el2n@3", "margin_std"} <= set(verdicts[True]["scores"])
    text = cli("explain", "d", "v1", verdicts[False]["row"], "--store", ground / "store").out
    assert " was dropped, too_easy: place " in text
    assert " among all rows in the order of hardest, el2n = " in text


def test_diff_tells_rows_and_settings(ground: Path, cli: Cli) -> None:
    args = ("diff", "d", "v1", "v2", "--store", ground / "store")
    printed = cli(*args, "--json").json
    assert (printed["in_both"], printed["added"], printed["removed"]) == (30, 12, 0)
    assert printed["settings"] == {"keep": [0.5, 0.7]}
    assert "30 in both, 12 added, 0 removed" in cli(*args).out


def test_status_tells_each_unit(ground: Path, cli: Cli) -> None:
    printed = cli("status", ground / "work", "--json").json
    assert printed["counts"] == {"finished": 2}
    assert [u["label"] for u in printed["units"]] == ["seed 0", "seed 1"]
    assert printed["busy"] is False
    assert "2 finished" in cli("status", ground / "work").out


def test_evaluate_tells_every_arm(ground: Path, cli: Cli, tmp_path: Path) -> None:
    args = ("evaluate", "d", "v1", "--seeds", "2", "--store", ground / "store", "--work", tmp_path)
    printed = cli(*args, "--json").json
    assert printed["status"] == "complete"
    kinds = [row["kind"] for row in printed["rows"]]
    assert kinds[:3] == ["full", "random", "strategy"]
    assert printed["rows"][2]["arm"] == "v1"
    done = cli(*args)
    assert done.code == 0
    assert "gain over random" in done.out
    assert "scoring took" in done.out
    assert "train for more steps" in done.err
    assert cli("status", tmp_path, "--json").json["counts"] == {"finished": 2 * len(kinds)}


def test_versions_are_evaluated_by_either_protocol_beside_baselines_with_a_curve(
    ground: Path, cli: Cli, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = cli(
        "evaluate", "d", "v1", "--seeds", "1", "--store", ground / "store",
        "--work", tmp_path / "w", "--protocol", "fixed_epochs", "--epochs", "2",
        "--baseline", "rs2",
        "--out", tmp_path / "o", "--scored-in", ground / "work", "--json",
    )  # fmt: skip
    rows = {row["strategy"]: row for row in done.json["rows"]}
    assert {"full", "random", "rs2", "v1"} <= set(rows)
    assert rows["v1"]["num_steps"] < rows["full"]["num_steps"]
    assert rows["v1"]["num_steps"] == rows["random"]["num_steps"] == rows["rs2"]["num_steps"]
    assert done.json["scoring_s"] > 0
    assert rows["v1"]["saved_s"] > 0
    written = {path.name for path in (tmp_path / "o").iterdir()}
    assert written == {"results.json", "table.md", "curve.png", "curve.svg"}


def test_a_partial_run_exits_3_with_its_table_written(
    ground: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "plugin"
    info = plugin / "fragile_cli-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "fragile_cli.py").write_text(FRAGILE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-cli\nVersion: 1.0\n")
    entry_points = "[dataprune.probe.models]\nfragile = fragile_cli:MODEL\n"
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(plugin))
    recipe = yaml.safe_load((ground / "recipe.yaml").read_text())
    recipe["probe"]["model"] = {"name": "fragile"}
    recipe["seeds"] = 3
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    args = ("score", tmp_path / "recipe.yaml", "--work", tmp_path / "work")
    done = cli(*args)
    assert done.code == 3
    assert "failed: RuntimeError: this seed is out of luck" in done.err
    assert f"PARTIAL: 1 units are missing from {tmp_path / 'work' / 'scores.parquet'}" in done.err
    assert (tmp_path / "work" / "scores.parquet").is_file()
    printed = cli(*args, "--json")
    assert printed.code == 3
    assert printed.json["status"] == "partial"
    assert printed.json["seeds"] == [0, 2]
    assert printed.json["failed"][0]["error"] == "RuntimeError: this seed is out of luck"
    assert cli("status", tmp_path / "work", "--json").json["counts"] == {"failed": 1, "finished": 2}


def test_a_busy_run_folder_exits_4(ground: Path, cli: Cli, tmp_path: Path) -> None:
    with Ledger(tmp_path).exclusive():
        done = cli("score", ground / "recipe.yaml", "--work", tmp_path, "--json")
    assert done.code == 4
    assert done.out == ""
    assert done.err.splitlines() == [
        f"Error: run folder {tmp_path} is in use by process {os.getpid()} on {platform.node()}",
        "Hint: wait for it to end (run.wait_minutes in a recipe), or work in another folder",
    ]


def test_a_busy_store_exits_4(ground: Path, cli: Cli, tmp_path: Path) -> None:
    with exclusive(tmp_path / "x" / ".lock", what="the test"):
        done = cli(
            "prune", ground / "work" / "scores.parquet", "--keep", "0.5", "--name", "x", "--tag",
            "v1", "--store", tmp_path, "--json",
        )  # fmt: skip
    assert done.code == 4
    assert f"Error: x in store {tmp_path} is in use" in done.err


def test_debug_lets_the_error_through_wherever_it_stands(
    ground: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataprune.cli import main

    args = ["load", "d", "v9", "--store", str(ground / "store")]
    for line in (["--debug", *args], [*args, "--debug"]):
        monkeypatch.setattr(sys, "argv", ["dataprune", *line])
        with pytest.raises(VersionNotFoundError, match="d has no version v9"):
            main()


def test_a_reader_that_leaves_early_is_no_error(ground: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "dataprune", "versions", "--store", ground / "store", "--json"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_installed_command_is_the_module() -> None:
    script = Path(sys.executable).with_name("dataprune")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"dataprune, version {__version__}\n"
