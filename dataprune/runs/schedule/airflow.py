"""A DAG for Airflow: one BashOperator, whose worker has dataprune."""

from __future__ import annotations

import shlex
import textwrap

from dataprune.core.errors import UsageError
from dataprune.runs.schedule._plan import Plan, Target

_DAG = '''\
# Made by: {made_by}
# For Airflow 3, or 2.9 and newer with apache-airflow-providers-standard. A run that meets the one
# before is skipped (exit code 4): that one holds the run folder.
"""{name}: {what}."""

from __future__ import annotations

import datetime as dt

import pendulum
from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

COMMAND = {command}

with DAG(
    dag_id={name!r},
    schedule={cron!r},
    start_date=pendulum.datetime(2025, 1, 1, tz={timezone!r}),
    catchup=False,
    max_active_runs=1,
    tags=["dataprune"],
):
    BashOperator(
        task_id={verb!r},
        bash_command=COMMAND,
        cwd={folder!r},
        env={env!r},
        append_env=True,
        retries=0,
        skip_on_exit_code=4,
        execution_timeout=dt.timedelta(seconds={seconds}),
    )
'''


def _render(plan: Plan) -> str:
    arguments = plan.local_arguments()
    if any(
        mark in text for text in [*arguments, *plan.env.values()] for mark in ("{{", "{%", "{#")
    ):
        raise UsageError("Airflow reads {{, {% and {# as its own, and an argument has one of them")
    # The blank at the end: Airflow takes a command that ends like a script's name for a file.
    command = shlex.join([str(plan.executable), *arguments]) + " "
    return _DAG.format(
        made_by=plan.made_by,
        name=plan.named(longest=52),
        what=f"dataprune {arguments[0]} of recipe {plan.recipe.name}",
        command=_literal(command),
        cron=plan.cron,
        timezone=plan.timezone or "UTC",
        verb=arguments[0],
        folder=str(plan.folder),
        env={} if plan.address is not None else dict(plan.env),
        seconds=plan.deadline_s,
    )


def _literal(text: str) -> str:
    """A Python string, over several lines if it is long."""
    if len(text) <= 80:
        return repr(text)
    parts = textwrap.wrap(text, 80, drop_whitespace=False, break_on_hyphens=False)
    return "(\n" + "".join(f"    {part!r}\n" for part in parts) + ")"


TARGET = Target(
    "airflow",
    _render,
    frozenset({"timezone", "address", "work", "env", "deadline_hours"}),
    needs=frozenset({"cron"}),
)
