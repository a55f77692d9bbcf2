"""`dataprune flags`: labels that are probably wrong, from stored units or own probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprune.cli.options import json_option

if TYPE_CHECKING:
    from dataprune.flags.label_issue import LabelFlags


@click.command("flags")
@click.argument("work", required=False, type=click.Path(file_okay=False))
@click.option(
    "--probs", multiple=True, metavar="FILE", type=click.Path(dir_okay=False),
    help="Held-out probabilities, rows x classes, .npy or Parquet. Repeat: a vote each.",
)  # fmt: skip
@click.option(
    "--labels", metavar="FILE", type=click.Path(dir_okay=False),
    help="Given labels, .npy or Parquet.",
)  # fmt: skip
@click.option("--label-column", metavar="NAME", help="Column of a Parquet file of labels.")
@click.option("--logits", is_flag=True, help="The files hold logits.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of planted errors. [default: 0]")
@click.option(
    "--rule", metavar="RULE", default="tiers", show_default=True,
    help="tiers, or cleanlab:FILTER to compare: cleanlab's verdict in place of ours.",
)  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False), help="Table of flags to write.")
@json_option
def command(
    work: str | None,
    probs: tuple[str, ...],
    labels: str | None,
    label_column: str | None,
    seed: int | None,
    rule: str,
    out: str | None,
    *,
    logits: bool,
    as_json: bool,
) -> int:
    """Find labels that are probably wrong: in the run folder WORK, or by your own models' word.

    WORK is where `dataprune score --flag label_issue` kept its units; nothing is trained again.

    With --probs and --labels, each row of a FILE must come from a model that did not train on it
    (NaN in all columns if there is none). Columns of Parquet are classes by name; labels that are
    text are matched to them.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, talk, warn

    if work is not None:
        own = {
            "--probs": probs or None, "--labels": labels, "--label-column": label_column,
            "--logits": logits or None, "--seed": seed,
        }  # fmt: skip
        for option, value in own.items():
            if value is not None:
                raise click.UsageError(f"{option} has no effect with {work}: its units say it")
        with talk(quiet=as_json):
            result = flow.flag(work, rule=rule, out=out)
    else:
        result = _from_files(probs, labels, label_column, seed or 0, rule, out, logits=logits)
    warn(result.warnings)
    if as_json:
        told = {**result.totals, "class_names": result.class_names, "warnings": result.warnings}
        emit_json({**told, "flags": out})
    else:
        show_totals("label_issue", result.totals)
        if out is not None:
            click.echo(out)
    return 3 if result.is_partial else 0


def _from_files(
    probs: tuple[str, ...],
    labels: str | None,
    label_column: str | None,
    seed: int,
    rule: str,
    out: str | None,
    *,
    logits: bool,
) -> LabelFlags:
    from dataprune.core.files import sha256_file
    from dataprune.flags._files import read_labels, read_probabilities
    from dataprune.flags.label_issue import flag_votes
    from dataprune.tables.flags import check_flags_path

    if not probs or labels is None:
        raise click.UsageError(
            "give WORK, the run folder of a scoring, or --probs and --labels, files of your own"
        )
    target = None if out is None else check_flags_path(out)
    votes, class_names = read_probabilities([Path(path) for path in probs])
    result = flag_votes(
        votes,
        read_labels(Path(labels), label_column),
        labels_name=labels,
        class_names=class_names,
        logits=logits,
        seed=seed,
        rule=rule,
    )
    if target is not None:
        files = [{"file": path, "sha256": sha256_file(Path(path))} for path in (*probs, labels)]
        result.write(target, inputs=files)
    return result


def show_totals(name: str, totals: dict[str, Any]) -> None:
    """Totals of a flag as a table for people."""
    from dataprune.cli.output import emit_table
    from dataprune.flags import FLAGS

    title, rows = FLAGS.get(name).tell(totals)
    emit_table(title, ["what", "estimate", "detail"], rows)
