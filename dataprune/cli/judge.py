"""`dataprune judge`: what a language model as a judge is worth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprune.cli.options import json_option

if TYPE_CHECKING:
    from dataprune.core.recipe_curate import JudgeRecipe
    from dataprune.trajectories.judge.calibrate import Rate

_ROWS = {
    "agreement": "agreement",
    "false_accept": "false accepts, of what people reject",
    "false_reject": "false rejects, of what people accept",
    "label_noise": "label noise, of what the judge accepts",
    "undecided": "undecided",
}


@click.group("judge")
def command() -> None:
    """Judges: language models that say what code cannot tell of an agent's run."""


@command.command("calibrate")
@click.argument("human", type=click.Path(exists=True, dir_okay=False), metavar="HUMAN.jsonl")
@click.option("--recipe", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="Curation recipe whose section judge has the settings.")  # fmt: skip
@click.option("--base-url", metavar="URL", help="Of the server, such as http://127.0.0.1:8000/v1.")
@click.option("--model", help="As the server calls it.")
@click.option("--key-env", metavar="NAME", help="Environment variable with the key.")
@click.option("--votes", type=click.IntRange(min=1), help="Replies for each question.")
@click.option("--max-cost", type=click.FloatRange(min=0), help="Refuse to begin above it.")
@click.option("--work", default=".dataprune/judge", show_default=True,
              type=click.Path(file_okay=False), help="Folder where replies are kept.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the order of answers.")
@json_option
def calibrate_command(
    human: str, recipe: str | None, work: str, seed: int, *, as_json: bool, **given: Any
) -> None:
    """Compare the judge with the human verdicts in HUMAN.jsonl.

    \b
    {"question": ..., "answers": [...], "human": true}
    {"question": ..., "answer": ..., "reference": ..., "human": false}
    {"question": ..., "transcript": ..., "human": true}
    """  # noqa: D301 - the backspace tells click to keep the lines
    from dataprune.cli.output import emit_json, emit_table, talk
    from dataprune.core.errors import PartialError
    from dataprune.trajectories.judge.calibrate import calibrate, read_human
    from dataprune.trajectories.judge.judge import Judge

    settings = _settings(
        recipe, {name: value for name, value in given.items() if value is not None}
    )
    verdicts = read_human(Path(human))
    with talk(quiet=as_json) as on_progress:
        judge = Judge(settings, Path(work), seed, on_progress=on_progress)
        before = judge.preview(verdicts.items)
        if not as_json:
            click.echo(
                f"{before.calls} calls, {before.cached} replies cached: about {before.tokens_in} "
                f"tokens in, at most {before.tokens_out} out, at most {before.cost:.4g}",
                err=True,
            )
        found = calibrate(judge, verdicts)
    if as_json:
        told = {"model": settings.model, "votes": settings.votes, **dataclasses.asdict(found)}
        emit_json({**told, "spent": dataclasses.asdict(judge.spent)})
    else:
        spent = judge.spent
        rows = [[title, *_row(getattr(found, name))] for name, title in _ROWS.items()]
        header = ["", "n", "of", "share", "95 % from", "to"]
        emit_table(f"{settings.model} on {found.task}, {human}", header, rows)
        click.echo(
            f"{spent.calls} calls, {spent.tokens_in} tokens in, {spent.tokens_out} out, "
            f"cost {spent.cost:.4g}",
            err=True,
        )
    share = found.undecided.share or 0.0
    if share > settings.max_undecided:
        raise PartialError(
            f"{share:.1%} of verdicts are undecided, above max_undecided "
            f"{settings.max_undecided:.1%}{f': {judge.stopped}' if judge.stopped else ''}",
            hint="what is undecided is in no other figure; ask again, or use a stronger model",
        )


def _settings(recipe: str | None, given: dict[str, Any]) -> JudgeRecipe:
    """The recipe's section with what the line says instead."""
    from dataprune.core.recipe_curate import CurateRecipe, JudgeRecipe
    from dataprune.core.recipe_file import read_yaml, validate

    if recipe is None:
        return validate(JudgeRecipe, given, where="the command line")
    section = validate(CurateRecipe, read_yaml(Path(recipe)), where=recipe).judge
    return validate(JudgeRecipe, section.model_dump(exclude_unset=True) | given, where=recipe)


def _row(rate: Rate) -> list[object]:
    return [rate.hits, rate.trials, rate.share, rate.low, rate.high]
