"""Stage 0: whether the messages are a conversation at all, and calls and answers fit together."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import json_value
from dataprune.trajectories.dialects import Parsed
from dataprune.trajectories.rules import Code, Reason, Rule, whole
from dataprune.trajectories.rules.termination import cause

PARSE, EMPTY, ROLE_ORDER = "S_PARSE", "S_EMPTY", "S_ROLE_ORDER"
ORPHAN_OBS, DANGLING_CALL = "S_ORPHAN_OBS", "S_DANGLING_CALL"
ARGS_JSON, UNKNOWN_TOOL, DUP_ID = "S_ARGS_JSON", "S_UNKNOWN_TOOL", "S_DUP_ID"


def duplicate_ids(ids: Sequence[str]) -> list[int]:
    """Positions of ids that an earlier position has already: the rows for S_DUP_ID."""
    seen: set[str] = set()
    positions = []
    for position, name in enumerate(ids):
        if name in seen:
            positions.append(position)
        seen.add(name)
    return positions


def _check(parsed: Parsed, rules: RulesRecipe) -> Iterator[Reason]:  # noqa: ARG001
    if parsed.trajectory.problem is not None:
        yield Reason(PARSE, detail=parsed.trajectory.problem)
        return
    if not parsed.turns:
        yield Reason(EMPTY, detail="no message of an assistant")
        return
    yield from _role_order(parsed)
    yield from _orphans(parsed)
    yield from _dangling(parsed)
    yield from _arguments(parsed)
    yield from _unknown_tools(parsed)


def _role_order(parsed: Parsed) -> Iterator[Reason]:
    """A start by the assistant, or two messages of the assistant in a row."""
    before = "system"
    for step, message in enumerate(parsed.trajectory.messages):
        if message.role == "assistant" and before == "assistant":
            yield whole(ROLE_ORDER, step, message, "a second assistant message in a row")
        elif message.role == "assistant" and before == "system":
            yield whole(ROLE_ORDER, step, message, "nothing was asked before it")
        before = message.role


def _orphans(parsed: Parsed) -> Iterator[Reason]:
    """Answers of tools that nothing called: formats without ids need only some turn before."""
    called: set[str] = set()
    has_acted = has_nameless = False
    for step, message in enumerate(parsed.trajectory.messages):
        if message.role == "assistant":
            has_acted = True
            called.update(call.call_id for call in message.tool_calls if call.call_id is not None)
            has_nameless |= any(call.call_id is None for call in message.tool_calls)
        elif message.role == "tool":
            known = has_nameless or message.call_id in called
            if not (known if message.call_id is not None else has_acted):
                yield whole(ORPHAN_OBS, step, message, "the answer to no earlier call")


def _dangling(parsed: Parsed) -> Iterator[Reason]:
    """A run that stops between an action and what came of it, and says no reason why."""
    last = parsed.turns[-1]
    messages = parsed.trajectory.messages
    if parsed.dialect.ends_anywhere or last.answers or not last.has_action:
        return
    if cause(parsed.trajectory.termination) is not None:
        return
    behind = messages[last.step + 1 :]
    if last.calls and all(call.call_id is not None for call in last.calls):
        answered = {message.call_id for message in behind}
        if None in answered or all(call.call_id in answered for call in last.calls):
            return
    elif behind:
        return
    yield whole(DANGLING_CALL, last.step, last.message, "the last action has no observation")


def _arguments(parsed: Parsed) -> Iterator[Reason]:
    for turn in parsed.turns:
        for number, call in enumerate(turn.calls):
            wrong = _not_json(call.arguments)
            if wrong:
                detail = f"arguments of call {number}: {wrong}"
                yield Reason(ARGS_JSON, turn.step, 0, len(call.arguments), detail)


def _not_json(text: str) -> str:
    """What is wrong with arguments; none at all are fine."""
    if not text.strip():
        return ""
    try:
        json.loads(text)
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "not JSON"
    return ""


def _unknown_tools(parsed: Parsed) -> Iterator[Reason]:
    if parsed.trajectory.tools is None:
        return
    names = _names(parsed.trajectory.tools)
    if not names:
        return
    for turn in parsed.turns:
        for number, call in enumerate(turn.calls):
            if call.name not in names:
                detail = f"call {number} names a tool that is not among the {len(names)} given"
                yield whole(UNKNOWN_TOOL, turn.step, turn.message, detail)
        for piece in turn.actions:
            if piece.kind == "tool":
                asked = json_value(turn.text(piece))
                name = asked.get("name") if isinstance(asked, dict) else None
                if isinstance(name, str) and name not in names:
                    detail = f"a tool that is not among the {len(names)} given"
                    yield Reason(UNKNOWN_TOOL, turn.step, piece.start, piece.end, detail)


@functools.lru_cache(maxsize=256)
def _names(tools: str) -> frozenset[str]:
    """Names of tools; empty where a definition is in a shape not known: then nothing is judged."""
    given = json_value(tools)
    if isinstance(given, str):  # JSON inside a JSON string
        given = json_value(given)
    if isinstance(given, dict):
        given = [given] if _name(given) else given.get("tools", list(given))
    if not isinstance(given, list):
        return frozenset()
    names = [_name(tool) for tool in given]
    return frozenset(name for name in names if name) if all(names) else frozenset()


def _name(tool: Any) -> str | None:
    if isinstance(tool, str):
        return tool
    if not isinstance(tool, dict):
        return None
    inner = tool.get("function")
    if isinstance(inner, dict):
        return _name(inner)
    for key in ("name", "name_for_model"):
        if isinstance(tool.get(key), str):
            return str(tool[key])
    return inner if isinstance(inner, str) else None


def _reject(means: str) -> Code:
    return Code("schema", "reject", means)


RULE = Rule(
    name="schema",
    codes={
        PARSE: _reject("a row that cannot be read"),
        EMPTY: _reject("no message of an assistant"),
        ROLE_ORDER: _reject("two assistant messages in a row, or one before anything was asked"),
        ORPHAN_OBS: _reject("an answer of a tool to no earlier call"),
        DANGLING_CALL: _reject("a last action without an observation, and no word why"),
        ARGS_JSON: _reject("arguments of a call that are no JSON"),
        UNKNOWN_TOOL: _reject("a call of a tool that is not among those given"),
        DUP_ID: _reject("the id of an earlier trajectory of the input"),
    },
    check=_check,
    cost=1,
)
