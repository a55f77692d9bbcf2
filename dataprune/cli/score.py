"""`dataprune score`: train the probes, write one score table."""

from __future__ import annotations

from typing import Any

import click

from dataprune.cli.options import address_option, json_option, runner_option, scoring_options

_WIDEST = 10  # scores in a square of correlations


@click.command("score")
@click.argument("recipe", metavar="RECIPE|SOURCE")
@scoring_options
@click.option("--work", type=click.Path(file_okay=False), help="Run folder; keeps finished units.")
@click.option("--out", type=click.Path(dir_okay=False), help="Score table to write.")
@click.option(
    "--traces", type=click.Path(file_okay=False),
    help="Score the traces recorded under this folder; trains nothing.",
)  # fmt: skip
@runner_option
@address_option
@json_option
def command(
    recipe: str,
    source: str | None,
    inputs: tuple[str, ...],
    label: str | None,
    embedding: str | None,
    task: str | None,
    scores: tuple[str, ...],
    flags: tuple[str, ...],
    features: bool | None,  # noqa: FBT001 - click's
    at: list[int] | None,
    seeds: int | None,
    work: str | None,
    out: str | None,
    traces: str | None,
    runner: str | None,
    address: str | None,
    *,
    as_json: bool,
) -> int:
    """Train multi-seed probes on RECIPE's source and score every example.

    RECIPE is a shipped recipe (digits, fashion_mnist, trec, cifar10_data_diet), a YAML file, or
    data scored with the default recipe: a file, folder, glob or URL of Parquet, Arrow, CSV, JSON
    Lines, images in class folders, WebDataset tars or a save_to_disk folder. Run again to add
    seeds or to go on after a stop: finished units are not trained again.

    With --traces, what dataprune.Recorder wrote in your own training is scored instead, by default
    at the last epoch that all traces have.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, talk, warn

    with talk(quiet=as_json) as on_progress:
        result = flow.score(
            recipe,
            source=source,
            inputs=inputs or None,
            label=label,
            embedding=embedding,
            task=task,
            scores=scores or None,
            flags=flags or None,
            features=features,
            at=at,
            seeds=seeds,
            work=work,
            out=out,
            traces=traces,
            runner=runner,
            address=address,
            on_progress=on_progress,
        )
    warn(result.warnings)
    if as_json:
        emit_json(_summary(result))
    else:
        _show(result)
    if result.status == "partial":
        warn([f"PARTIAL: {len(result.failed)} units are missing from {result.path}"])
        return 3
    return 0


def _summary(result: Any) -> dict[str, Any]:
    return {
        "scores": str(result.path),
        "work": str(result.work),
        "status": result.status,
        "source": result.source.uri,
        "num_rows": result.source.num_rows,
        "seeds": result.seeds,
        "trained": result.trained,
        "failed": [vars(outcome) for outcome in result.failed],
        "reliability": result.reliability,
        "between_scores": result.between,
        "advice": result.advice,
        "flags": result.flags,
        "flag_overlap": result.flag_overlap,
        "timing": [vars(t) for t in result.timing],
        "notes": result.notes,
        "warnings": result.warnings,
    }


def _show(result: Any) -> None:
    from dataprune.cli.flags import show_totals
    from dataprune.cli.output import emit_table

    rows = [
        [name, r["split_half_spearman"], r["reliability"], r["kept_half_overlap"]]
        for name, r in result.reliability.items()
    ]
    emit_table(
        f"Seed reliability at epoch {result.recipe.checkpoints[-1]} ({len(result.seeds)} seeds)",
        ["score", "split-half Spearman", "of all seeds (Spearman-Brown)", "hardest half in common"],
        rows,
    )
    _show_between(result)
    for sentence in result.advice:
        click.echo(sentence, err=True)
    for t in result.timing:
        click.echo(f"held-out {t.metric} at epoch {t.epoch}: {t.value:.4f}", err=True)
    for name, totals in result.flags.items():
        show_totals(name, totals)
    for rows in result.flag_overlap:
        a, b = rows["a"], rows["b"]
        told = f"{rows['both']} rows both, {rows['only_a']} {a} alone, {rows['only_b']} {b} alone"
        click.echo(f"{a} and {b}: {told}", err=True)
    click.echo(str(result.path))


def _show_between(result: Any) -> None:
    """How alike the scores rank, as a square, where it fits a screen."""
    from dataprune.cli.output import emit_table

    names = list(result.reliability)
    if not 2 <= len(names) <= _WIDEST:
        return
    found = {(pair["a"], pair["b"]): pair["spearman"] for pair in result.between}
    rows = [
        [a, *(1.0 if a == b else found.get((a, b), found.get((b, a))) for b in names)]
        for a in names
    ]
    emit_table("Spearman correlation between scores", ["", *names], rows)
