"""`dataprune plan`: what a scoring job is made of and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dataprune.cli.options import json_option, numbers, scoring_options
from dataprune.planning.estimate import SECONDS

if TYPE_CHECKING:
    from dataprune.planning.plan import PlanResult


@click.command("plan")
@click.argument("recipe", metavar="RECIPE|SOURCE")
@scoring_options
@click.option(
    "--work", type=click.Path(file_okay=False),
    help="Run folder; units that are finished there are not counted.",
)  # fmt: skip
@click.option(
    "--at-once", callback=numbers, metavar="N,...",
    help="Units at work at the same time, to tell the wall time of.",
)  # fmt: skip
@click.option(
    "--seconds", default=SECONDS, show_default=True, type=click.FloatRange(min=0, min_open=True),
    help="How long to time each kind of work.",
)  # fmt: skip
@json_option
def command(recipe: str, seconds: float, *, as_json: bool, **options: Any) -> None:
    """Time a short stretch of one unit and say what `dataprune score` will take.

    A unit is one probe seed. Printed are the units to train, what one takes and holds in memory,
    hours of GPU and CPU, the wall time for so many units at once, and what run.budget of the
    recipe is enough for. Nothing is written. Times are those of this machine, one unit at work.
    """
    from dataprune.cli.output import emit_json, talk, warn
    from dataprune.planning.plan import plan

    given = {name: None if value == () else value for name, value in options.items()}
    with talk(quiet=as_json):
        planned = plan(recipe, seconds=seconds, **given)
    warn(planned.warnings)
    if as_json:
        emit_json(planned.summary())
    else:
        _show(planned)


def _show(planned: PlanResult) -> None:
    from dataprune.cli.output import emit_table

    for reason in planned.reasons:
        click.echo(reason, err=True)
    click.echo(_units(planned))
    if planned.preview is None:
        return
    rows = [[kind, _seconds(seconds)] for kind, seconds in planned.seconds.items()]
    emit_table(
        f"One unit on {planned.preview.device}: {_seconds(planned.unit_s)}",
        ["what for", "takes"],
        rows,
    )
    for line in _costs(planned):
        click.echo(line)
    emit_table(
        "All units",
        ["at once", *(["GPUs"] if planned.recipe.run.num_gpus else ["CPU threads"]), "wall time"],
        [[n, f"{n * _each(planned):g}", _seconds(wall)] for n, wall in planned.walls.items()],
    )
    for allowance in planned.allowances:
        click.echo(str(allowance))


def _units(planned: PlanResult) -> str:
    text = f"{len(planned.units)} units to train"
    if planned.finished:
        mean = sum(planned.finished) / len(planned.finished)
        text += f", {len(planned.finished)} finished already ({_seconds(mean)} each)"
    return text


def _costs(planned: PlanResult) -> list[str]:
    preview = planned.preview
    assert preview is not None
    hours = f"{planned.cpu_hours:.3g} CPU hours"
    memory = f"{_megabytes(preview.memory_bytes)} a unit"
    if planned.recipe.run.num_gpus:
        hours = f"{planned.gpu_hours:.3g} GPU hours, {hours}"
        memory += f", {_megabytes(preview.gpu_bytes)} on the GPU"
    shared, process = _megabytes(planned.data_bytes), _megabytes(preview.process_bytes)
    return [
        f"Cost: {hours}",
        f"Memory: {memory}; {shared} of data that units share; this process held {process}",
        f"Traces: {_megabytes(planned.trace_bytes)}",
        f"Start: {_seconds(planned.start_s)} to read the source and warm up, once",
    ]


def _each(planned: PlanResult) -> float:
    run = planned.recipe.run
    return run.workers * (run.num_gpus or run.num_cpus)


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes < 1e9 else f"{num_bytes / 1e9:.1f} GB"


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    if seconds < 6000:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
