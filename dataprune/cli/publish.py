"""`dataprune publish`: put a version on the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

import click

from dataprune.cli.options import json_option, private_option, source_option, store_option


@click.command("publish")
@click.argument("name")
@click.argument("tag")
@store_option
@click.option("--to", metavar="ORG/REPO", help="Dataset repository; default: the recipe's.")
@private_option
@click.option(
    "--license", "licence", metavar="ID", help="As the Hub spells it, if the source states none."
)
@source_option
@json_option
def command(
    name: str,
    tag: str,
    store: str,
    to: str | None,
    private: bool | None,  # noqa: FBT001 - click's
    licence: str | None,
    source: str | None,
    *,
    as_json: bool,
) -> None:
    """Put NAME@TAG of the store on the Hugging Face Hub, as ORG/REPO at tag TAG.

    One commit holds the whole version, and the tag is set last, so that a version is there whole or
    not at all. Run it again after any interruption: what was done is found and not done twice. The
    token comes from HF_TOKEN or `hf auth login`.

    Scores and decisions are published with the data: per-row scores can reveal which rows were
    trained on.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, talk

    with talk(quiet=as_json, bars=False):
        made = flow.publish(
            name, tag, to=to, store=store, source=source, private=private, license=licence
        )
    if as_json:
        emit_json(vars(made))
    else:
        show_published(made)


def show_published(made: Any) -> None:
    """Where a version is now: the talk to stderr, its address to stdout."""
    word = "published" if made.created else "was there already"
    seen = {True: ", private", False: ", public", None: ""}[made.private]
    click.echo(f"{made.repo}@{made.tag} {word}{seen}, commit {made.commit[:12]}", err=True)
    click.echo(f'load it with dataprune.load("{made.repo}", "{made.tag}")', err=True)
    click.echo(made.url)
