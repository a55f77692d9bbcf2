"""One way out: data to stdout (a table for people, JSON for programs), talk to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from dataprune.core.protocols import OnProgress


def emit_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, default=str))


def emit_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a title and a table, as wide as the terminal, or 200 columns into a pipe or file."""
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else 200
    click.echo(title)
    table = Table(header_style="bold")
    for i, name in enumerate(header):
        numeric = bool(rows) and all(_is_number(row[i]) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console(width=width, highlight=False).print(table)


def warn(messages: Sequence[str]) -> None:
    """Print warnings to stderr."""
    for message in messages:
        click.echo(click.style("Warning: ", fg="yellow") + message, err=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, str) and value[:1].isdigit() and " " not in value
    )


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    return escape(f"{value:.4f}" if isinstance(value, float) else str(value))


@contextlib.contextmanager
def talk(*, quiet: bool, bars: bool = True) -> Iterator[OnProgress]:
    """Log lines to stderr, and on a terminal a live line per unit.

    quiet: for --json: no progress; warnings still show.
    bars: False where the Hub's client shows bars of its own.
    """
    if quiet or not bars or not sys.stderr.isatty():
        with _logging_to(_plain(quiet=quiet)):
            yield lambda _unit, told: None if quiet else _tell_end(told)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True, highlight=False)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        console=console,
    )
    handler = _Printing(lambda text: console.print(text, markup=False))
    with _logging_to(handler), progress:
        tasks: dict[str, Any] = {}

        def on_progress(unit_id: str, told: dict[str, Any]) -> None:
            if unit_id not in tasks:
                tasks[unit_id] = progress.add_task(told["label"], total=None, told="")
            total = told.get("epochs")
            if total:
                progress.update(tasks[unit_id], total=total, completed=told["epoch"])
            elif told.get("state") == "finished":
                bar = progress.tasks[tasks[unit_id]]
                progress.update(tasks[unit_id], completed=bar.total)
            progress.update(tasks[unit_id], told=_told(told))

        yield on_progress


def _tell_end(told: dict[str, Any]) -> None:
    """Where nothing moves on the screen, a line for each unit that ended."""
    if told.get("state") in {"finished", "failed"}:
        click.echo(f"{told['label']} {told['state']}", err=True)


def _told(told: dict[str, Any]) -> str:
    parts = [told["state"]] if "state" in told else []
    if "train_loss" in told:
        parts.append(f"loss {told['train_loss']:.3f}")
    if "heldout" in told:
        parts.append(f"held-out {told['heldout']:.3f}")
    if told.get("left_s"):
        parts.append(f"{told['left_s']:.0f} s left")
    return "  ".join(parts)


class _Printing(logging.Handler):
    def __init__(self, write: Any) -> None:
        super().__init__()
        self.write = write

    def emit(self, record: logging.LogRecord) -> None:
        self.write(record.getMessage())


def _plain(*, quiet: bool) -> logging.Handler:
    handler = _Printing(lambda text: click.echo(text, err=True))
    handler.setLevel(logging.WARNING if quiet else logging.INFO)
    return handler


@contextlib.contextmanager
def _logging_to(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger("dataprune")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
