"""Strategies as they are typed for an evaluation: `window:offset=0.1`, `flagged->ccs:beta=0.1`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection._decide import Choice, check_strategy, make_choice

_THEN = "->"


@dataclass(frozen=True)
class Asked:
    """One strategy, or several steps in order, each with its parameters.

    label: as typed, without spaces; names cells.
    """

    label: str
    steps: tuple[tuple[str, dict[str, Any]], ...]


def parse_strategy(text: str) -> Asked:
    """`NAME[:PARAM=VALUE[,PARAM=VALUE...]]`, several of them with `->` between.

    Raises:
        UsageError: it is not written so, or there is no such strategy or parameter.
    """
    label = "".join(text.split())
    steps = tuple(_step(part, text) for part in label.split(_THEN))
    if len(steps) > 1:
        raise UsageError(
            f"{text} has several steps, and a version is made by one strategy",
            hint="name one of them",
        )
    for name, params in steps:
        check_strategy(name, params)
    return Asked(label, steps)


def _step(part: str, text: str) -> tuple[str, dict[str, Any]]:
    name, colon, rest = part.partition(":")
    params = {}
    for assignment in rest.split(",") if colon else []:
        key, equals, value = assignment.partition("=")
        if not (key and equals and value):
            raise UsageError(
                f"strategy {text!r} cannot be read", hint="write NAME:PARAM=VALUE,PARAM=VALUE"
            )
        params[key] = _value(value)
    if not name:
        raise UsageError(f"strategy {text!r} has no name", hint="such as hardest")
    return name, params


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def recorded_strategy(prune: PruneRecipe) -> str:
    """The strategy that a recipe prunes by, as it would be typed."""
    params = ",".join(f"{key}={json.dumps(value)}" for key, value in prune.params.items())
    return f"{prune.strategy}:{params}" if params else prune.strategy


def choice_of(
    asked: Asked, defaults: PruneRecipe, keep: float | int, balance: str | None
) -> Choice:
    """What to keep of a cell; class floors, group limits and seed are the recipe's."""
    [(name, params)] = asked.steps
    plain = defaults.model_copy(update={"strategy": name, "params": params, "relabel": False})
    return make_choice(
        plain, keep=keep, strategy=None, params=None, balance=balance, min_per_class=None, seed=None
    )
