"""Crontab and Airflow: what they run is what was asked for, through cron's and the shell's eyes."""

from __future__ import annotations

import ast
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import UsageError
from dataprune.runs.schedule._plan import Plan
from tests.runs.schedule.conftest import recipe

MakePlan = Callable[..., Plan]
Render = Callable[[str, Plan], str]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A `dataprune` that writes down its arguments and A."""
    folder = tmp_path / "it's 100% bin"
    folder.mkdir()
    program = folder / "dataprune"
    program.write_text('#!/bin/sh\nprintf "%s|" "$A" "$@"\npwd\n')
    program.chmod(0o755)
    return program


def cron_runs(text: str) -> str:
    """The command of a crontab as cron hands it to the shell: a bare % would end it."""
    line = text.rstrip("\n").splitlines()[-1]
    command = line.split(" ", 5)[5]
    assert "%" not in command.replace(r"\%", "")
    return command.replace(r"\%", "%")


def test_a_crontab_line_runs_the_recipe_where_it_was_rendered_and_keeps_a_log(
    plan: MakePlan, rendered: Render, tmp_path: Path, recording: Path
) -> None:
    settled = plan(
        cron="*/30 2-4 * * *", executable=recording, folder=tmp_path, work="runs/50% mine",
        env={"A": "x y%"}, more=("--seeds", "3"),
    )  # fmt: skip
    text = rendered("crontab", settled)
    assert text.splitlines()[-1].startswith("*/30 2-4 * * * cd ")
    subprocess.run(["/bin/sh", "-c", cron_runs(text)], check=True, cwd="/", env={})
    log = (tmp_path / ".dataprune" / "dataprune-mine.log").read_text()
    assert log == f"x y%|score|mine|--work|runs/50% mine|--seeds|3|{tmp_path}\n"


def test_a_crontab_line_submits_anew_each_time_where_there_is_a_cluster(
    plan: MakePlan, rendered: Render
) -> None:
    settled = plan(cron="0 2 * * *", address="http://h:8265", work="/shared/run", env={"A": "1"})
    assert (
        "/opt/bin/dataprune submit mine --address http://h:8265 --again --work /shared/run "
        "--env A=1 >>"
    ) in rendered("crontab", settled)


def test_a_release_on_this_machine_is_run_with_its_own_store(
    plan: MakePlan, rendered: Render
) -> None:
    settled = plan(recipe=recipe(release={}), cron="0 2 * * *")
    assert " run mine >>" in rendered("crontab", settled)
    own = replace(settled, store="versions")
    assert " run mine --store versions >>" in rendered("crontab", own)
    with pytest.raises(UsageError, match="--store has no effect"):
        rendered("crontab", plan(cron="0 2 * * *", store="versions"))


def test_a_recipe_file_is_named_from_the_root(
    plan: MakePlan, rendered: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settled = plan(told="mine.yaml", recipe_text="name: mine\n", cron="0 2 * * *")
    assert f"score {tmp_path / 'mine.yaml'} " in rendered("crontab", settled)
    assert f"score {tmp_path / 'mine.yaml'} " in rendered("airflow", settled).replace(
        "'\n    '", ""
    )


def dag_calls(text: str) -> dict[str, dict[str, Any]]:
    """Keyword arguments of each call in a DAG file that has constants alone, by function."""
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found: dict[str, dict[str, Any]] = {}
    for call in calls:
        values = {}
        for keyword in call.keywords:
            if not isinstance(keyword.value, ast.Call | ast.Name):
                values[keyword.arg or ""] = ast.literal_eval(keyword.value)
        found[ast.unparse(call.func)] = values
    return found


def command_of(text: str) -> str:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMAND":
            return str(ast.literal_eval(node.value))
    raise AssertionError(text)


def test_a_dag_compiles_runs_one_at_a_time_and_skips_where_it_is_busy(
    plan: MakePlan, rendered: Render
) -> None:
    text = rendered("airflow", plan(cron="0 2 * * *", timezone="Europe/Berlin", deadline_hours=2))
    compile(text, "dag.py", "exec")
    calls = dag_calls(text)
    assert calls["DAG"] == {
        "dag_id": "dataprune-mine", "schedule": "0 2 * * *", "catchup": False,
        "max_active_runs": 1, "tags": ["dataprune"],
    }  # fmt: skip
    assert calls["pendulum.datetime"] == {"tz": "Europe/Berlin"}
    assert calls["BashOperator"]["retries"] == 0
    assert calls["BashOperator"]["skip_on_exit_code"] == 4
    assert calls["BashOperator"]["append_env"] is True
    assert calls["dt.timedelta"] == {"seconds": 7200}


def test_a_dags_command_is_the_one_asked_for_however_long(
    plan: MakePlan, rendered: Render, recording: Path, tmp_path: Path
) -> None:
    long = "/shared/" + "deep folder/" * 20
    settled = plan(cron="0 2 * * *", executable=recording, work=long, more=("--out", "a'b.sh"))
    command = command_of(rendered("airflow", settled))
    assert shlex.split(command) == [
        str(recording), "score", "mine", "--work", long, "--out", "a'b.sh",
    ]  # fmt: skip
    # Airflow reads a command that ends in .sh as the name of a file.
    assert not command.endswith(".sh")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "a'b.sh" in done.stdout


def test_what_airflow_would_fill_in_is_refused(plan: MakePlan, rendered: Render) -> None:
    with pytest.raises(UsageError, match="reads"):
        rendered("airflow", plan(cron="0 2 * * *", more=("--out", "{{ ds }}")))


@pytest.mark.parametrize(
    ("target", "changes", "told"),
    [
        ("crontab", {"timezone": "UTC"}, "--timezone has no effect on the target crontab"),
        ("crontab", {"image": "x"}, "--image has no effect"),
        ("airflow", {"claims": {"a": "/a"}}, "--claim has no effect"),
        ("airflow", {"secret_env": {"A": ("b", "c")}}, "--secret-env has no effect"),
        ("airflow", {"timezone": "Mars/Base"}, "no time zone Mars/Base"),
        ("crontab", {"address": "h:8265"}, "not the address of a cluster"),
        ("crontab", {"address": "http://me:pw@h:8265"}, "the address holds credentials"),
        ("crontab", {"address": "http://h:8265", "work": "run"}, "read on the cluster"),
        ("crontab", {"more": ("a\nb",)}, "no line breaks"),
    ],
)
def test_options_without_effect_and_wrong_ones_are_refused(
    target: str, changes: dict[str, Any], told: str, plan: MakePlan, rendered: Render
) -> None:
    with pytest.raises(UsageError, match=told):
        rendered(target, plan(cron="0 2 * * *", **changes))
