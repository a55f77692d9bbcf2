"""`dataprune prune`: turn scores into decisions and decisions into a version."""

from __future__ import annotations

import json
from typing import Any

import click

from dataprune.cli.options import (
    assignments,
    json_option,
    private_option,
    source_option,
    store_option,
)


def _params(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    def read(value: str) -> Any:
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value

    return assignments(values, read)


@click.command("prune")
@click.argument("scores", metavar="SCORES.parquet", type=click.Path(dir_okay=False))
@click.option(
    "--with", "extra", multiple=True, metavar="FLAGS.parquet", type=click.Path(dir_okay=False),
    help="Flags or further scores of the same source; --by may name their columns. Repeat.",
)  # fmt: skip
@click.option(
    "--features", metavar="FILE.parquet[:COLUMN]",
    help="Features of the rows, for kcenter, d2 and others: row and a vector. Default: the scores' "
    "own (score --features).",
)  # fmt: skip
@click.option("--keep", metavar="FRACTION|COUNT", help="25000 is a count; 0.5 or 50% a fraction.")
@click.option("--by", metavar="NAME", help="Score column, such as el2n or el2n@10.")
@click.option(
    "--strategy", multiple=True, metavar="NAME",
    help="How to choose; a wrong name lists them all. Repeat for steps in order, the last of which "
    "fills the budget: duplicates, flagged, ccs.",
)  # fmt: skip
@click.option(
    "--param", "params", multiple=True, callback=_params, metavar="[STEP.]NAME=VALUE",
    help="Parameter of the last strategy, or of STEP; window: offset=500 skips the 500 easiest. "
    "Repeat.",
)  # fmt: skip
@click.option(
    "--class-balance", type=click.Choice(["none", "proportional", "equal"]),
    help="Quotas per class.",
)  # fmt: skip
@click.option(
    "--min-per-class", type=click.IntRange(min=0), help="Keep at least this many of each."
)
@click.option(
    "--max-per-group", type=click.IntRange(min=1),
    help="Keep at most this many of each group of near-duplicates.",
)  # fmt: skip
@click.option(
    "--drop-likely/--no-drop-likely", default=None,
    help="First drop rows whose label is likely wrong. Without --keep, keep all the others.",
)  # fmt: skip
@click.option(
    "--relabel/--no-relabel", default=None,
    help="Add a column suggested_label, which differs in such rows. Without --keep, keep all.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Seed of ties and random draws.")
@click.option("--name", help="Name of the version.")
@click.option(
    "--tag",
    help="v, a number, an optional slug: v1, v2-el2n-keep0.5. auto or v{n}-...: the next number.",
)  # fmt: skip
@store_option
@source_option
@click.option("--view", is_flag=True, help="Store the decisions only; read the source on load.")
@click.option(
    "--order", type=click.Choice(["source", "score"]),
    help="Order of the rows; score: best to keep first, so that versions share shards.",
)  # fmt: skip
@click.option("--control", is_flag=True, help="Also build TAG-control: random, same class counts.")
@click.option(
    "--push", is_flag=False, flag_value="", metavar="[ORG/REPO]",
    help="Publish it, and its control, to the Hub; without a name to the recipe's.",
)  # fmt: skip
@private_option
@click.option("--dry-run", is_flag=True, help="Decide and report; build nothing.")
@click.option(
    "--what-if", metavar="KEEP,KEEP,...",
    help="Compare budgets, such as 0.1,0.3,0.5; in place of --keep, --name and --tag. Builds "
    "nothing.",
)  # fmt: skip
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    scores: str,
    extra: tuple[str, ...],
    features: str | None,
    keep: str | None,
    by: str | None,
    strategy: tuple[str, ...],
    params: dict[str, Any],
    class_balance: str | None,
    min_per_class: int | None,
    max_per_group: int | None,
    drop_likely: bool | None,  # noqa: FBT001 - click's
    relabel: bool | None,  # noqa: FBT001 - click's
    seed: int | None,
    name: str | None,
    tag: str | None,
    store: str,
    source: str | None,
    order: str | None,
    push: str | None,
    private: bool | None,  # noqa: FBT001 - click's
    what_if: str | None,
    *,
    view: bool,
    control: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Keep part of a scored source and build the version NAME@TAG of it.

    What is not given comes from the recipe the scores were made with. Versions never change: the
    same command again finds the version built, another one needs another tag.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, talk, warn
    from dataprune.selection._quotas import parse_keep

    decides: dict[str, Any] = {
        "by": by,
        "strategy": strategy or None,
        "params": params or None,
        "class_balance": class_balance,
        "min_per_class": min_per_class,
        "max_per_group": max_per_group,
        "drop_likely": drop_likely,
        "seed": seed,
        "extra": extra,
        "features": features,
    }
    if what_if is not None:
        _compare(ctx, scores, what_if, decides, as_json=as_json)
        return
    if name is None or tag is None:
        missing = " and ".join(o for o, v in (("--name", name), ("--tag", tag)) if v is None)
        raise click.UsageError(f"{missing} of the version to build is missing", ctx)
    with talk(quiet=as_json):
        result = flow.prune(
            scores,
            name=name,
            tag=tag,
            keep=None if keep is None else parse_keep(keep),
            relabel=relabel,
            source=source,
            store=store,
            view=view,
            order=order,  # type: ignore[arg-type]  # click has checked it
            control=control,
            push=push,
            private=private,
            dry_run=dry_run,
            **decides,
        )
    warn(result.warnings)
    if as_json:
        emit_json(_summary(result))
    else:
        _show(result, f"{name}@{result.tag}", dry_run=dry_run)


def _compare(
    ctx: click.Context, scores: str, budgets: str, decides: dict[str, Any], *, as_json: bool
) -> None:
    """What would be kept at several budgets."""
    from dataprune.cli import _what_if
    from dataprune.cli.output import emit_json
    from dataprune.selection._quotas import parse_keep
    from dataprune.selection._what_if import what_if

    _what_if.check_no_effect(ctx)
    keeps = [parse_keep(text.strip(), "--what-if") for text in budgets.split(",")]
    found = what_if(scores, keeps, **decides)
    if as_json:
        emit_json(_what_if.summary(found))
    else:
        _what_if.show(found)


def _summary(result: Any) -> dict[str, Any]:
    return {
        "steps": [vars(step) for step in result.choice.before],
        "strategy": result.choice.strategy,
        "by": result.by,
        "params": result.choice.params,
        "class_balance": result.choice.balance,
        "max_per_group": result.choice.max_per_group,
        "drop_likely": result.choice.drop_likely,
        "relabel": result.choice.relabel,
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "classes": result.classes,
        "reasons": result.reasons,
        "waterfall": [vars(stage) for stage in result.waterfall],
        "relabelled": result.relabelled,
        "warnings": result.warnings,
        "tag": result.tag,
        "created": result.created,
        "folder": result.folder,
        "control": result.control.version if result.control else None,
        "fingerprint": result.manifest.fingerprint if result.manifest else None,
        "published": [vars(made) for made in result.published],
    }


def _show(result: Any, version: str, *, dry_run: bool) -> None:
    from dataprune.cli.output import emit_table

    rows = [
        [name, c["source"], c["kept"], c["dropped"], f"{c['kept'] / c['source']:.1%}"]
        for name, c in result.classes.items()
        if c["source"] and list(result.classes) != ["all"]
    ]
    rows.append(
        ["all", result.rows_in, result.rows_out, result.rows_in - result.rows_out,
         f"{result.rows_out / result.rows_in:.1%}"]
    )  # fmt: skip
    by = f" by {result.by}" if result.by else ""
    balance = "" if result.choice.balance == "none" else f", {result.choice.balance} class quotas"
    steps = [*(step.strategy for step in result.choice.before), result.choice.strategy]
    title = f"{version}: {', '.join(steps)}{by}{balance}"
    if result.choice.keep is None:
        title = f"{version}: every row that is left{balance}"
    emit_table(title, ["class", "source", "kept", "dropped", "kept share"], rows)
    if len(result.waterfall) > 1:
        stages = [list(vars(stage).values()) for stage in result.waterfall]
        emit_table("Steps", ["step", "rows in", "dropped", "left"], stages)
    reasons = ", ".join(f"{reason} {count}" for reason, count in result.reasons.items())
    click.echo(f"reasons: {reasons}", err=True)
    if result.relabelled is not None:
        click.echo(f"suggested_label differs from the label in {result.relabelled} rows")
    if dry_run:
        click.echo("dry run: nothing was built", err=True)
        return
    click.echo(f"{version} {'built' if result.created else 'was there already'}", err=True)
    if result.control:
        click.echo(f"control: {result.control.version}", err=True)
    for made in result.published:
        word = "published" if made.created else "was there already"
        click.echo(f"{made.repo}@{made.tag} {word}: {made.url}", err=True)
    click.echo(str(result.folder))
