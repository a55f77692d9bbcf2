"""`dataprune schedule render`: the shipped jobs are its output, and mistakes get one sentence."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Cli

REPO = Path(__file__).resolve().parents[2]
JOBS = sorted((REPO / "pipelines" / "jobs").glob("*.yaml"))


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_shipped_job_is_what_its_first_line_renders(path: Path, cli: Cli) -> None:
    text = path.read_text()
    command = text.splitlines()[0].removeprefix("# Made by: ")
    program, *arguments = shlex.split(command)
    assert program == "dataprune"
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert done.out == text, f"{path.name} is old: {command} --out {path.relative_to(REPO)}"


def test_a_line_break_in_an_argument_does_not_leave_the_comment_that_names_the_command(
    cli: Cli,
) -> None:
    line = ["schedule", "render", "digits", "--target", "k8s-cronjob", "--cron", "@daily"]
    line += ["--address", "http://h:8265", "--work", "s3://b/w", "--", "--label", "a\nextra: here"]
    done = cli(*line)
    assert done.code == 0, done.err
    [document] = yaml.safe_load_all(done.out)
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}


def test_the_command_offers_every_target() -> None:
    from dataprune.cli.schedule import TARGET_NAMES
    from dataprune.runs.schedule import TARGETS

    assert sorted(name.replace("-", "_") for name in TARGET_NAMES) == TARGETS.names()


def test_every_document_of_kubernetes_is_shipped() -> None:
    assert [path.stem for path in JOBS] == ["cronjob", "raycronjob", "rayjob"]


def test_a_document_goes_to_a_file_and_names_a_command_without_it(tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "jobs" / "digits.cron"
    line = ["schedule", "render", "digits", "--target", "crontab", "--cron", "@daily"]
    done = cli(*line, "--out", out)
    assert (done.code, done.out) == (0, "")
    assert out.read_text() == cli(*line).out
    assert "--out" not in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digist", "--target", "crontab"], "there is no recipe digist"),
        (["digits", "--target", "crontab"], "needs --cron"),
        (["digits", "--target", "crontab", "--cron", "x"], "has 1 fields"),
        (["digits", "--target", "k8s-cronjob", "--cron", "@daily"], "needs --address"),
        (["digits", "--target", "rayjob", "--cron", "@daily"], "--cron has no effect"),
        (["digits", "--target", "rayjob", "--work", "s3://k:s@b/r"], "holds credentials"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(arguments: list[str], told: str, cli: Cli) -> None:
    done = cli("schedule", "render", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert told in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digits", "--target", "cron"], "is not one of"),
        (["digits", "--target", "crontab", "--cron", "@daily", "--", "--sedes", "3"], "--sedes"),
        (["digits", "--target", "crontab", "--cron", "@daily", "extra"], "behind --"),
        (["digits", "--target", "rayjob", "--secret-env", "A=b"], "SECRET:KEY"),
        (["digits", "--target", "rayjob", "--claim", "data"], "NAME=VALUE"),
    ],
)
def test_a_mistyped_line_is_refused(arguments: list[str], told: str, cli: Cli) -> None:
    done = cli("schedule", "render", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
