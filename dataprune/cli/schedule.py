"""`dataprune schedule`: documents that make a scheduler run a recipe."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from dataprune.cli.options import assignments

# Not asked of the registry, whose import would slow down every --help.
TARGET_NAMES = ("ray-cronjob", "k8s-cronjob", "crontab", "airflow", "rayjob")


@click.group("schedule")
def command() -> None:
    """Have a recipe run by the scheduler that is there: Kubernetes, cron or Airflow."""


def _secret(text: str) -> tuple[str, str]:
    secret, colon, key = text.partition(":")
    if not (secret and colon and key):
        raise click.BadParameter(f"{text!r} is not SECRET:KEY")
    return secret, key


@command.command("render")
@click.argument("recipe")
@click.argument("more", nargs=-1, metavar="[-- ARGUMENT...]", type=click.UNPROCESSED)
@click.option(
    "--target", required=True, type=click.Choice(TARGET_NAMES), help="The kind of document."
)
@click.option(
    "--cron", metavar="'M H D M W'",
    help="When: five fields of cron, or @hourly, @daily, @weekly, @monthly, @yearly.",
)  # fmt: skip
@click.option("--timezone", metavar="NAME", help="Of --cron, such as Europe/Berlin.")
@click.option("--work", metavar="FOLDER", help="Run folder, seen by all nodes.")
@click.option("--store", metavar="FOLDER", help="Where a release's versions live.")
@click.option(
    "--address", metavar="URL",
    help="Dashboard of the Ray cluster to submit to; crontab and airflow run in place without it.",
)  # fmt: skip
@click.option(
    "--image", metavar="IMAGE", help="Image of the pods; default: dataprune with this version."
)
@click.option(
    "--ray-version", metavar="VERSION", help="Of Ray in the image; default: as installed here."
)
@click.option(
    "--auth-secret", metavar="SECRET",
    help="Secret with the cluster's token under the key auth_token.",
)  # fmt: skip
@click.option(
    "--env", multiple=True, metavar="NAME=VALUE", help="Variable of the job; no secrets. Repeat."
)
@click.option(
    "--secret-env", multiple=True, metavar="NAME=SECRET:KEY",
    help="Variable of the job from a Kubernetes Secret. Repeat.",
)  # fmt: skip
@click.option(
    "--claim", multiple=True, metavar="CLAIM=PATH",
    help="PersistentVolumeClaim that all pods have at PATH. Repeat.",
)  # fmt: skip
@click.option(
    "--max-workers", type=click.IntRange(min=1),
    help="Most pods for units; default: as many as units run at once, up to 8.",
)  # fmt: skip
@click.option(
    "--deadline-hours", type=click.FloatRange(min=0, min_open=True),
    help="Give a run up after so long; default: 24.",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="Name of the document; default: of the recipe.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.pass_context
def render(
    ctx: click.Context,
    recipe: str,
    more: tuple[str, ...],
    target: str,
    cron: str | None,
    timezone: str | None,
    work: str | None,
    store: str | None,
    address: str | None,
    image: str | None,
    ray_version: str | None,
    auth_secret: str | None,
    env: tuple[str, ...],
    secret_env: tuple[str, ...],
    claim: tuple[str, ...],
    max_workers: int | None,
    deadline_hours: float | None,
    name: str | None,
    out: Path | None,
) -> None:
    """Print a document that runs RECIPE at the times of --cron; nothing is applied.

    ray-cronjob and rayjob (one run, now) bring a Ray cluster of their own, k8s-cronjob submits to
    one that is there, crontab and airflow run on their own machine or submit. A recipe file becomes
    a ConfigMap for Kubernetes. What follows -- is handed to the command that runs the recipe.

    \b
    dataprune schedule render digits --cron "0 2 * * *" --target crontab
    """  # noqa: D301 - the backspace tells click to keep the lines
    from dataprune.cli.submit import check_arguments
    from dataprune.core.files import write_text
    from dataprune.core.recipe import load_recipe
    from dataprune.runs import job_command
    from dataprune.runs.schedule import TARGETS
    from dataprune.runs.schedule._cron import parse_cron
    from dataprune.runs.schedule._plan import Plan, check_plan

    loaded, file = load_recipe(recipe), Path(recipe)
    plan = Plan(
        recipe=loaded,
        told=recipe,
        recipe_text=file.read_text(encoding="utf-8") if file.suffix in {".yaml", ".yml"} else None,
        made_by=_made_by(ctx),
        name=name,
        cron=None if cron is None else parse_cron(cron),
        timezone=timezone,
        work=work,
        store=store,
        address=address,
        image=image,
        ray_version=ray_version,
        auth_secret=auth_secret,
        env=assignments(env, str),
        secret_env=assignments(secret_env, _secret),
        claims=assignments(claim, str),
        max_workers=max_workers,
        deadline_hours=deadline_hours,
        more=more,
        executable=_executable(),
        folder=Path.cwd(),
    )
    chosen = TARGETS.get(target.replace("-", "_"))
    check_plan(plan, chosen)
    check_arguments([job_command.job_verb(loaded), recipe, *more], more)
    text = chosen.render(plan)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(str(out), err=True)


def _made_by(ctx: click.Context) -> str:
    """This command in its own words and one order, without --out, on one line of comment."""
    line = ["dataprune", "schedule", "render", ctx.params["recipe"]]
    for option in ctx.command.params:
        value = ctx.params.get(option.name or "")
        if not isinstance(option, click.Option) or option.name == "out" or value in (None, ()):
            continue
        for one in value if isinstance(value, tuple) else (value,):
            line += [option.opts[0], f"{one:g}" if isinstance(one, float) else str(one)]
    more = ctx.params["more"]
    return " ".join(shlex.join([*line, "--", *more] if more else line).splitlines())


def _executable() -> Path:
    """The `dataprune` of this environment, from the root."""
    beside = Path(sys.executable).parent / "dataprune"
    found = beside if beside.is_file() else shutil.which("dataprune")
    return Path(found or beside)
