"""The `dataprune` command: a group that imports a command's module only when it is wanted."""

from __future__ import annotations

import sys

import click

from dataprune._version import __version__
from dataprune.cli.errors import run_and_exit

COMMANDS = (
    "plan", "score", "run", "scores", "flags", "audit", "curate", "judge", "prune", "publish",
    "load", "evaluate", "versions", "promote", "rollback", "yank", "retract", "explain", "diff",
    "status", "submit", "schedule", "reproduce",
)  # fmt: skip


class LazyGroup(click.Group):
    """Commands are modules of this package, one a file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        import importlib

        command: click.Command = importlib.import_module(f"dataprune.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command for a typo."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from dataprune.core.errors import nearest

            raise click.UsageError(f"no command {args[0]}; {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="dataprune")
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
def cli(debug: bool) -> None:  # noqa: FBT001 - read by run_and_exit, anywhere on the line
    """Score training examples, decide what to keep, ship it as a tagged dataset version.

    \b
    dataprune score digits --out scores.parquet
    dataprune prune scores.parquet --keep 50% --name digits --tag v1
    dataprune load digits v1
    """  # noqa: D301 - the backspace tells click to keep the lines


def main() -> None:
    """Entry point: errors become one sentence and an exit code."""
    run_and_exit(cli, sys.argv[1:])
