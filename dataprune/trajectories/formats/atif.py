"""ATIF (Harbor's Agent Trajectory Interchange Format, v1.0 to v1.7): steps of a session.

    {"schema_version": "ATIF-v1.7", "session_id", "trajectory_id", "agent": {"name", "version",
     "tool_definitions"}, "steps": [{"step_id" from 1, "source": "system" | "user" | "agent",
     "message", "reasoning_content", "tool_calls": [{"tool_call_id", "function_name", "arguments"}],
     "observation": {"results": [{"source_call_id", "content"}]}}]}

A step becomes a message, and one more for each result of its observation. Steps that repeat an
earlier context, and those of an agent that asked no model, are not trained on. Subagents embedded
in a file are trajectories of their own; references to other files stay in `extra` and `meta`.

What ATIF has no place for (our fields, roles out of order, arguments that are no object) is written
under `dataprune` in its `extra` objects, so that reading it gives back the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, Role, ToolCall, Trajectory, json_value
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    as_id,
    dump,
    dump_text,
    listing,
    mapping,
    own_fields,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import arguments_text, read_content

_VERSION = "ATIF-v1.7"
_OURS = "dataprune"
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "agent": "assistant"}
_SOURCES = {role: source for source, role in _ROLES.items()}
_WHOLE = {"steps", "trajectory_id", "subagent_trajectories"}
# Of a step, what a message's `extra` may hold under the same name.
_OF_STEP = ("timestamp", "model_name", "reasoning_effort", "metrics", "llm_call_count", "extra")
_OF_RESULT = ("subagent_trajectory_ref", "extra")


def _evidence(row: Any) -> str | None:
    if not isinstance(row, dict) or not isinstance(row.get("steps"), list):
        return None
    if str(row.get("schema_version", "")).upper().startswith("ATIF"):
        return "schema_version names ATIF"
    steps = row["steps"]
    if steps and all(isinstance(s, dict) and {"step_id", "source"} <= s.keys() for s in steps):
        return "steps have step_id and source"
    return None


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    whole = mapping(row, "it")
    steps = listing(whole.get("steps"), "steps")
    messages = [m for at, step in enumerate(steps) for m in _messages(mapping(step, "a step"), at)]
    extra = dict(_object(whole.get("extra")))
    ours = _object(extra.pop(_OURS, None))
    kept = {key: value for key, value in whole.items() if key not in {*_WHOLE, "extra"}}
    agent = dict(_object(kept.get("agent")))
    agent_tools = agent.pop("tool_definitions", None)
    if agent:
        kept["agent"] = agent
    if extra:
        kept["extra"] = extra
    fields = {**({} if ours else _asked(kept)), **ours}
    made = trajectory_of(fields, messages, {"tools"}, name, where)
    yield dataclasses.replace(
        made,
        traj_id=made.traj_id if ours else as_id(whole.get("trajectory_id")) or name,
        tools=_tools(ours.get("tools"), agent_tools),
        meta=made.meta if ours else dump(kept),
    )
    for number, inner in enumerate(_list(whole.get("subagent_trajectories")), start=1):
        yield from _read(inner, f"{name}/{number}", f"subagent {number} in {where}")


def _asked(kept: dict[str, Any]) -> dict[str, Any]:
    """Fields of the session that may say what was asked and what came of it."""
    return {**_object(kept.get("extra")), **{k: v for k, v in kept.items() if k != "extra"}}


def _tools(ours: Any, definitions: Any) -> str | None:
    if isinstance(ours, str):
        return ours
    return None if definitions is None else dump_text(definitions)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _messages(step: dict[str, Any], at: int) -> Iterator[Message]:
    """A step's message and the answers to its calls."""
    source = step.get("source")
    role = _ROLES.get(source) if isinstance(source, str) else None
    if role is None:
        raise Unreadable(f"steps[{at}] is of a source that is not known")
    left = {key: step[key] for key in _OF_STEP if step.get(key) is not None}
    if step.get("is_copied_context") is True:
        left["is_copied_context"] = True
    ours = _take_ours(left)
    calls = [_call(call, at) for call in _list(step.get("tool_calls"))]
    over = [more for _, more in calls]
    if any(over):
        left["tool_calls"] = over
    message = step.get("message")
    if message is not None and not isinstance(message, str):
        left["content"] = message
    if not ours.get("no_message"):
        made = Message(
            role,
            read_content(message, f"steps[{at}]"),
            reasoning=_text(step.get("reasoning_content")),
            tool_calls=tuple(call for call, _ in calls),
            train=_is_trained(role, step),
            extra=dump(left) if left else None,
        )
        yield _with_ours(made, ours)
    for result in _list(_object(step.get("observation")).get("results")):
        yield _result(mapping(result, f"a result of steps[{at}]"), at)


def _take_ours(left: dict[str, Any]) -> dict[str, Any]:
    """What we wrote into an `extra` object, taken out of it."""
    extra = left.get("extra")
    if not isinstance(extra, dict) or _OURS not in extra:
        return {}
    rest = {key: value for key, value in extra.items() if key != _OURS}
    if rest:
        left["extra"] = rest
    else:
        del left["extra"]
    return _object(extra[_OURS])


def _with_ours(message: Message, ours: dict[str, Any]) -> Message:
    """A message with the fields that ATIF has no place for."""
    changes: dict[str, Any] = {}
    for key in ("name", "call_id", "reasoning", "extra"):
        if isinstance(ours.get(key), str):
            changes[key] = ours[key]
    if isinstance(ours.get("train"), bool):
        changes["train"] = ours["train"]
    if calls := _list(ours.get("tool_calls")):
        changes["tool_calls"] = tuple(ToolCall(**call) for call in calls)
    return dataclasses.replace(message, **changes)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _call(value: Any, at: int) -> tuple[ToolCall, dict[str, Any]]:
    """A tool call, and what else stood there."""
    call = dict(mapping(value, f"a tool call of steps[{at}]"))
    ours = _take_ours(call)
    name, call_id = call.pop("function_name", None), call.pop("tool_call_id", None)
    arguments = call.pop("arguments", None)
    if not isinstance(name, str):
        raise Unreadable(f"a tool call of steps[{at}] has no function_name")
    text = ours.get("arguments")
    made = ToolCall(
        name,
        text if isinstance(text, str) else arguments_text(arguments),
        None if ours.get("no_id") else _text(call_id),
    )
    return made, {key: v for key, v in call.items() if v is not None}


def _result(result: dict[str, Any], at: int) -> Message:
    left = {key: result[key] for key in _OF_RESULT if result.get(key) is not None}
    ours = _take_ours(left)
    content = result.get("content")
    if content is not None and not isinstance(content, str):
        left["content"] = content
    made = Message(
        "tool",
        read_content(content, f"a result of steps[{at}]"),
        call_id=_text(result.get("source_call_id")),
        extra=dump(left) if left else None,
    )
    return _with_ours(made, ours)


def _write(trajectory: Trajectory) -> dict[str, Any]:
    ours = own_fields(trajectory)
    agent: dict[str, Any] = {"name": "unknown", "version": "unknown"}
    agent |= _object(_object(json_value(trajectory.meta)).get("agent"))
    tools = None if trajectory.tools is None else json_value(trajectory.tools)
    if isinstance(tools, list):
        agent["tool_definitions"] = tools
    elif trajectory.tools is not None:
        ours["tools"] = trajectory.tools
    steps: list[dict[str, Any]] = []
    for message in trajectory.messages:
        if message.role == "tool":
            if not steps or steps[-1]["source"] == "user":  # an answer to nothing
                nothing = {"step_id": 0, "source": "system", "message": ""}
                steps.append({**nothing, "extra": {_OURS: {"no_message": True}}})
            results = steps[-1].setdefault("observation", {"results": []})["results"]
            results.append(_write_result(message))
        else:
            steps.append(_write_step(message))
    for number, step in enumerate(steps, start=1):
        step["step_id"] = number
    return {
        "schema_version": _VERSION,
        "session_id": trajectory.query_id,
        "trajectory_id": trajectory.traj_id,
        "agent": agent,
        "steps": steps,
        "extra": {_OURS: ours},
    }


def _write_step(message: Message) -> dict[str, Any]:
    back = _back(message.extra)
    kept = {"name": message.name, "call_id": message.call_id}
    kept["extra"] = None if back else message.extra
    ours: dict[str, Any] = {key: value for key, value in kept.items() if value is not None}
    if message.train != _is_trained(message.role, back):
        ours["train"] = message.train
    extra = {**back.pop("extra", {}), **({_OURS: ours} if ours else {})}
    source = _SOURCES[message.role]
    step: dict[str, Any] = {"step_id": 0, "source": source, "message": message.content, **back}
    if message.reasoning is not None:
        step["reasoning_content"] = message.reasoning
    if message.tool_calls:
        step["tool_calls"] = [_write_call(c, at) for at, c in enumerate(message.tool_calls)]
    return {**step, "extra": extra} if extra else step


def _back(extra: str | None) -> dict[str, Any]:
    """What a message came with, where all of it has its place in a step."""
    said = _object(json_value(extra)) if extra else {}
    inner = said.get("extra", {})
    is_plain = isinstance(inner, dict) and _OURS not in inner and None not in said.values()
    is_plain = is_plain and said.get("is_copied_context", True) is True
    return dict(said) if is_plain and said.keys() <= {*_OF_STEP, "is_copied_context"} else {}


def _is_trained(role: Role, step: dict[str, Any]) -> bool:
    """Whether a model trains on what a step says, unless we wrote otherwise."""
    is_copied = step.get("is_copied_context") is True
    return role == "assistant" and not is_copied and step.get("llm_call_count") != 0


def _write_call(call: ToolCall, at: int) -> dict[str, Any]:
    arguments = json_value(call.arguments)
    ours: dict[str, Any] = {}
    if not isinstance(arguments, dict):
        ours["arguments"], arguments = call.arguments, {}
    if call.call_id is None:
        ours["no_id"] = True
    call_id = f"call_{at}" if call.call_id is None else call.call_id
    written = {"tool_call_id": call_id, "function_name": call.name, "arguments": arguments}
    return {**written, "extra": {_OURS: ours}} if ours else written


def _write_result(message: Message) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    for key in ("name", "reasoning", "extra"):
        if (value := getattr(message, key)) is not None:
            ours[key] = value
    if message.train:
        ours["train"] = True
    if message.tool_calls:
        ours["tool_calls"] = [dataclasses.asdict(call) for call in message.tool_calls]
    result = {"source_call_id": message.call_id, "content": message.content}
    return {**result, "extra": {_OURS: ours}} if ours else result


FORMAT = TrajectoryFormat("atif", _evidence, _read, _write)
