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
    kind = _kind_of(parsed, turn)
    if kind is not None and kind in kinds:
        yield Reason(VOID, turn.step, 0, len(turn.message.content), f"kind={kind}")


def _kind_of(parsed: Parsed, turn: Turn) -> VoidKind | None:
    content = turn.message.content
    if turn.has_action:
        return "unparsable" if not any(_parses(turn)) else None
    if turn.answers:
        return None
    if any(p.kind in ACTIONS or p.kind == "answer" for p in turn.pieces):
        return "partial_action"
    if not content.strip():
        return "empty"
    is_last = turn is parsed.turns[-1]
    if is_last and (parsed.trajectory.termination or "") in {"length", "truncated"}:
        return "truncated"
    return None if parsed.dialect.talks else "text_only"


def _parses(turn: Turn) -> Iterator[bool]:
    """Whether each action could be executed: its code compiles, its arguments are JSON."""
    for call in turn.calls:
        yield _is_json(call.arguments)
    for piece in turn.actions:
        text = turn.text(piece)
        if piece.kind == "tool":
            yield _is_json(text)
        elif piece.kind == "code" and piece.language == "python":
            yield _compiles(text)
        else:
            yield bool(text.strip())


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
    code = "\n".join(line for line in lines if not line.lstrip().startswith(("!", "%")))
    if len(code) > _LONGEST_CODE:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the agent's escapes
            ast.parse(code.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


RULE = Rule(
    name="void",
    codes={VOID: Code("void", "reject", "a turn without a complete action or answer")},
    check=_check,
)
