"""Rules: what is wrong with a trajectory, by code alone. One family a file, each defines `RULE`.

A rule is a pure function of a trajectory, its dialect (both in `Parsed`) and the settings; it gives
reasons with the message and the characters they are about. All rules run, so that overlaps show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.core.registry import Registry
from dataprune.trajectories import Message
from dataprune.trajectories.dialects import Parsed

Severity = Literal["reject", "flag", "repair", "undecided"]


@dataclass(frozen=True, slots=True)
class Code:
    """A code of the ledger: its stage, what it does to a trajectory unless told otherwise, why."""

    stage: str
    severity: Severity
    means: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding.

    step: place among the messages, None where it is about the whole. start, end: characters of that
        message's content, exclusive; of a tool call's arguments where `detail` says so.
    detail: for people, in a few words; never a quotation of what was found.
    score, threshold: the number behind it, and its limit.
    """

    code: str
    step: int | None = None
    start: int | None = None
    end: int | None = None
    detail: str = ""
    score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Rule:
    """A registered family of rules.

    codes: {code: what it is}. check: the reasons it finds. cost: cheap ones run first, by this.
    """

    name: str
    codes: Mapping[str, Code]
    check: Callable[[Parsed, RulesRecipe], Iterable[Reason]]
    cost: int = 5


def whole(code: str, step: int, message: Message, detail: str = "") -> Reason:
    """A reason about a message from end to end; without a span where the message has no text."""
    if not message.content:
        return Reason(code, step, detail=detail)
    return Reason(code, step, 0, len(message.content), detail)


def at_end(code: str, parsed: Parsed, detail: str = "") -> Reason:
    """A reason about the run, shown at its last turn; without a place where there is none."""
    if not parsed.turns:
        return Reason(code, detail=detail)
    turn = parsed.turns[-1]
    return whole(code, turn.step, turn.message, detail)


RULES: Registry[Rule] = Registry("dataprune.trajectories.rules", "RULE", "rule")
