"""`dataprune versions`: what a store or a Hub repository holds, and whether it still stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import json_option, new_tag_option, source_option, store_option


class _Versions(click.Group):
    """Without a subcommand it lists: `dataprune versions`, `dataprune versions ORG/REPO`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in where no subcommand is named."""
        named = args[0] if args else ""
        lists = not named or "/" in named or named.startswith("-")
        if lists and named not in {"-h", "--help"}:
            args = ["list", *args]
        elif named not in {*self.commands, "-h", "--help"}:
            from dataprune.core.errors import nearest

            raise click.UsageError(f"no command {named}; {nearest(named, self.commands)}", ctx)
        return super().parse_args(ctx, args)


@click.group("versions", cls=_Versions)
def command() -> None:
    """List versions; check them; give a view rows of its own.

    \b
    dataprune versions                 what the store holds
    dataprune versions ORG/REPO        what a Hub repository holds
    """  # noqa: D301 - the backspace tells click to keep the lines


@command.command("list")
@click.argument("repo", metavar="[ORG/REPO]", required=False)
@store_option
@json_option
def list_command(repo: str | None, store: str, *, as_json: bool) -> None:
    """List the versions in the store, or in a Hub repository with its aliases and yanks."""
    from dataprune.cli.output import emit_json, emit_table, talk

    with talk(quiet=as_json, bars=False):
        found, aliases = (_of_store(store), {}) if repo is None else _of_hub(repo)
    where = f"store {store}" if repo is None else repo
    if as_json:
        emit_json(found if repo is None else {"versions": found, "aliases": aliases})
    elif not found:
        make = "prune makes one" if repo is None else "publish puts one there"
        click.echo(f"{where} holds no version; dataprune {make}", err=True)
    else:
        title = f"Versions in {store if repo is None else repo}"
        shown = [_in_short(version) for version in found]
        emit_table(title, list(shown[0]), [list(row.values()) for row in shown])
    if aliases and not as_json:
        emit_table("Aliases", ["alias", "version"], [list(pair) for pair in aliases.items()])


@command.command("verify")
@click.argument("name", metavar="NAME|ORG/REPO")
@click.argument("tag")
@store_option
@source_option
@json_option
def verify_command(name: str, tag: str, store: str, source: str | None, *, as_json: bool) -> None:
    """Check every file of a version, and of a view that its source is still there and the same."""
    from dataprune.cli.output import emit_json, talk
    from dataprune.publishing.open import open_version

    with talk(quiet=as_json, bars=False):
        version = open_version(name, tag, store=store, source=source)
        if version.manifest.kind == "view":
            version.own_rows()
    told = "and its source is the one that was scored" if version.manifest.kind == "view" else ""
    if as_json:
        emit_json({"name": name, "tag": tag, "kind": version.manifest.kind, "whole": True})
        return
    click.echo(f"{name}@{tag}: every file is as the manifest says {told}".rstrip())


@command.command("materialize")
@click.argument("name", metavar="NAME|ORG/REPO")
@click.argument("tag")
@new_tag_option
@store_option
@source_option
@json_option
def materialize_command(
    name: str, tag: str, new: str, store: str, source: str | None, *, as_json: bool
) -> None:
    """Make a version with rows of its own from a view, before the view's source goes.

    It is a new version: what is published never changes.
    """
    from dataprune.cli.output import emit_json, talk
    from dataprune.cli.publish import show_published

    if "/" in name:
        from dataprune.publishing.manage import materialize

        with talk(quiet=as_json, bars=False):
            made = materialize(name, tag, new, source_uri=source)
        if as_json:
            emit_json(vars(made))
        else:
            show_published(made)
        return
    from dataprune.versions.derive import materialize_in_store
    from dataprune.versions.store import LocalStore

    local = LocalStore(Path(store))
    with talk(quiet=as_json, bars=False):
        manifest, created = materialize_in_store(local, name, tag, new, source_uri=source)
    folder = local.path(name, manifest.version)
    if as_json:
        emit_json({"name": name, "tag": manifest.version, "created": created, "folder": folder})
        return
    word = "built" if created else "was there already"
    click.echo(f"{name}@{manifest.version} {word}", err=True)
    click.echo(str(folder))


def _of_store(store: str) -> list[dict[str, Any]]:
    from dataprune.cli.output import warn
    from dataprune.core.errors import DatapruneError
    from dataprune.versions.store import LocalStore

    local = LocalStore(Path(store))
    found = []
    for name in local.names():
        for tag in local.tags(name):
            try:
                manifest = local.manifest(name, tag)
            except DatapruneError as exc:
                warn([f"{name}@{tag} is no version that can be used: {exc.message}"])
                continue
            found.append(_told(manifest))
    return found


def _of_hub(repo: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    from dataprune.publishing.found import list_published, told

    listing = list_published(repo)
    found = []
    for version in listing.versions:
        mark = listing.yanked.get(version.manifest.version)
        found.append(
            {
                **_told(version.manifest),
                "commit": version.commit,
                "yanked": told(mark) if mark else None,
            }
        )
    return found, listing.aliases


def _in_short(version: dict[str, Any]) -> dict[str, Any]:
    """What fits a terminal: --json tells the rest."""
    row = {
        "name": version["name"],
        "tag": version["tag"],
        "rows": f"{version['rows']} of {version['of']}",
        "kept": version["kept"] + (", a view" if version["kind"] == "view" else ""),
    }
    if "commit" in version:
        row |= {"commit": version["commit"][:8], "yanked": version["yanked"]}
    return row


def _told(manifest: Any) -> dict[str, Any]:
    selection = manifest.selection
    return {
        "name": manifest.name,
        "tag": manifest.version,
        "kind": manifest.kind,
        "rows": selection.rows_out,
        "of": selection.rows_in,
        "class_balance": selection.class_balance,
        "strategy": selection.strategy,
        "by": selection.by,
        "kept": selection.in_words,
        "control_of": manifest.control_of,
    }
