"""`dataprune diff`: what changed between two versions."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option, store_option


@click.command("diff")
@click.argument("name", metavar="NAME|ORG/REPO")
@click.argument("tag1")
@click.argument("tag2")
@store_option
@json_option
def command(name: str, tag1: str, tag2: str, store: str, *, as_json: bool) -> None:
    """Compare NAME@TAG1 with NAME@TAG2: rows added, removed, relabelled; settings that differ."""
    from dataprune.cli.output import emit_json, emit_table, talk
    from dataprune.publishing.open import open_version
    from dataprune.versions.diff import diff_versions

    with talk(quiet=as_json, bars=False):
        old, new = (open_version(name, t, store=store, prove_source=False) for t in (tag1, tag2))
    told = diff_versions(old, new)
    if as_json:
        emit_json(told)
        return
    click.echo(
        f"{name}@{tag1} keeps {told['kept'][0]}, {name}@{tag2} keeps {told['kept'][1]}: "
        f"{told['in_both']} in both, {told['added']} added, {told['removed']} removed"
    )
    if told["relabelled"]:
        click.echo(f"of the rows in both, {told['relabelled']} have another suggested label")
    rows = [[c, n["added"], n["removed"]] for c, n in told["classes"].items()]
    if rows:
        emit_table("Rows by class", ["class", "added", "removed"], rows)
    changed = [[key, *values] for key, values in told["settings"].items()]
    if changed:
        emit_table("Settings", ["setting", tag1, tag2], changed)
