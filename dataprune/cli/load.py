"""`dataprune load`: verify a version and say what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import json_option, lock_option, source_option, store_option


@click.command("load")
@click.argument("name", metavar="NAME|ORG/REPO")
@click.argument("tag")
@store_option
@source_option
@lock_option
@click.option("--locked", is_flag=True, help="Refuse a Hub version that the lock file has not.")
@click.option(
    "--export", metavar="FORMAT", help="Write trajectories as messages, sharegpt or atif; see --to."
)
@click.option(
    "--to", metavar="FILE.jsonl", type=click.Path(dir_okay=False), help="Where --export writes."
)
@json_option
def command(
    name: str,
    tag: str,
    store: str,
    source: str | None,
    lock: str | None,
    export: str | None,
    to: str | None,
    *,
    locked: bool,
    as_json: bool,
) -> None:
    """Check every file of NAME@TAG against its manifest and show what it holds.

    NAME is in the store; ORG/REPO is on the Hugging Face Hub, where TAG may also be an alias or a
    commit. Which commit and manifest a Hub version is goes into dataprune.lock, which later loads
    hold to: keep it in git.

    In Python: dataprune.load(NAME, TAG).frame(), .arrow() or .torch().
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, emit_table, talk

    if lock is None and "/" in name:
        lock = "dataprune.lock"
    with talk(quiet=as_json, bars=False):
        version = flow.load(name, tag, store=store, source=source, lock=lock, locked=locked)
    manifest = version.manifest
    selection = manifest.selection
    exported = _export(version, export, to)
    if as_json:
        told: dict[str, Any] = {
            "folder": str(version.folder),
            "manifest": manifest.model_dump(mode="json"),
        }
        told |= {} if exported is None else {"exported": exported, "to": to}
        emit_json({**told, "repo": version.repo, "commit": version.commit})
        return
    rows: list[list[object]] = [
        ["version", f"{manifest.name}@{manifest.version}"],
        ["rows", f"{selection.rows_out} of {selection.rows_in}"],
        ["kind", manifest.kind],
        ["commit", version.commit],
        ["kept", f"{selection.in_words}, seed {selection.seed}"],
        ["source", f"{manifest.source.uri} ({manifest.source.fingerprint[:12]})"],
        ["control of", manifest.control_of],
        ["fingerprint", manifest.fingerprint[:12]],
        ["columns", ", ".join(version.frame().collect_schema().names())],
    ]
    emit_table(f"{name}@{tag}: every file is as the manifest says", ["", "value"], rows)
    if exported is not None:
        click.echo(f"{exported} trajectories as {export}: {to}", err=True)
    click.echo(str(version.folder))


def _export(version: Any, export: str | None, to: str | None) -> int | None:
    """Write the trajectories elsewhere, if that is asked for; how many."""
    if (export is None) != (to is None):
        raise click.UsageError("--export FORMAT and --to FILE.jsonl go together")
    if export is None or to is None:
        return None
    from dataprune.publishing.export import export_version

    return export_version(version, export, Path(to))
