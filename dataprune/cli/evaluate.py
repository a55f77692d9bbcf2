"""`dataprune evaluate`: does training on the version hold up?"""

from __future__ import annotations

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


@click.command("evaluate")
@click.argument("name")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Retrainings per arm."
)
@store_option
@source_option
@click.option("--work", type=click.Path(file_okay=False), help="Run folder; keeps finished units.")
@click.option("--stream", is_flag=True, help="Read inputs from disk while training.")
@runner_option
@address_option
@json_option
def command(
    name: str,
    tags: tuple[str, ...],
    seeds: int,
    store: str,
    source: str | None,
    work: str | None,
    runner: str | None,
    address: str | None,
    *,
    stream: bool,
    as_json: bool,
) -> int:
    """Retrain the probe on NAME@TAG, its control and the full data, for equally many steps.

    A relabelled version trains on its suggested_label; every arm is tested on labels as given.

    Accuracies come with 95 % intervals over seeds; gains are paired by seed.
    """
    from dataprune import flow
    from dataprune.cli.output import emit_json, emit_table, talk, warn

    with talk(quiet=as_json) as on_progress:
        result = flow.evaluate(
            name,
            *tags,
            seeds=seeds,
            store=store,
            source=source,
            work=work,
            runner=runner,
            address=address,
            stream=stream or None,
            on_progress=on_progress,
        )
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
        header = ["arm", "rows", "seeds", result.metric, "gain over full", "gain over control"]
        key = result.metric_key
        scale, unit = (1, "") if key == "r2" else (100, " in %")
        rows = [
            [r["arm"], r["num_rows"], r["seeds"], *(_shown(r, k, scale) for k in
             (key, "gain_over_full", "gain_over_control"))]
            for r in result.rows
        ]  # fmt: skip
        title = (
            f"{name}: {result.metric}{unit} after {result.num_steps} steps, on "
            f"{result.num_test_rows} rows "
            f"({result.held_out}); 95 % intervals over seeds, not over test rows"
        )
        emit_table(title, header, rows)
        if relabelled := [r["arm"] for r in result.rows if r["labels"] != "given"]:
            click.echo(
                f"trained on suggested_label: {', '.join(relabelled)}; every arm is tested on "
                "labels as given"
            )
    if result.status == "partial":
        warn([f"PARTIAL: {len(result.failed)} units are missing from these figures"])
        return 3
    return 0


def _shown(row: dict[str, Any], key: str, scale: int) -> str | None:
    if key not in row:
        return None
    half = row[f"{key}_half_width"]
    sign = "+" if key.startswith("gain") else ""
    spread = "" if half is None else f" +- {scale * half:.2f}"
    return f"{scale * row[key]:{sign}z.2f}{spread}"
