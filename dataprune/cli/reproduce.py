"""`dataprune reproduce`: a paper's experiment, run again from one command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import json_option


class _Papers(click.Group):
    """Name the nearest paper for a typo."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse what is not a paper."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            from dataprune.core.errors import nearest

            raise click.UsageError(
                f"no reproduction {args[0]}; {nearest(args[0], self.commands)}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group("reproduce", cls=_Papers)
def command() -> None:
    """Run a paper's experiment again, and print its numbers beside the paper's."""


@command.command("grok")
@click.option(
    "--out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
    help="Folder for grok.json and the pictures; those of a run before are replaced.",
)  # fmt: skip
@click.option(
    "--recipe", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Other runs than the shipped ones: a changed copy of grok_modular_addition.yaml.",
)  # fmt: skip
@json_option
def grok_command(out: Path | None, recipe: Path | None, *, as_json: bool) -> int:
    """Memorizing and generalizing neurons told apart: "To grok or not to grok", arXiv 2310.13061.

    Small networks learn modular addition from labels of which a third is wrong, under more and more
    regularisation. Prints what each ends as (phases), what pruning neurons by the periodicity of
    their weights (IPR) takes away, and when EL2N begins to find the wrong labels.
    """
    try:
        _grok(out, recipe, as_json=as_json)
    except KeyboardInterrupt:
        from dataprune.cli.errors import INTERRUPTED, say

        say("Interrupted. No result was written.")
        return INTERRUPTED
    return 0


def _grok(out: Path | None, recipe: Path | None, *, as_json: bool) -> None:
    from dataprune.cli.output import emit_json, emit_table, talk, warn
    from dataprune.core.extras import require

    require("torch", extra="probe", why="training networks")
    from dataprune.reproductions.grok import reproduce_grok
    from dataprune.reproductions.grok_recipe import load_grok_recipe
    from dataprune.reproductions.grok_tables import tables
    from dataprune.reproductions.grok_write import check_folder, missing_plots, write_result

    read = load_grok_recipe(recipe)
    warnings = []
    if out is not None:
        check_folder(out)
        warnings = missing_plots()
        warn(warnings)
    with talk(quiet=as_json) as on_progress:
        result = reproduce_grok(read, on_progress=on_progress)
    paths = [] if out is None else write_result(result, out, pictures=not warnings)
    if as_json:
        told: dict[str, Any] = result.as_json()
        emit_json({**told, "files": [os.fspath(path) for path in paths], "warnings": warnings})
        return
    for table in tables(result):
        emit_table(table.title, table.header, table.rows)
    for path in paths:
        click.echo(path)
