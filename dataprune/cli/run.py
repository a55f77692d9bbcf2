"""`dataprune run`: the next version of a recipe, with nobody watching."""

from __future__ import annotations

from typing import Any

import click

from dataprune.cli.options import (
    address_option,
    json_option,
    private_option,
    runner_option,
    source_option,
    store_option,
)


@click.command("run")
@click.argument("recipe", metavar="RECIPE")
@source_option
@click.option(
    "--work", type=click.Path(file_okay=False),
    help="Keeps units, scores and the last outcome; default: .dataprune/releases/NAME.",
)  # fmt: skip
@store_option
@click.option(
    "--push", is_flag=False, flag_value="", metavar="[ORG/REPO]",
    help="Publish a tagged version, and its control, to the Hub; without a name to the recipe's.",
)  # fmt: skip
@private_option
@runner_option
@address_option
@click.option(
    "--accept", is_flag=True,
    help="Tag the last run's candidate in spite of the gates that it failed.",
)  # fmt: skip
@json_option
def command(
    recipe: str,
    source: str | None,
    work: str | None,
    store: str,
    push: str | None,
    private: bool | None,  # noqa: FBT001 - click's
    runner: str | None,
    address: str | None,
    *,
    accept: bool,
    as_json: bool,
) -> int:
    """Make the next version of RECIPE: for a scheduler, safe to start at any time.

    Where source and recipe are as they were, nothing is done. Else the source is scored, the
    version has to pass the gates of the recipe's section `release`, and it gets the next tag. A
    version that fails a gate is built as a candidate, not tagged, never sent, and the exit code is
    3. While another run works in the same folder the exit code is 4.
    """
    from dataprune.cli.output import emit_json, talk, warn
    from dataprune.releasing.run import run

    with talk(quiet=as_json) as on_progress:
        result = run(
            recipe,
            source=source,
            work=work,
            store=store,
            push=push,
            private=private,
            runner=runner,
            address=address,
            accept=accept,
            on_progress=on_progress,
        )
    warn(result.warnings)
    if as_json:
        emit_json(_summary(result))
    else:
        _show(result, recipe)
    return int(result.exit_code)


def _summary(result: Any) -> dict[str, Any]:
    return {
        "name": result.name,
        **result.outcome.model_dump(mode="json"),
        "unchanged": result.unchanged,
        "created": result.created,
        "folder": result.folder,
        "work": result.work,
        "trained": result.trained,
        "published": [vars(made) for made in result.published],
        "notes": result.notes,
        "warnings": result.warnings,
    }


def _show(result: Any, recipe: str) -> None:
    from dataprune.cli.output import emit_table

    outcome = result.outcome
    version = f"{result.name}@{result.tag}"
    rows = [
        [g.name, g.value, g.threshold, _verdict(g, outcome.accepted), g.told] for g in result.gates
    ]
    emit_table(f"Gates of {version}", ["gate", "value", "threshold", "passed", ""], rows)
    for note in result.notes:
        click.echo(note, err=True)
    carried = f", {outcome.carried} scored before" if outcome.carried else ""
    share = f"{outcome.rows_out} of {outcome.rows_in} rows{carried}"
    if result.unchanged:
        click.echo("unchanged: source and recipe are as they were, nothing was done", err=True)
    if result.status == "candidate":
        failed = ", ".join(_failed(gate) for gate in result.failed)
        click.echo(f"candidate, not tagged: {share}; failed: {failed}", err=True)
        if outcome.complete:
            click.echo(f"To tag it all the same: dataprune run {recipe} --accept", err=True)
    else:
        word = "tagged" if result.created else "stands"
        click.echo(f"{version} {word}: {share}", err=True)
    for made in result.published:
        word = "published" if made.created else "was there already"
        click.echo(f"{made.repo}@{made.tag} {word}: {made.url}", err=True)
    click.echo(str(result.folder))


def _verdict(gate: Any, accepted: list[str]) -> str:
    if gate.passed:
        return "yes"
    return "no, accepted" if gate.name in accepted else "NO"


def _failed(gate: Any) -> str:
    if gate.value is None:
        return f"{gate.name} ({gate.told})"
    return f"{gate.name} ({gate.value:.4f} is below {gate.threshold:g})"
