"""`dataprune status`: how a run stands."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option


@click.command("status")
@click.argument("work", type=click.Path(file_okay=False))
@json_option
def command(work: str, *, as_json: bool) -> None:
    """Show the units of the run folder WORK: finished, running, failed or waiting."""
    from dataprune.cli.output import emit_json, emit_table
    from dataprune.runs.status import run_status

    status = run_status(work)
    if as_json:
        emit_json(status)
        return
    rows = [
        [u["label"], u["state"], u.get("epoch"), u.get("heldout"), u.get("seconds"),
         u.get("error")]
        for u in status["units"]
    ]  # fmt: skip
    counts = ", ".join(f"{count} {state}" for state, count in status["counts"].items())
    header = ["unit", "state", "epoch", "held-out accuracy", "seconds", "error"]
    emit_table(f"{work}: {counts}", header, rows)
