"""`dataprune scores`: which scores there are, and tables that other tools had a part in."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option


@click.group("scores")
def command() -> None:
    """See which scores there are; bring in scores that were made elsewhere."""


@command.command("list")
@click.argument("name", required=False)
@json_option
def list_command(name: str | None, *, as_json: bool) -> None:
    """List every score, or tell all about the one called NAME: definition, range, traps."""
    from dataprune.cli.output import emit_json, emit_table
    from dataprune.scores._catalogue import about, catalogue

    if name is not None:
        text = about(name)
        if as_json:
            emit_json(next(entry for entry in catalogue() if entry["score"] == name))
        else:
            click.echo(text)
        return
    entries = catalogue()
    if as_json:
        emit_json(entries)
        return
    shown = ["score", "status", "higher_is", "range", "cost"]
    header = [key.replace("_", " ") for key in shown]
    emit_table("Scores", header, [[entry[key] for key in shown] for entry in entries])
    click.echo("dataprune scores list NAME tells all about one", err=True)


def _wanted(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for text in values:
        name, equals, column = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=COLUMN[:higher|:lower]")
        if name in wanted:
            raise click.BadParameter(f"{name} is given twice")
        wanted[name] = column
    return wanted


@command.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--source", required=True, metavar="RECIPE|SOURCE", help="What the scores are of.")
@click.option(
    "--score", "scores", multiple=True, required=True, callback=_wanted,
    metavar="NAME=COLUMN[:higher|:lower]", help="Score to import, and which end is harder. Repeat.",
)  # fmt: skip
@click.option("--row", metavar="COLUMN", help="Match by position in the source, from 0.")
@click.option("--key", metavar="COLUMN", help="Match by the source's key column.")
@click.option("--content-hash", metavar="COLUMN", help="Match by dataprune's content hash.")
@click.option("--in-order", is_flag=True, help="The file has the source's rows, in its order.")
@click.option("--label", metavar="COLUMN", help="Compare with the source's labels.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Score table to write.")
@json_option
def import_command(
    file: str,
    source: str,
    scores: dict[str, str],
    row: str | None,
    key: str | None,
    content_hash: str | None,
    label: str | None,
    out: str,
    *,
    in_order: bool,
    as_json: bool,
) -> None:
    """Make a score table of per-example scores in FILE: Parquet, CSV or JSONL.

    Every row of the source must be there exactly once. Say how rows are matched: --row, --key,
    --content-hash or --in-order. :lower says that lower is harder; such a score is stored negated.
    """
    from dataprune.cli.output import emit_json, emit_table, talk
    from dataprune.scores._import import import_scores

    with talk(quiet=as_json):
        result = import_scores(
            file,
            source=source,
            scores=scores,
            out=out,
            row=row,
            key=key,
            content_hash=content_hash,
            in_order=in_order,
            label=label,
        )
    if as_json:
        emit_json(
            {
                "scores": str(result.path),
                "source": result.source.uri,
                "num_rows": result.source.num_rows,
                "columns": result.scores,
                "notes": result.notes,
            }
        )
        return
    for note in result.notes:
        click.echo(note, err=True)
    rows = [[name, spec["column"], spec["stored"]] for name, spec in result.scores.items()]
    title = f"{result.source.num_rows} rows of {file}, each matched to {result.source.uri}"
    emit_table(title, ["score", "column", "stored"], rows)
    click.echo(str(result.path))
