"""A line for crontab(5), for one machine: nothing needed beside cron."""

from __future__ import annotations

import os
import shlex

from dataprune.core.errors import UsageError
from dataprune.runs.schedule._plan import Plan, Target


def _render(plan: Plan) -> str:
    log = f".dataprune/{plan.named(longest=52)}.log"
    given = {} if plan.address is not None else plan.env
    settings = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
    command = " ".join([*settings, shlex.join([str(plan.executable), *plan.local_arguments()])])
    line = (
        f"cd {shlex.quote(str(plan.folder))} && mkdir -p .dataprune && "
        f"{command} >>{shlex.quote(log)} 2>&1"
    )
    if "\n" in line:
        raise UsageError("a line of crontab holds no line breaks, and an argument has one")
    notes = [
        f"Made by: {plan.made_by}",
        "Add it with crontab -e. Times are the machine's own; a run that meets the one before ends",
        "with exit code 4, since that one holds the run folder. The log grows: rotate it.",
    ]
    path = f"PATH={plan.executable.parent}:{os.defpath.lstrip(':')}"
    # cron ends the command at a bare %.
    return "".join(f"# {note}\n" for note in notes) + (
        f"SHELL=/bin/sh\n{path}\n{plan.cron} " + line.replace("%", r"\%") + "\n"
    )


TARGET = Target(
    "crontab", _render, frozenset({"address", "work", "env"}), needs=frozenset({"cron"})
)
