"""Strategies as they are typed for an evaluation: `window:offset=0.1`, `flagged->ccs:beta=0.1`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from dataprune.core.errors import UsageError
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection._choice import (
    Choice,
    Step,
    check_strategy,
    labels_of,
    make_choice,
    recipe_steps,
)

_THEN = "->"
_BY = "by"


@dataclass(frozen=True)
class Asked:
    """One strategy, or several steps in order, each with its parameters.

    label: as typed, without spaces; names cells.
    by: the score column it decides by; None for that of the whole evaluation.
    """

    label: str
    steps: tuple[Step, ...]
    by: str | None = None


def parse_strategy(text: str) -> Asked:
    """`NAME[:PARAM=VALUE[,PARAM=VALUE...]]`, several of them with `->` between.

    PARAM is a parameter of that step's own, or `by` of the last one: the score column to decide by.

    Raises:
        UsageError: it is not written so, or there is no such strategy or parameter.
    """
    label = "".join(text.split())
    *before, last = (_step(part, text) for part in label.split(_THEN))
    by = last.params.get(_BY)
    last = Step(last.strategy, {k: v for k, v in last.params.items() if k != _BY})
    steps = (*before, last)
    for step in steps:
        check_strategy(step.strategy, step.params)
    return Asked(label, steps, None if by is None else str(by))


def _step(part: str, text: str) -> Step:
    name, colon, rest = part.partition(":")
    params = {}
    for assignment in rest.split(",") if colon else []:
        key, equals, value = assignment.partition("=")
        if not (key and equals and value):
            raise UsageError(
                f"strategy {text!r} cannot be read", hint="write NAME:PARAM=VALUE,PARAM=VALUE"
            )
        try:
            params[key] = json.loads(value)
        except json.JSONDecodeError:
            params[key] = value
    if not name:
        raise UsageError(f"strategy {text!r} has no name", hint="such as hardest")
    return Step(name, params)


def recorded_strategy(prune: PruneRecipe) -> str:
    """What a recipe prunes by, as it would be typed."""
    return _THEN.join(_typed(step) for step in recipe_steps(prune))


def _typed(step: Step) -> str:
    params = ",".join(f"{key}={json.dumps(value)}" for key, value in step.params.items())
    return f"{step.strategy}:{params}" if params else step.strategy


def choice_of(
    asked: Asked, defaults: PruneRecipe, keep: float | int, balance: str | None
) -> Choice:
    """What to keep of a cell; class floors, group limits and seed are the recipe's.

    Raises:
        UsageError: steps that cannot follow each other, or none of them fills a budget.
    """
    others = {"strategy": asked.steps[-1].strategy, "params": {}, "steps": (), "relabel": False}
    names = [step.strategy for step in asked.steps]
    params = {
        f"{label}.{name}": value
        for label, step in zip(labels_of(names), asked.steps, strict=True)
        for name, value in step.params.items()
    }
    return make_choice(
        defaults.model_copy(update=others),
        keep=keep, strategy=names, params=params, balance=balance, min_per_class=None, seed=None,
    )  # fmt: skip
