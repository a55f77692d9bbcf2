"""Stage 2: observations and other roles that the agent made up.

A model trained on runs writes what the environment would say, and goes on from there: 879 of 4,068
runs of MINT have it. What only the environment writes is listed by the dialect.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import ACTIONS, Dialect, Parsed, Turn
from dataprune.trajectories.rules import Code, Reason, Rule

FABRICATED_OBS = "F_FABRICATED_OBS"


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    dialect = parsed.dialect
    if not dialect.environment:
        return
    for turn in parsed.turns:
        place = _made_up(turn, dialect)
        if place is not None:
            start, end = place
            yield Reason(FABRICATED_OBS, turn.step, start, end, "a line of the environment")


def _made_up(turn: Turn, dialect: Dialect) -> tuple[int, int] | None:
    """The first line that only the environment writes; None if there is none."""
    content = turn.message.content
    begin = _behind_prefix(content, dialect)
    if dialect.after_action:
        ends = [p.end for p in turn.pieces if p.is_closed and p.kind != "think"]
        if not ends:
            return None
        begin = max(begin, ends[0])
    starts = [place for mark in dialect.environment for place in _lines(content, mark, begin)]
    hidden = [] if dialect.after_action else _hidden(turn, dialect)
    for start in sorted(starts):
        while hidden and hidden[0][1] <= start:
            hidden.pop(0)
        if not hidden or start < hidden[0][0]:
            end = content.find("\n", start)
            return start, len(content) if end < 0 else end
    return None


def _hidden(turn: Turn, dialect: Dialect) -> list[tuple[int, int]]:
    """Complete thoughts and actions, from left to right: what they quote is made up by nobody."""
    return [
        (p.start, p.end)
        for p in turn.pieces
        if p.is_closed and (p.kind in ACTIONS or (p.kind == "think" and dialect.think_hides))
    ]


def _behind_prefix(content: str, dialect: Dialect) -> int:
    """Where a message begins, behind a prefix that means nothing."""
    begin = len(content) - len(content.lstrip())
    for prefix in dialect.prefixes:
        if content.startswith(prefix, begin):
            return begin + len(prefix)
    return 0


def _lines(content: str, mark: str, begin: int) -> Iterator[int]:
    """Starts of lines that a mark begins; the place to begin at counts as the start of one."""
    if content.startswith(mark, begin):
        yield begin
    place = content.find("\n" + mark, begin)
    while place >= 0:
        yield place + 1
        place = content.find("\n" + mark, place + 1)


RULE = Rule(
    name="fabrication",
    codes={
        FABRICATED_OBS: Code(
            "fabrication", "reject", "the agent writes what only the environment writes"
        )
    },
    check=_check,
    cost=2,
)
