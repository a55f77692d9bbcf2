"""Refuse scores that this run cannot give, before anything is trained: one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.plan import holds_out_folds
from dataprune.scores import SCORES, Score
from dataprune.scores._removals import OF_MEMORIZED
from dataprune.sources._load import Loaded


def find_scores(*lists: Sequence[str]) -> list[Score]:
    """Registered scores by name, once each.

    Raises:
        UsageError: there is no such score; an epoch was written into its name.
    """
    names = list(dict.fromkeys(name for names in lists for name in names))
    for name in names:
        score, at, epoch = name.partition("@")
        if at and score in SCORES.names():
            raise UsageError(
                f"score {name} has an epoch in its name",
                hint=f"name the score and say when: --score {score} --at {epoch or 'EPOCH'}",
            )
    return [SCORES.get(name) for name in names]


def check_scores(recipe: Recipe, loaded: Loaded, wanted: Sequence[Score]) -> None:
    """Refuse scores that need held-out rows or windows of epochs where there are none.

    Raises:
        UsageError: the score, what it needs, and what to set.
    """
    if not {score.name for score in wanted} & set(OF_MEMORIZED):
        for key, default in (("removal", "directions"), ("layer", None)):
            if (value := getattr(recipe.scores, key)) != default:
                raise UsageError(
                    f"scores.{key} is {value}, and no score that is asked for removes anything",
                    hint=f"ask for {', '.join(OF_MEMORIZED)}, or leave it out",
                )
    for score in wanted:
        if score.over != "in_sample":
            _check_held_out(recipe, loaded, score)
        if score.windowed:
            _check_window(recipe, score)
        if recipe.scores.window < score.least_window:
            raise UsageError(
                f"score {score.name} is 0 for every row with windows of {recipe.scores.window} "
                "epochs",
                hint=f"set scores.window to {score.least_window} or more",
            )


def _check_held_out(recipe: Recipe, loaded: Loaded, score: Score) -> None:
    folds = recipe.holdout.folds
    needs = f"score {score.name} needs every row held out by some seed"
    if recipe.scores.mode == "train":
        raise UsageError(
            f"{needs}, and training steps never show such a row",
            hint="set scores.mode: eval, or leave it out",
        )
    if not holds_out_folds(recipe, loaded):
        raise UsageError(
            f"{needs}, and with a test split no seed holds rows out",
            hint="set holdout: {folds: 4, repeats: 3} in the recipe, which trains 12 seeds, or "
            "leave it out",
        )
    if recipe.seeds < folds:
        raise UsageError(
            f"{needs}: with {folds} folds that takes {folds} seeds, and there are {recipe.seeds}",
            hint=f"use --seeds {folds}, set holdout.folds and holdout.repeats, or leave it out",
        )


def _check_window(recipe: Recipe, score: Score) -> None:
    """Refuse a score over windows of epochs where a checkpoint comes before the first whole one."""
    window, first = recipe.scores.window, min(recipe.checkpoints)
    asked = f"score {score.name} looks at windows of {window} epochs, and is asked for at epoch"
    later = f"score at epoch {window} or later, or lower scores.window (default 10)"
    if first < window:
        raise UsageError(f"{asked} {first}", hint=later)
    if recipe.scores.mode == "train" and first == window:
        raise UsageError(
            f"{asked} {first}; in mode train a row misses an epoch when it falls out of a last "
            "batch, and would have no window",
            hint=later.replace(f"epoch {window}", f"epoch {window + 1}"),
        )
