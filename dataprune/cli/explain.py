"""`dataprune explain`: why one example was kept or dropped."""

from __future__ import annotations

from typing import Any

import click

from dataprune.cli.options import json_option, store_option


@click.command("explain")
@click.argument("name", metavar="NAME|ORG/REPO")
@click.argument("tag")
@click.argument("row", type=int)
@store_option
@json_option
def command(name: str, tag: str, row: int, store: str, *, as_json: bool) -> None:
    """Say why ROW of the source (counted from 0) is in NAME@TAG or not, with all its scores."""
    from dataprune.cli.output import emit_json, emit_table, talk
    from dataprune.publishing.open import open_version
    from dataprune.tables.decisions import RETRACTED
    from dataprune.versions.load import explain_row

    with talk(quiet=as_json, bars=False):
        version = open_version(name, tag, store=store, prove_source=False)
    told = explain_row(version, row)
    if as_json:
        emit_json(told)
        return
    if told["reason"] == RETRACTED:
        of = "" if "reject_code" in told["scores"] else f" (class {told['class_name']})"
        click.echo(f"row {row}{of} was taken out of this version afterwards")
        return
    who = f"row {row} (class {told['class_name']})"
    if "reject_code" in told["scores"]:
        _explain_run(told, row)
        return
    if not told["competed"]:
        click.echo(f"{who} was dropped, {told['reason']}, before the others competed")
    else:
        click.echo(f"{who} was {_verdict(told)}")
    if told["scores"].get("tier") in {"likely", "suspect"}:
        click.echo(_doubt(told))
    if "suggested_label" in told:
        click.echo(f"suggested_label in this version: {told['suggested_label']}")
    emit_table("Scores", ["column", "value"], [[k, v] for k, v in told["scores"].items()])


def _explain_run(told: dict[str, Any], row: int) -> None:
    """A row of a ledger: what became of the trajectory, and every reason."""
    from dataprune.cli.output import emit_table

    scores = dict(told["scores"])
    reasons, repairs = scores.pop("reasons"), scores.pop("repairs")
    why = f", {scores['reject_code']} at stage {scores['reject_stage']}"
    verdict = {"keep": "kept", "reject": "rejected", "undecided": "left undecided"}
    said = verdict[scores["decision"]] + ("" if scores["decision"] == "keep" else why)
    click.echo(f"row {row}, trajectory {scores['traj_id']} of query {scores['query_id']}: {said}")
    if told["keep"] != (scores["decision"] == "keep"):
        here = "is" if told["keep"] else "is not"
        click.echo(f"it {here} in this version: {_HERE.get(told['reason'], told['reason'])}")
    rows = [[r["code"], r["severity"], r["step"], _span(r), r["detail"]] for r in reasons]
    if rows:
        emit_table("Reasons", ["code", "severity", "message", "characters", "detail"], rows)
    if repairs:
        emit_table("Repairs", ["code", "message"], [[r["code"], r["step"]] for r in repairs])
    emit_table("Numbers", ["column", "value"], [[k, v] for k, v in scores.items()])


# Why a row is in NAME-rejected, or not.
_HERE = {
    "rejected": "it holds what was rejected",
    "curated": "it holds what was rejected",
    "not_shown": "secrets, personal data and what is undecided are not shown",
}


def _span(reason: dict[str, Any]) -> str | None:
    start, end = reason["char_start"], reason["char_end"]
    return None if start is None else f"{start} to {end}"


def _verdict(told: dict[str, Any]) -> str:
    from dataprune.tables.decisions import NOT_RANKED

    verdict = "kept" if told["keep"] else f"dropped, {told['reason']}"
    pool = "all rows" if told["class_balance"] == "none" else "its class"
    if told["rank"] == NOT_RANKED:
        value = f": {told['by']} = {told['value']:.4f}" if told["by"] else ""
        return f"{verdict} among {pool} by {told['rule']}, without a place{value}"
    by = f", {told['by']} = {told['value']:.4f}" if told["by"] else ""
    return f"{verdict}: place {told['rank'] + 1} among {pool} in the order of {told['rule']}{by}"


def _doubt(told: dict[str, Any]) -> str:
    scores, other = told["scores"], told.get("suggested_class")
    sure = "is likely wrong" if scores["tier"] == "likely" else "is suspect"
    suggested = f"; suggested: {other}" if other not in {None, told["class_name"]} else ""
    return f"its label {sure} (label_issue {scores['label_issue']:.4f}){suggested}"
