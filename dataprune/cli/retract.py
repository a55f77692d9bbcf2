"""`dataprune retract`: a version without some rows, and a mark on all that hold them."""

from __future__ import annotations

from pathlib import Path

import click

from dataprune.cli.options import json_option, new_tag_option

_HISTORY = (
    "whoever may read the repository can load them by tag or commit. To erase them, publish the "
    "new version to a new repository and delete this one; the source and other people's copies are "
    "not touched"
)


def _rows(_ctx: click.Context, _param: click.Parameter, value: str) -> list[int]:
    text = value
    if value.startswith("@"):
        try:
            text = Path(value[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise click.BadParameter(f"{value[1:]} cannot be read: {exc}") from exc
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as exc:
        raise click.BadParameter(f"{str(exc).rsplit(':', 1)[-1].strip()} is no row") from exc


@click.command("retract")
@click.argument("repo", metavar="ORG/REPO")
@click.argument("tag")
@click.option(
    "--rows", required=True, callback=_rows, metavar="ROW,...|@FILE",
    help="Rows of the source, from 0; or a file of them.",
)  # fmt: skip
@click.option("--reason", required=True, help="Why; shown to whoever loads an old version.")
@new_tag_option
@json_option
def command(repo: str, tag: str, rows: list[int], reason: str, new: str, *, as_json: bool) -> int:
    """Publish ORG/REPO@TAG without some rows, and yank every version that keeps one of them.

    For a request to be erased. The rows' content hashes, keys and scores go too. What was published
    before stays in the repository's history: the command says what to do about that.
    """
    from dataprune.cli.output import emit_json, talk, warn
    from dataprune.cli.publish import show_published
    from dataprune.publishing.manage import retract

    with talk(quiet=as_json, bars=False):
        done = retract(repo, tag, rows, reason=reason, new=new)
    if done.copies:
        shown = ", ".join(map(str, done.copies[:10])) + (", ..." if len(done.copies) > 10 else "")
        copies = f"{len(done.copies)} kept rows are exact copies of retracted ones: {shown}; "
        warn([copies + "retract them too if they are the same person's"])
    for alias, means in done.aliases.items():
        warn([f"alias {alias} still means {means}: dataprune promote {repo} TAG --as {alias}"])
    if done.unread:
        unread = ", ".join(done.unread)
        warn([f"PARTIAL: what {unread} holds is not known, since its manifest cannot be read"])
    held = ", ".join(done.yanked) or "no version"
    warn([f"yanked {held}, and git history still holds the rows: {_HISTORY}"])
    if as_json:
        emit_json({**vars(done), "published": vars(done.published)})
    else:
        show_published(done.published)
    return 3 if done.unread else 0
