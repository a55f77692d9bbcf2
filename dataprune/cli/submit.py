"""`dataprune submit`: run a recipe as a job on a Ray cluster, and end as it ended."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprune.cli.options import assignments, json_option

if TYPE_CHECKING:
    from dataprune.runs.job_request import JobRecord, Request
    from dataprune.runs.submit import Jobs

_INTERRUPTED = 130


@click.command("submit")
@click.argument("recipe", required=False)
@click.argument("more", nargs=-1, metavar="[-- ARGUMENT...]", type=click.UNPROCESSED)
@click.option(
    "--address", envvar="RAY_API_SERVER_ADDRESS", metavar="URL",
    help="The head's dashboard, http://HEAD:8265; default: $RAY_API_SERVER_ADDRESS.",
)  # fmt: skip
@click.option("--work", metavar="FOLDER", help="Run folder of the job, seen by all nodes.")
@click.option("--store", metavar="FOLDER", help="Where a release's versions live, on the cluster.")
@click.option(
    "--working-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder to send along, for models of your own; default: the recipe alone.",
)  # fmt: skip
@click.option(
    "--env", multiple=True, metavar="NAME=VALUE",
    help="Environment variable of the job, for all to see: no secrets. Repeat.",
)  # fmt: skip
@click.option(
    "--driver-cpus", type=click.FloatRange(min=0), default=1.0, show_default=True,
    help="CPUs that the job's own process claims; above 0 keeps it off a head that has none.",
)  # fmt: skip
@click.option("--detach", is_flag=True, help="Print the job's id and end; the job goes on.")
@click.option("--attach", is_flag=True, help="Start nothing: show the last attempt.")
@click.option(
    "--again", is_flag=True, help="Start anew though it has succeeded; exit 4 while it still runs."
)
@click.option(
    "--occasion", metavar="KEY",
    help="What this run is for, such as a scheduled time: starts once for each, exit 4 while the "
    "one before still runs.",
)  # fmt: skip
@click.option("--status", is_flag=True, help="Show how the job stands; start nothing.")
@click.option("--stop", is_flag=True, help="Stop the job.")
@click.option("--id", "job_id", metavar="ID", help="The job to show or stop, by its own id.")
@json_option
def command(
    recipe: str | None,
    more: tuple[str, ...],
    address: str | None,
    work: str | None,
    store: str | None,
    working_dir: Path | None,
    env: tuple[str, ...],
    driver_cpus: float,
    job_id: str | None,
    *,
    detach: bool,
    attach: bool,
    again: bool,
    occasion: str | None,
    status: bool,
    stop: bool,
    as_json: bool,
) -> int:
    """Run RECIPE on a Ray cluster: `dataprune run` if it has a `release`, else `dataprune score`.

    RECIPE is a shipped recipe or a YAML file, which is sent along; what follows -- is handed to
    the command there. Submitting the same thing twice runs it once: the second command attaches to
    the job and ends with its exit code, also after it has succeeded. After a failure, or a stop,
    submitting starts the next attempt. Ctrl-C leaves the job running.

    \b
    dataprune submit digits --address http://HEAD:8265 --work /shared/digits -- --seeds 20
    dataprune submit digits --address http://HEAD:8265 --work /shared/digits --status -- --seeds 20

    Exit codes are the job's own where it has one of ours, 1 for any other failure, 130 if it was
    stopped.
    """  # noqa: D301 - the backspace tells click to keep the lines
    from dataprune.runs.job_request import request_for
    from dataprune.runs.submit import Jobs

    modes = {"--attach": attach, "--again": again, "--occasion": occasion is not None,
             "--status": status, "--stop": stop, "--detach": detach}  # fmt: skip
    _check_modes([name for name, on in modes.items() if on], recipe, job_id)
    with ExitStack() as stack:
        request = None
        if recipe is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dataprune-"))
            request = request_for(
                recipe, folder=Path(folder), work=work, store=store, working_dir=working_dir,
                env=assignments(env, str), more=more, driver_cpus=driver_cpus, occasion=occasion,
            )  # fmt: skip
            check_arguments(list(request.arguments), more)
        if address is None:
            raise click.UsageError("give --address, the head's dashboard: http://HEAD:8265")
        jobs = Jobs(address)
        if request is None or status or stop:
            wanted = job_id or _last(jobs, request)
        else:
            mode = "attach" if attach else "again" if again else "default"
            wanted = _start(jobs, request, mode, working_dir or Path(recipe or "").parent)
    if status:
        _show(jobs.job(wanted), as_json=as_json)
        return 0
    if stop:
        return _stop(jobs, wanted, as_json=as_json)
    if detach:
        job = jobs.job(wanted)
        if not job.ended:
            line = _line(jobs, wanted)
            click.echo(f"It runs on its own. How it stands: {line} --status", err=True)
        _show_id(job, as_json=as_json)
        return 0
    return _follow(jobs, wanted, as_json=as_json)


def _check_modes(named: list[str], recipe: str | None, job_id: str | None) -> None:
    clash = [name for name in named if name != "--detach"]
    if len(clash) > 1 or (len(named) > 1 and {"--status", "--stop", "--attach"} & set(named)):
        raise click.UsageError(f"choose one of {' and '.join(named)}")
    if job_id is not None and set(named) - {"--status", "--stop", "--attach"}:
        raise click.UsageError(f"--id names a job that is there, so {named[0]} has no effect")
    if recipe is None and job_id is None:
        raise click.UsageError("give a RECIPE, or --id of a job")
    if recipe is not None and job_id is not None:
        raise click.UsageError("give a RECIPE or --id, not both")


def check_arguments(arguments: list[str], more: tuple[str, ...]) -> None:
    """Refuse here what the command would refuse there."""
    import importlib

    if more and not more[0].startswith("-"):
        raise click.UsageError(f"unexpected {more[0]}; arguments of the job go behind --")
    verb, *rest = arguments
    module = importlib.import_module(f"dataprune.cli.{verb}")
    with module.command.make_context(f"dataprune {verb}", rest):
        pass


def _last(jobs: Jobs, request: Request | None) -> str:
    """The id of the last attempt; of the first, where there is none, to be missed by name."""
    assert request is not None, "there is a recipe where there is no id"
    found = jobs.attempts(request.base_id)
    return found[-1].submission_id if found else request.submission_id(1)


def _start(jobs: Jobs, request: Request, mode: Any, sent_from: Path) -> str:
    """Start the job or find it; its id."""
    from dataprune.cli.output import warn
    from dataprune.runs.job_request import choose

    found = choose(jobs.attempts(request.base_id), request, mode)
    if isinstance(found, int):
        if not request.keeps:
            warn(["without --work the run folder is on one node, and lost to other attempts"])
        if request.num_left:
            click.echo(f"{request.num_left} data files are not sent.", err=True)
        sends = request.working_dir is not None
        line = request.ray_command(jobs.address, found, sent_from if sends else None)
        but = ", but that it sends all of that folder" if sends else ""
        if jobs.start(request, found):
            click.echo(f"Submitted {request.submission_id(found)}.", err=True)
            click.echo(f"The same in Ray's words{but}: {line}", err=True)
            return request.submission_id(found)
        # Somebody else was faster by less than a second.
        found = choose(jobs.attempts(request.base_id), request, mode)
        assert not isinstance(found, int)
    if found.status == "SUCCEEDED":
        click.echo(f"{found.submission_id} has succeeded already; --again runs it anew.", err=True)
    else:
        click.echo(f"Attached to {found.submission_id}.", err=True)
    return found.submission_id


def _line(jobs: Jobs, job_id: str) -> str:
    """The command that comes back to a job."""
    return shlex.join(["dataprune", "submit", "--address", jobs.address, "--id", job_id])


def _follow(jobs: Jobs, job_id: str, *, as_json: bool) -> int:
    """Show the job's log, tell how it ended, and end the same way."""
    try:
        job = jobs.follow(
            job_id,
            lambda text: click.echo(text, nl=False, err=as_json),
            lambda why: click.echo(f"Waiting: {why}", err=True),
        )
    except KeyboardInterrupt:
        line = _line(jobs, job_id)
        click.echo(f"\nThe job goes on. Come back: {line}\nStop it: {line} --stop", err=True)
        return _INTERRUPTED
    if as_json:
        _show(job, as_json=True)
    if job.exit_code:
        click.echo(f"{job_id} {job.status.lower()}: {job.message}", err=True)
        if job.hint:
            click.echo(f"Hint: {job.hint}", err=True)
    else:
        click.echo(f"{job_id} succeeded.", err=True)
    return job.exit_code or 0


def _stop(jobs: Jobs, job_id: str, *, as_json: bool) -> int:
    was_running, job = jobs.stop(job_id)
    state = job.status.lower()
    if not was_running:
        told = f"Nothing to stop: {job_id} is {state}."
    elif job.ended:
        told = f"Stopped {job_id}."
    elif job.status == "PENDING":
        told = f"{job_id} waits for resources: Ray will end it when its turn comes."
    else:
        told = f"{job_id} was asked to stop and is still {state}."
    click.echo(told, err=True)
    if as_json:
        _show(job, as_json=True)
    return 0 if job.ended else 1


def _show_id(job: JobRecord, *, as_json: bool) -> None:
    if as_json:
        _show(job, as_json=True)
    else:
        click.echo(job.submission_id)


def _show(job: JobRecord, *, as_json: bool) -> None:
    import datetime as dt

    from dataprune.cli.output import emit_json

    told = {**vars(job), "exit_code": job.exit_code}
    if as_json:
        emit_json(told)
        return

    def clock(seconds: float | None) -> str | None:
        if seconds is None:
            return None
        return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")

    rows = {
        "job": job.submission_id,
        "status": job.status.lower(),
        "exit code": job.exit_code,
        "started": clock(job.started_s),
        "ended": clock(job.ended_s),
        "message": job.message or None,
        "command": job.entrypoint,
    }
    for name, value in rows.items():
        if value is not None:
            click.echo(f"{name:<10} {value}")
