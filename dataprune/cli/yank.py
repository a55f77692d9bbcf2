"""`dataprune yank`: mark a version as not to be used."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option


@click.command("yank")
@click.argument("repo", metavar="ORG/REPO")
@click.argument("tag")
@click.option("--reason", help="Why; shown to whoever loads it.")
@click.option("--use", metavar="TAG", help="The version to use instead.")
@click.option("--undo", is_flag=True, help="Take the mark off again.")
@json_option
def command(
    repo: str, tag: str, reason: str | None, use: str | None, *, undo: bool, as_json: bool
) -> None:
    """Mark ORG/REPO@TAG as not to be used; nothing is deleted.

    It still loads, with a warning that gives the reason.
    """
    from dataprune.cli.output import emit_json, talk
    from dataprune.core.errors import UsageError
    from dataprune.publishing.manage import unyank, yank

    if undo and (reason or use):
        raise UsageError("--reason and --use have no effect with --undo")
    with talk(quiet=as_json, bars=False):
        if undo:
            unyank(repo, tag)
        elif reason:
            yank(repo, tag, reason=reason, use=use)
        else:
            raise UsageError("a yank needs a reason", hint="as in --reason 'labels were shifted'")
    if as_json:
        emit_json({"repo": repo, "tag": tag, "yanked": not undo, "reason": reason, "use": use})
        return
    click.echo(f"{repo}@{tag} is {'no longer ' if undo else ''}yanked", err=True)
