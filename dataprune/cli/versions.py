"""`dataprune versions`: what a store holds."""

from __future__ import annotations

from pathlib import Path

import click

from dataprune.cli.options import json_option, store_option


@click.command("versions")
@store_option
@json_option
def command(store: str, *, as_json: bool) -> None:
    """List the versions in a store."""
    from dataprune.cli.output import emit_json, emit_table, warn
    from dataprune.core.errors import TableError
    from dataprune.versions.store import LocalStore

    local = LocalStore(Path(store))
    found = []
    for name in local.names():
        for tag in local.tags(name):
            try:
                manifest = local.manifest(name, tag)
            except TableError as exc:
                warn([f"{name}@{tag} is damaged: {exc.message}"])
                continue
            selection = manifest.selection
            found.append(
                {
                    "name": name,
                    "tag": tag,
                    "kind": manifest.kind,
                    "rows": selection.rows_out,
                    "of": selection.rows_in,
                    "class_balance": selection.class_balance,
                    "strategy": selection.strategy,
                    "by": selection.by,
                    "control_of": manifest.control_of,
                }
            )
    if as_json:
        emit_json(found)
    elif not found:
        click.echo(f"store {store} holds no version; dataprune prune makes one", err=True)
    else:
        emit_table(f"Versions in {store}", list(found[0]), [list(v.values()) for v in found])
