"""`dataprune prune --what-if`: a table per question, a column per budget."""

from __future__ import annotations

from typing import Any

import click

from dataprune.selection._what_if import Outcome, WhatIf

# What says how a version is built, or how much is kept: it has no effect here.
_NO_EFFECT = {
    "keep": "--keep", "name": "--name", "tag": "--tag", "relabel": "--relabel", "store": "--store",
    "source": "--source", "view": "--view", "order": "--order", "control": "--control",
    "push": "--push", "private": "--private", "dry_run": "--dry-run",
}  # fmt: skip


def check_no_effect(ctx: click.Context) -> None:
    """Refuse options that would have no effect.

    Raises:
        click.UsageError: names them.
    """
    given = [
        option
        for name, option in _NO_EFFECT.items()
        if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"--what-if builds nothing: leave {', '.join(given)} out", ctx)


def summary(found: WhatIf) -> dict[str, Any]:
    """What is printed as JSON."""
    choice = found.choice
    return {
        "steps": [vars(step) for step in choice.before],
        "strategy": choice.strategy,
        "params": choice.params,
        "by": found.by,
        "class_balance": choice.balance,
        "rows_in": found.rows_in,
        "classes": found.classes,
        "outcomes": [vars(outcome) for outcome in found.outcomes],
    }


def show(found: WhatIf) -> None:
    """Print it: what is kept of each class, and of what scores, flags and rows it is made."""
    from dataprune.cli.output import emit_table

    fits = [outcome for outcome in found.outcomes if outcome.problem is None]
    heads = [str(outcome.keep) for outcome in fits]
    steps = [*(step.strategy for step in found.choice.before), found.choice.strategy]
    by = f" by {found.by}" if found.by else ""
    of_class = [
        [name, total, *((outcome.classes or {})[name] for outcome in fits)]
        for name, total in found.classes.items()
        if total and list(found.classes) != ["all"]
    ]
    of_class.append(["all", found.rows_in, *(outcome.rows_out for outcome in fits)])
    title = f"Rows kept by {', '.join(steps)}{by}"
    emit_table(title, ["class", "source", *heads], of_class)
    emit_table("What is kept", ["of the kept rows", *heads], _facts(fits))
    for outcome in found.outcomes:
        if outcome.problem is not None:
            click.echo(f"{outcome.keep}: {outcome.problem}", err=True)
    said = {text: outcome.keep for outcome in reversed(fits) for text in outcome.warnings}
    for text, keep in reversed(said.items()):
        click.echo(f"warning at {keep}: {text}", err=True)


def _facts(fits: list[Outcome]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    if fits[0].score_range is not None:
        ranges = [outcome.score_range or (0.0, 0.0) for outcome in fits]
        rows.append(["lowest score", *(f"{low:.4g}" for low, _ in ranges)])
        rows.append(["highest score", *(f"{high:.4g}" for _, high in ranges)])
    rows += [
        [f"flagged {flag}", *(f"{(o.flagged or {})[flag]:.1%}" for o in fits)]
        for flag in fits[0].flagged or {}
    ]
    overlaps = ["" if o.overlap is None else f"{o.overlap:.2f}" for o in fits]
    rows.append(["overlap with the column before", *overlaps])
    return rows
