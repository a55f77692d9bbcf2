"""`dataprune load`: verify a version and say what is in it."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option, source_option, store_option


@click.command("load")
@click.argument("name")
@click.argument("tag")
@store_option
@source_option
@json_option
def command(name: str, tag: str, store: str, source: str | None, *, as_json: bool) -> None:
    """Check every file of NAME@TAG against its manifest and show what it holds.

    In Python: dataprune.load(NAME, TAG).frame(), .arrow() or .torch().
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, emit_table

    version = flow.load(name, tag, store=store, source=source)
    manifest = version.manifest
    selection = manifest.selection
    if as_json:
        emit_json({"folder": str(version.folder), "manifest": manifest.model_dump(mode="json")})
        return
    rows: list[list[object]] = [
        ["rows", f"{selection.rows_out} of {selection.rows_in}"],
        ["kind", manifest.kind],
        ["strategy", f"{selection.strategy}, score {selection.by}, seed {selection.seed}"],
        ["source", f"{manifest.source.uri} ({manifest.source.fingerprint[:12]})"],
        ["control of", manifest.control_of],
        ["fingerprint", manifest.fingerprint[:12]],
        ["columns", ", ".join(version.frame().collect_schema().names())],
    ]
    emit_table(f"{name}@{tag}: every file is as the manifest says", ["", "value"], rows)
    click.echo(str(version.folder))
