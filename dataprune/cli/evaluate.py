"""`dataprune evaluate`: does training on part of the rows hold up, and does it pay?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprune.cli.options import (
    address_option,
    json_option,
    runner_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from dataprune.evaluation.outcome import EvaluationResult

_DEFAULT_STORE = ".dataprune/store"


@click.command("evaluate")
@click.argument("name", metavar="NAME|SCORES.parquet")
@click.argument("tags", nargs=-1, metavar="[TAG]...")
@click.option(
    "--seeds", type=click.IntRange(min=1),
    help="Retrainings per arm; default: 3, or as the recipe says.",
)  # fmt: skip
@click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME[:PARAM=VALUE,...]",
    help="Of scores: how to choose, such as window:skip_hardest=0.1, or auto. Repeat to compare.",
)  # fmt: skip
@click.option(
    "--keep", metavar="KEEP,...", help="Of scores: fractions or counts, such as 0.7,0.3,0.1."
)
@click.option("--by", metavar="NAME", help="Of scores: the column, such as el2n or el2n@10.")
@click.option(
    "--class-balance", type=click.Choice(["none", "proportional", "equal"]),
    help="Of scores: quotas per class.",
)  # fmt: skip
@click.option(
    "--with", "extra", multiple=True, metavar="FLAGS.parquet", type=click.Path(dir_okay=False),
    help="Of scores: flags or further scores of the same source. Repeat.",
)  # fmt: skip
@click.option(
    "--protocol", type=click.Choice(["fixed_steps", "fixed_epochs"]),
    help="As many steps for every arm, or as many epochs over its own rows.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), help="Steps, with fixed_steps.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs, with fixed_epochs.")
@click.option("--model", metavar="NAME", help="Retrain this model, not the probe that scored.")
@click.option(
    "--baseline", "baselines", multiple=True, type=click.Choice(["rs2", "infobatch"]),
    help="Also select while training, for as many steps. Repeat.",
)  # fmt: skip
@click.option(
    "--choose", is_flag=True,
    help="Of scores: only let auto choose for each --keep, and print the line that prunes so.",
)  # fmt: skip
@click.option(
    "--pilot", type=click.FloatRange(min=0, min_open=True), metavar="TRAININGS",
    help="Of auto: at most as many steps as so many trainings on everything, for each --keep.",
)  # fmt: skip
@click.option(
    "--scored-in", type=click.Path(file_okay=False),
    help="Run folder that tells what scoring cost; default: the usual one, or beside the table.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False),
    help="Folder for results.json, table.md, curve.png and curve.svg.",
)  # fmt: skip
@store_option
@source_option
@click.option("--work", type=click.Path(file_okay=False), help="Run folder; keeps finished units.")
@click.option("--stream", is_flag=True, help="Read inputs from disk while training.")
@runner_option
@address_option
@json_option
def command(name: str, tags: tuple[str, ...], *, as_json: bool, **options: Any) -> int:
    """Retrain on part of the rows and on everything, and compare.

    With NAME TAG...: each version. A relabelled one trains on its suggested_label; every arm is
    tested on labels as given.

    With SCORES.parquet: each --strategy at each --keep, without making a version of it.

    Beside each of them: as many random rows, random rows of the same classes, and everything, by
    one of two protocols, with a test against random and what scoring and retraining cost.

    Results come with 95 % intervals over seeds; gains are paired by seed. After an interruption
    run the same command again.
    """
    of_scores = name.endswith(".parquet") or (not tags and Path(name).is_file())
    if of_scores and tags:
        raise click.UsageError(f"{name} is a score table, and {tags[0]} the tag of a version")
    if not of_scores and not tags:
        raise click.UsageError("Missing argument 'TAG...' of the version")
    options["stream"] = options["stream"] or None
    options["baselines"] = options["baselines"] or None
    asked = {option: options.pop(option) or None for option in _OF_SCORES}
    if not of_scores:
        if given := [flag for option, flag in _OF_SCORES.items() if asked[option]]:
            raise click.UsageError(f"{given[0]} has no effect on versions: give SCORES.parquet")
        return _of_versions(name, tags, options, as_json)
    if options.pop("store") != _DEFAULT_STORE:
        raise click.UsageError("--store has no effect on a score table")
    asked |= options
    return (_choose if asked.pop("choose") else _of_scores)(name, asked, as_json)


_OF_SCORES = {
    "strategies": "--strategy", "keep": "--keep", "by": "--by", "class_balance": "--class-balance",
    "extra": "--with", "pilot": "--pilot", "choose": "--choose",
}  # fmt: skip
_NOT_OF_CHOOSING = {
    "strategies": "--strategy", "baselines": "--baseline", "seeds": "--seeds",
    "scored_in": "--scored-in", "out": "--out",
}  # fmt: skip


def _of_scores(name: str, options: dict[str, Any], as_json: bool) -> int:  # noqa: FBT001
    from dataprune.cli.output import talk
    from dataprune.evaluation.of_scores import evaluate_cells

    with talk(quiet=as_json) as on_progress:
        result = evaluate_cells(name, **_read(options), on_progress=on_progress)
    return _tell(result, options["out"], as_json)


def _of_versions(
    name: str,
    tags: tuple[str, ...],
    options: dict[str, Any],
    as_json: bool,  # noqa: FBT001
) -> int:
    from dataprune import flow
    from dataprune.cli.output import talk

    with talk(quiet=as_json) as on_progress:
        result = flow.evaluate(name, *tags, **options, on_progress=on_progress)
    return _tell(result, options["out"], as_json)


def _tell(result: EvaluationResult, out: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Print the table, what it means and what to mind."""
    from dataclasses import asdict

    from dataprune.cli.output import emit_json, emit_table, warn
    from dataprune.evaluation import report

    warn(result.warnings)
    if as_json:
        emit_json(asdict(result))
    else:
        emit_table(report.title_of(result), report.header_of(result), report.cells_of(result))
        for line in (*report.notes_of(result), *report.sentences_of(result)):
            click.echo(line)
    if out is not None:
        click.echo(f"written: {out}", err=True)
    if result.status == "partial":
        warn([f"PARTIAL: {result.failed} units are missing from these figures"])
        return 3
    return 0


def _read(options: dict[str, Any]) -> dict[str, Any]:
    """Options as `evaluate_cells` and `choose_strategies` take them."""
    from dataprune.selection._quotas import parse_keep

    keep, extra = options["keep"], options["extra"] or ()
    if keep is not None:
        keep = [parse_keep(word.strip()) for word in keep.split(",")]
    return {**options, "keep": keep, "extra": extra}


def _choose(name: str, options: dict[str, Any], as_json: bool) -> int:  # noqa: FBT001
    from dataclasses import asdict

    from dataprune.cli.output import emit_json, emit_table, talk, warn
    from dataprune.evaluation import telling
    from dataprune.evaluation.auto import choose_strategies

    for option, flag in _NOT_OF_CHOOSING.items():
        if options.pop(option):
            raise click.UsageError(f"{flag} has no effect with --choose")
    with talk(quiet=as_json) as on_progress:
        chosen = choose_strategies(name, **_read(options), on_progress=on_progress)
    warn(list(dict.fromkeys(told for each in chosen for told in each.warnings)))
    if as_json:
        emit_json([asdict(each) for each in chosen])
    else:
        title = f"{chosen[0].metric} of candidates in the pilot; * is chosen"
        emit_table(title, *telling.table_of(chosen))
        for line in telling.sentences_of(chosen):
            click.echo(line)
    if failed := sum(each.failed for each in chosen):
        warn([f"PARTIAL: {failed} trainings of the pilot failed"])
        return 3
    return 0
