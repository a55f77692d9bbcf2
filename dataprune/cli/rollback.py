"""`dataprune rollback`: a new version that is an old one again."""

from __future__ import annotations

import click

from dataprune.cli.options import json_option, new_tag_option


@click.command("rollback")
@click.argument("repo", metavar="ORG/REPO")
@click.argument("tag")
@new_tag_option
@json_option
def command(repo: str, tag: str, new: str, *, as_json: bool) -> None:
    """Publish the rows of ORG/REPO@TAG again as the newest version.

    The old version is loaded and proven first; the Hub then copies its files, and none are sent.
    """
    from dataprune.cli.output import emit_json, talk
    from dataprune.cli.publish import show_published
    from dataprune.publishing.manage import rollback

    with talk(quiet=as_json, bars=False):
        made = rollback(repo, tag, new)
    if as_json:
        emit_json(vars(made))
    else:
        show_published(made)
