"""Replies of a judge: exactly one JSON object of exactly the fields asked for, or of no use.

Nothing is guessed from text around the object, from a near miss or from half a reply.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataprune.trajectories.judge.verdicts import (
    RUBRIC,
    CategoryItem,
    CorrectnessItem,
    EquivalenceItem,
    Item,
    QualityItem,
)
from dataprune.trajectories.taxonomy import CATEGORIES


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server sent: content "" where there was none; finish as it calls it, None if not."""

    content: str
    finish: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A reply, read. value: None if it is of no use, and then `problem` says why."""

    value: bool | str | tuple[int, ...] | None
    problem: str | None = None
    reasoning: str = ""
    score: float | None = None


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    reasoning: str


class _Pair(_Fields):
    equivalent: bool


class _Classes(_Fields):
    classes: list[int]


class _Correct(_Fields):
    correct: bool


class _Category(_Fields):
    category: Literal[CATEGORIES]  # type: ignore[valid-type]


_Share = Annotated[float, Field(ge=0, le=1)]


class _Quality(_Fields):
    executability: _Share
    answer: _Share
    alignment: _Share
    technique: _Share


def read_reply(reply: Reply, item: Item, order: tuple[int, ...], *, quality: float) -> Read:
    """Read a verdict on an item.

    order: position shown -> place in the item's answers. quality: least score of a good run.
    """
    if reply.refusal:
        return Read(None, "the judge refused")
    if reply.finish == "length":
        return Read(None, "the reply was cut off")
    if reply.finish not in {"stop", "eos_token", None}:  # the second is TGI's
        return Read(None, "the reply did not end well")
    try:
        # The server's type check may be none at all, so that ours is the one that counts.
        data = json.loads(reply.content, object_pairs_hook=_object_once, parse_constant=_refuse)
        return _verdict(data, item, order, quality)
    except ValidationError:
        return Read(None, "the reply has other fields than asked for")
    except (ValueError, RecursionError):
        return Read(None, "the reply is not one JSON object")


def _verdict(data: Any, item: Item, order: tuple[int, ...], quality: float) -> Read:
    match item:
        case EquivalenceItem(_, (_, _)):
            pair = _Pair.model_validate(data)
            return Read((0, 0) if pair.equivalent else (0, 1), reasoning=pair.reasoning)
        case EquivalenceItem(_, answers):
            several = _Classes.model_validate(data)
            num = len(answers)
            if len(several.classes) != num or not all(1 <= c <= num for c in several.classes):
                return Read(None, "the reply does not have a class for each answer")
            found = [0] * num
            for shown, place in enumerate(order):
                found[place] = several.classes[shown]
            return Read(_by_appearance(found), reasoning=several.reasoning)
        case CorrectnessItem():
            correct = _Correct.model_validate(data)
            return Read(correct.correct, reasoning=correct.reasoning)
        case CategoryItem():
            category = _Category.model_validate(data)
            return Read(category.category, reasoning=category.reasoning)
        case QualityItem():
            graded = _Quality.model_validate(data)
            # Rounded, so that grades of .6 make .6 and not a hair less.
            score = round(sum(w * getattr(graded, name) for name, w in RUBRIC.items()), 6)
            return Read(score >= quality, reasoning=graded.reasoning, score=score)


def _by_appearance(labels: list[int]) -> tuple[int, ...]:
    """Any labels -> classes numbered by first appearance: [5, 2, 5] -> (0, 1, 0)."""
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)


def _object_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A field that is given twice says two things."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a field is given twice")
    return made


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
