"""ShareGPT: turns `from` somebody with a `value`, as LLaMA-Factory reads it.

    {"conversations": [{"from": "human" | "gpt" | "function_call" | "observation", "value"}, ...],
     "system": ..., "tools": JSON text}

A `function_call` holds JSON of a name and arguments, or a list of those; one that does not is a
call without a name whose arguments are the text, so that rules can find it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dataprune.core.errors import UsageError
from dataprune.trajectories import Message, Role, ToolCall, Trajectory, json_value
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    dump,
    dump_text,
    mapping,
    own_fields,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import (
    KEYS,
    TOOLS,
    arguments_text,
    found_list,
    tools_of,
)

_ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function_response": "tool",
}
_NAMES = {"user": "human", "assistant": "gpt", "tool": "observation"}


def _evidence(row: Any) -> str | None:
    key, turns = found_list(row)
    if turns and all(isinstance(t, dict) and "from" in t and "value" in t for t in turns):
        return f"{key or 'it'} is a list of turns with from and value"
    return None


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    key, turns = found_list(row)
    if turns is None:
        raise Unreadable(f"there is no list of turns ({', '.join(KEYS)})")
    fields = {} if key is None else row
    messages = [_message(turn, at) for at, turn in enumerate(turns)]
    system = fields.get("system")
    taken = {key or "", *TOOLS}
    if isinstance(system, str) and system:
        messages.insert(0, Message("system", system))
        taken.add("system")
    yield trajectory_of(fields, messages, taken, name, where, tools=tools_of(fields))


def _message(value: Any, at: int) -> Message:
    turn = dict(mapping(value, f"turn {at}"))
    source, said, train = turn.pop("from", None), turn.pop("value", None), turn.pop("train", None)
    role = _ROLES.get(source) if isinstance(source, str) else None
    if role is None or not isinstance(said, str):
        raise Unreadable(f"turn {at} is from nobody that is known, or its value is no text")
    is_call = source == "function_call"
    return Message(
        role,
        "" if is_call else said,
        tool_calls=read_calls(said) if is_call else (),
        train=train if isinstance(train, bool) else role == "assistant",
        extra=dump(turn) if turn else None,
    )


def read_calls(text: str) -> tuple[ToolCall, ...]:
    """The calls in a text: JSON of one or of a list; else one without a name."""
    value = json_value(text)
    calls = value if isinstance(value, list) else [value]
    if calls and all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in calls):
        return tuple(ToolCall(c["name"], arguments_text(c.get("arguments"))) for c in calls)
    return (ToolCall("", text),)


def _write(trajectory: Trajectory) -> dict[str, Any]:
    """The row.

    Raises:
        UsageError: ShareGPT has no place for something in it; the message names it.
    """
    row = own_fields(trajectory)
    messages = trajectory.messages
    first = messages[0] if len(messages) > 1 else None
    if first is not None and first.content and first == Message("system", first.content):
        row["system"] = first.content
        messages = messages[1:]
    row["conversations"] = [_turn(message, at) for at, message in enumerate(messages)]
    if trajectory.tools is not None:
        row["tools"] = trajectory.tools
    return row


def _turn(message: Message, at: int) -> dict[str, Any]:
    if (lost := _lost(message)) is not None:
        raise UsageError(
            f"ShareGPT cannot hold {lost} (turn {at})",
            hint="write messages or atif, which can",
        )
    extra = json.loads(message.extra) if message.extra else {}
    if message.tool_calls:
        calls = [_call(call) for call in message.tool_calls]
        value = dump_text(calls[0] if len(calls) == 1 else calls)
        if message.tool_calls[0].name == "":
            value = message.tool_calls[0].arguments
        return {**extra, "from": "function_call", "value": value, "train": message.train}
    source = _NAMES.get(message.role, message.role)
    return {**extra, "from": source, "value": message.content, "train": message.train}


def _lost(message: Message) -> str | None:
    """What of a message ShareGPT has no place for."""
    calls = message.tool_calls
    nameless = [call.arguments for call in calls if call.name == ""]
    losses = {
        "thoughts apart from the text": message.reasoning is not None,
        "ids of calls": message.call_id is not None or any(c.call_id is not None for c in calls),
        "the name of a message": message.name is not None,
        "a text beside tool calls": bool(calls and message.content),
        "tool calls of others than the agent": bool(calls and message.role != "assistant"),
        "a call without a name beside others": bool(nameless and len(calls) > 1),
        "a call without a name": any(read_calls(text)[0].name for text in nameless),
    }
    return next((what for what, is_so in losses.items() if is_so), None)


def _call(call: ToolCall) -> dict[str, Any]:
    value = json_value(call.arguments)
    return {"name": call.name, "arguments": value if isinstance(value, dict) else call.arguments}


FORMAT = TrajectoryFormat("sharegpt", _evidence, _read, _write)
