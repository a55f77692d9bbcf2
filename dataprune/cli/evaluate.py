"""`dataprune evaluate`: does training on part of the rows hold up, and does it pay?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dataprune.cli.options import (
    address_option,
    json_option,
    runner_option,
    source_option,
    store_option,
)

_FEW_STEPS = 100
_TRAIN_LONGER = (
    "before you believe this, raise probe.schedule_epochs or lower probe.batch_size and score again"
)
_SEEDS = 3
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
    help="Of scores: as many steps for every arm, or as many epochs over its own rows.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), help="Of scores: steps, with fixed_steps.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of scores: epochs, with fixed_epochs.")
@click.option(
    "--model", metavar="NAME", help="Of scores: retrain this model, not the probe that scored."
)
@click.option(
    "--baseline", "baselines", multiple=True, type=click.Choice(["rs2", "infobatch"]),
    help="Of scores: also select while training, for as many steps. Repeat.",
)  # fmt: skip
@click.option(
    "--choose", is_flag=True,
    help="Of scores: only let auto choose for each --keep, and print the line that prunes so.",
)  # fmt: skip
@click.option(
    "--pilot", type=click.FloatRange(min=0, min_open=True), metavar="TRAININGS",
    help="Of auto: at most as many steps as so many trainings on everything (3), for each --keep.",
)  # fmt: skip
@click.option(
    "--scored-in", type=click.Path(file_okay=False),
    help="Of scores: run folder that tells what scoring cost; default: beside the table.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False),
    help="Of scores: folder for results.json, table.md, curve.png and curve.svg.",
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

    With NAME TAG...: the version, its control and the full data, for equally many steps. A
    relabelled version trains on its suggested_label; every arm is tested on labels as given.

    With SCORES.parquet: each --strategy at each --keep beside random rows and the full data, by
    one of two protocols, with a test against random and what scoring and retraining cost.

    Results come with 95 % intervals over seeds; gains are paired by seed. After an interruption
    run the same command again.
    """
    of_scores = name.endswith(".parquet") or (not tags and Path(name).is_file())
    if of_scores and tags:
        raise click.UsageError(f"{name} is a score table, and {tags[0]} the tag of a version")
    if not of_scores and not tags:
        raise click.UsageError("Missing argument 'TAG...' of the version")
    used = {"seeds", "source", "work", "runner", "address", "stream"}
    if not of_scores:
        used.add("store")
        given = [o for o in _OF_SCORES if options[o]]
        if given:
            flag = _OF_SCORES[given[0]]
            raise click.UsageError(f"{flag} has no effect on versions: give SCORES.parquet")
    elif options["store"] != _DEFAULT_STORE:
        raise click.UsageError("--store has no effect on a score table")
    shared = {key: options[key] for key in used}
    shared["stream"] = options["stream"] or None
    if of_scores:
        asked = {**shared, **{o: options[o] or None for o in _OF_SCORES}}
        return (_choose if asked.pop("choose") else _of_scores)(name, asked, as_json)
    shared["seeds"] = options["seeds"] or _SEEDS
    return _of_versions(name, tags, shared, as_json)


_OF_SCORES = {
    "strategies": "--strategy", "keep": "--keep", "by": "--by", "class_balance": "--class-balance",
    "extra": "--with", "protocol": "--protocol", "steps": "--steps", "epochs": "--epochs",
    "model": "--model", "baselines": "--baseline", "scored_in": "--scored-in", "out": "--out",
    "pilot": "--pilot", "choose": "--choose",
}  # fmt: skip


def _of_scores(name: str, options: dict[str, Any], as_json: bool) -> int:  # noqa: FBT001
    from dataclasses import asdict

    from dataprune.cli.output import emit_json, emit_table, talk, warn
    from dataprune.evaluation import report
    from dataprune.evaluation.of_scores import evaluate_cells

    options = _read(options)
    with talk(quiet=as_json) as on_progress:
        result = evaluate_cells(name, **options, on_progress=on_progress)
    warn(result.warnings)
    if as_json:
        emit_json(asdict(result))
    else:
        emit_table(report.title_of(result), report.header_of(result), report.cells_of(result))
        for line in (*report.notes_of(result), *report.sentences_of(result)):
            click.echo(line)
    if options["out"] is not None:
        click.echo(f"written: {options['out']}", err=True)
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

    for option in ("strategies", "baselines", "seeds", "scored_in", "out"):
        if options.pop(option):
            flag = _OF_SCORES.get(option, "--seeds")
            raise click.UsageError(f"{flag} has no effect with --choose")
    with talk(quiet=as_json) as on_progress:
        chosen = choose_strategies(name, **_read(options), on_progress=on_progress)
    warn([told for each in chosen for told in each.warnings])
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


def _of_versions(
    name: str,
    tags: tuple[str, ...],
    options: dict[str, Any],
    as_json: bool,  # noqa: FBT001
) -> int:
    from dataprune import flow
    from dataprune.cli.output import emit_json, emit_table, talk, warn

    with talk(quiet=as_json) as on_progress:
        result = flow.evaluate(name, *tags, **options, on_progress=on_progress)
    if result.num_steps < _FEW_STEPS:
        warn([f"each arm trained for {result.num_steps} steps only; {_TRAIN_LONGER}"])
    if as_json:
        emit_json(
            {
                "name": name,
                "status": result.status,
                "held_out": result.held_out,
                "num_test_rows": result.num_test_rows,
                "num_steps": result.num_steps,
                "metric": result.metric,
                "arms": result.rows,
            }
        )
    else:
        emit_table(*_table(name, result))
        if relabelled := [r["arm"] for r in result.rows if r["labels"] != "given"]:
            click.echo(
                f"trained on suggested_label: {', '.join(relabelled)}; every arm is tested on "
                "labels as given"
            )
    if result.status == "partial":
        warn([f"PARTIAL: {len(result.failed)} units are missing from these figures"])
        return 3
    return 0


def _table(name: str, result: Any) -> tuple[str, list[str], list[list[Any]]]:
    """Title, header and rows of an evaluation of versions."""
    header = ["arm", "rows", "seeds", result.metric, "gain over full", "gain over control"]
    keys = [result.metric_key, "gain_over_full", "gain_over_control"]
    if any("worst_class" in row for row in result.rows):
        header.append("worst class")
        keys.append("worst_class")
    scale, unit = (1, "") if result.metric_key == "r2" else (100, " in %")
    rows = [
        [r["arm"], r["num_rows"], r["seeds"], *(_shown(r, key, scale) for key in keys)]
        for r in result.rows
    ]
    title = (
        f"{name}: {result.metric}{unit} after {result.num_steps} steps, on "
        f"{result.num_test_rows} rows "
        f"({result.held_out}); 95 % intervals over seeds, not over test rows"
    )
    return title, header, rows


def _shown(row: dict[str, Any], key: str, scale: int) -> str | None:
    if key not in row:
        return None
    half = row[f"{key}_half_width"]
    sign = "+" if key.startswith("gain") else ""
    spread = "" if half is None else f" +- {scale * half:.2f}"
    return f"{scale * row[key]:{sign}z.2f}{spread}"
