"""`dataprune promote`: let an alias such as prod mean a version."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option


@click.command("promote")
@click.argument("repo", metavar="ORG/REPO")
@click.argument("tag")
@click.option("--as", "alias", required=True, metavar="ALIAS", help="Such as prod or staging.")
@json_option
def command(repo: str, tag: str, alias: str, *, as_json: bool) -> None:
    """Let ALIAS mean ORG/REPO@TAG from now on.

    `dataprune load ORG/REPO ALIAS` then loads TAG, and a dataprune.lock keeps which version that
    was. Aliases are branches, the only names that move; tags never do.
    """
    from dataprune.cli.output import emit_json, talk
    from dataprune.publishing.manage import promote

    with talk(quiet=as_json, bars=False):
        commit = promote(repo, tag, alias)
    if as_json:
        emit_json({"repo": repo, "alias": alias, "tag": tag, "commit": commit})
        return
    click.echo(f"{repo}@{alias} is {tag} now", err=True)
