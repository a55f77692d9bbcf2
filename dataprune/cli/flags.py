"""`dataprune flags`: labels that are probably wrong, from held-out probabilities of any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import json_option


@click.command("flags")
@click.option(
    "--probs", multiple=True, required=True, metavar="FILE", type=click.Path(dir_okay=False),
    help="Held-out probabilities, rows x classes, .npy or Parquet. Repeat: a vote each.",
)  # fmt: skip
@click.option(
    "--labels", required=True, metavar="FILE", type=click.Path(dir_okay=False),
    help="Given labels, .npy or Parquet.",
)  # fmt: skip
@click.option("--label-column", metavar="NAME", help="Column of a Parquet file of labels.")
@click.option("--logits", is_flag=True, help="The files hold logits.")
@click.option("--seed", default=0, show_default=True, help="Seed of planted errors.")
@click.option("--out", type=click.Path(dir_okay=False), help="Table of flags to write.")
@json_option
def command(
    probs: tuple[str, ...],
    labels: str,
    label_column: str | None,
    seed: int,
    out: str | None,
    *,
    logits: bool,
    as_json: bool,
) -> None:
    """Find labels that are probably wrong, from your own models' held-out probabilities.

    Each row of a FILE must come from a model that did not train on it (NaN in all columns if there
    is none). Columns of Parquet are classes by name; labels that are text are matched to them.
    """
    from dataprune.cli.output import emit_json, warn
    from dataprune.core.files import sha256_file
    from dataprune.flags._files import read_labels, read_probabilities
    from dataprune.flags.label_issue import flag_votes
    from dataprune.tables.scores import check_table_path

    target = None if out is None else check_table_path(out)
    votes, class_names = read_probabilities([Path(path) for path in probs])
    result = flag_votes(
        votes,
        read_labels(Path(labels), label_column),
        labels_name=labels,
        class_names=class_names,
        logits=logits,
        seed=seed,
    )
    warn(result.warnings)
    if target is not None:
        files = [{"file": path, "sha256": sha256_file(Path(path))} for path in (*probs, labels)]
        result.write(target, inputs=files)
    if as_json:
        told = {**result.totals, "class_names": class_names, "warnings": result.warnings}
        emit_json({**told, "flags": out})
        return
    _show(result.totals)
    if out is not None:
        click.echo(out)


def _show(totals: dict[str, Any]) -> None:
    from dataprune.cli.output import emit_table

    n, tiers, rate = totals["rows"], totals["tiers"], totals["noise_rate"]
    planted = totals["planted_recall"]
    parts = [f"{_share(rate[k])} {k}" for k in ("agreement", "confident_joint", "mean_q")]
    rows = [
        ["likely wrong", f"{tiers['likely']} rows", _share(tiers["likely"] / n)],
        ["suspect", f"{tiers['suspect']} rows", _share(tiers["suspect"] / n)],
        ["noise rate", f"{_share(rate['low'])} to {_share(rate['high'])}", ", ".join(parts)],
        ["votes agree", _share(totals["agreement"]), f"{totals['votes']} votes"],
        [
            "planted errors found, at most",
            _share(planted["random"]),
            f"{_share(planted['transition'])} of errors like the estimated ones",
        ],
    ]
    rows += [
        ["often confused", f"{c['given']}, truly {c['true']}", f"about {c['rows']:.0f} rows"]
        for c in totals["confusions"][:3]
    ]
    title = f"Labels of {n} rows in {totals['classes']} classes"
    emit_table(title, ["what", "estimate", "detail"], rows)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
