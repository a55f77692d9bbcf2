"""`dataprune status`: how a run stands, once or as it goes on."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from dataprune.cli.options import json_option

_EVERY_S = 2.0
_MINUTE_S, _HOUR_S = 60, 3600


@click.command("status")
@click.argument("work", type=click.Path(file_okay=False), metavar="WORK")
@click.option("--follow", is_flag=True, help="Go on until no process works in it.")
@json_option
def command(work: str, *, follow: bool, as_json: bool) -> int:
    """Show the units of the run folder WORK, a path or a URL: finished, running, failed, waiting.

    With --follow it shows them as they change, and ends with the run: exit code 0 if every unit
    finished, 3 if not. With --json too, a line of JSON for each change.
    """
    from dataprune.runs.status import run_status

    if follow:
        return _follow(work, as_json=as_json)
    status = run_status(work)
    if as_json:
        from dataprune.cli.output import emit_json

        emit_json(status)
    else:
        _show(status)
    return 0


def _follow(work: str, *, as_json: bool) -> int:
    """Show the folder at each change until nobody holds it."""
    from dataprune.runs.status import run_status

    shown: dict[str, Any] | None = None
    while True:
        status = run_status(work, glance=True)
        if status != shown:
            shown = status
            if as_json:
                click.echo(json.dumps(status, sort_keys=True, default=str))
            elif sys.stdout.isatty():
                click.clear()
                _show(status)
            else:
                click.echo(_told(status))
        if not status["busy"]:
            return 0 if status["counts"].keys() == {"finished"} else 3
        time.sleep(_EVERY_S)


def _show(status: dict[str, Any]) -> None:
    from dataprune.cli.output import emit_table

    rows = [
        [u["label"], u["state"], u.get("epoch"), u.get("heldout"), u.get("seconds"),
         u.get("attempt"), u.get("error")]
        for u in status["units"]
    ]  # fmt: skip
    header = ["unit", "state", "epoch", "held-out accuracy", "seconds", "attempt", "error"]
    emit_table(_told(status), header, rows)


def _told(status: dict[str, Any]) -> str:
    """One line: how many units stand how, how fast, how long still."""
    counts = ", ".join(f"{count} {state}" for state, count in status["counts"].items())
    parts = [f"{status['work']}: {counts}"]
    if status["seconds_a_unit"] is not None:
        parts.append(f"{status['seconds_a_unit']:.1f} s a unit")
    if status["units_an_hour"] is not None:
        parts.append(f"{status['units_an_hour']:.1f} units an hour")
    if status["left_s"] is not None:
        parts.append(f"about {_duration(status['left_s'])} left")
    if status["holder"] is not None:
        parts.append(f"held by {status['holder']}")
    return "; ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h"
