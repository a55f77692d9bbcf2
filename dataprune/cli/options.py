"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON to stdout."
)
store_option: Callable[[F], F] = click.option(
    "--store",
    default=".dataprune/store",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Folder where versions live.",
)
source_option: Callable[[F], F] = click.option(
    "--source", metavar="PATH|URI", help="Where the source is; overrides what was recorded."
)
runner_option: Callable[[F], F] = click.option(
    "--runner", type=click.Choice(["local", "ray"]), help="Where units run; default: the recipe's."
)
address_option: Callable[[F], F] = click.option(
    "--address", help="Ray cluster to use with --runner ray; default: one on this machine."
)
private_option: Callable[[F], F] = click.option(
    "--private/--public", default=None,
    help="Of a repository that is made; default: the recipe's, else the account's.",
)  # fmt: skip
new_tag_option: Callable[[F], F] = click.option(
    "--tag", "new", default="auto", show_default=True, metavar="TAG",
    help="Tag of the new version; {n} in it is the next number.",
)  # fmt: skip
lock_option: Callable[[F], F] = click.option(
    "--lock", metavar="FILE", type=click.Path(dir_okay=False),
    help="Lock file of Hub versions; default: dataprune.lock.",
)  # fmt: skip


def numbers(_ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """What was typed as 5,10 -> [5, 10]."""
    if value is None:
        return None
    try:
        return [int(part) for part in value.split(",")]
    except ValueError as exc:
        what = "epochs" if param.name == "at" else "numbers"
        raise click.BadParameter(f"{value!r} is not a list of {what} such as 5,10") from exc


def scoring_options(command: F) -> F:
    """What a scoring job is: the options that `score` and `plan` have alike."""
    for option in reversed(_SCORING):
        command = option(command)
    return command


_SCORING: tuple[Callable[[Any], Any], ...] = (
    source_option,
    click.option(
        "--input", "inputs", multiple=True, metavar="COLUMN", help="Input column; repeat."
    ),
    click.option("--label", metavar="COLUMN", help="Label column."),
    click.option(
        "--embedding", metavar="COLUMN",
        help="Column of vectors, for kcenter, d2 and others in place of the probes' features.",
    ),
    click.option(
        "--task", type=click.Choice(["classification", "multilabel", "regression", "none"]),
        help="What the labels are; none: go without.",
    ),
    click.option(
        "--score", "scores", multiple=True, metavar="NAME", help="Score to compute; repeat."
    ),
    click.option(
        "--flag", "flags", multiple=True, metavar="NAME",
        help="Flag to add, by cross-fitting: label_issue (wrong labels), memorized. Repeat.",
    ),
    click.option(
        "--features/--no-features", default=None,
        help="Record features of the rows, for kcenter, d2 and others. Default: where the recipe's "
        "strategy reads them.",
    ),
    click.option("--at", callback=numbers, metavar="EPOCH,...", help="Epochs to score at."),
    click.option("--seeds", type=click.IntRange(min=1), help="Number of probe seeds."),
)  # fmt: skip


def assignments(
    values: tuple[str, ...], read: Callable[[str], Any], example: str = ""
) -> dict[str, Any]:
    """Values of a repeated option NAME=VALUE.

    read: a value as it was typed -> what it says. example: for the error.

    Raises:
        click.BadParameter: one has no name or no sign of equality.
    """
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE{example}")
        found[name] = read(value)
    return found
