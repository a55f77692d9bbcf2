"""Void turns: the agent neither acts nor answers.

SimpleTIR masks the loss of a whole trajectory that has one (`void_turn_mask`), DataMind calls it
invalid. `rules.void` says how many are allowed and which kinds count.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterable, Iterator

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories.dialects import ACTIONS, Parsed, Turn, VoidKind
from dataprune.trajectories.rules import Code, Reason, Rule
from dataprune.trajectories.rules.termination import cause

VOID = "F_VOID_TURN"
_LONGEST_CODE = 100_000  # characters; longer code is taken as it is


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterable[Reason]:
    kinds = rules.void.kinds or parsed.dialect.void_kinds
    found = [reason for turn in parsed.turns for reason in _void(parsed, turn, kinds)]
    if rules.void.scope == "last_only":
        last = parsed.turns[-1].step if parsed.turns else None
        found = [reason for reason in found if reason.step == last]
    return found if len(found) > rules.void.max else []


def _void(parsed: Parsed, turn: Turn, kinds: tuple[VoidKind, ...]) -> Iterator[Reason]:
    if turn.answers:
        return
    if turn.has_action:
        if "unparsable" in kinds and not any(_parses(turn)):
            yield Reason(VOID, turn.step, 0, len(turn.message.content), "kind=unparsable")
        return
    kind = next((kind for kind in _kinds_of(parsed, turn) if kind in kinds), None)
    if kind is not None:
        yield Reason(VOID, turn.step, 0, len(turn.message.content), f"kind={kind}")


def _kinds_of(parsed: Parsed, turn: Turn) -> Iterator[VoidKind]:
    """What a turn without action and answer is, the nearest word first; nothing if it talks."""
    if turn is parsed.turns[-1] and cause(parsed.trajectory.termination) == "truncated":
        yield "truncated"  # which is also why its marks are open
    if any(p.kind in ACTIONS or p.kind == "answer" for p in turn.pieces):
        yield "partial_action"
    elif not turn.message.content.strip():
        yield "empty"
    elif not parsed.dialect.talks:
        yield "text_only"


def _parses(turn: Turn) -> Iterator[bool]:
    """Whether each action could be executed: its code compiles, its arguments are JSON."""
    for call in turn.calls:
        yield not call.arguments.strip() or _is_json(call.arguments)
    for piece in turn.actions:
        text = turn.text(piece)
        if not text.strip():
            yield False
        elif piece.kind == "tool":
            yield _is_json(text)
        else:
            yield piece.language != "python" or _compiles(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _compiles(text: str) -> bool:
    lines = text.strip("\n").splitlines()
    if lines and lines[0].strip().startswith("```"):  # a fence inside the tag
        lines = lines[1:-1] if lines[-1].strip() == "```" else lines[1:]
    if len(text) > _LONGEST_CODE or (lines and lines[0].startswith("%%")):
        return True
    code = "\n".join(_python(line) for line in lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the agent's escapes
            ast.parse(code.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _python(line: str) -> str:
    """A line of a notebook as Python has it: commands of the shell and magics do nothing."""
    bare = line.lstrip()
    return f"{line[: len(line) - len(bare)]}pass" if bare.startswith(("!", "%")) else line


RULE = Rule(
    name="void",
    codes={VOID: Code("void", "reject", "a turn without a complete action or answer")},
    check=_check,
    cost=4,
)
