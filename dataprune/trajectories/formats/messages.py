"""OpenAI's chat messages, with tool calls or with actions in tagged text; also what we write.

    {"messages": [{"role", "content", "tool_calls", "tool_call_id", "name"}, ...], "tools": [...]}

The list may be called `messages`, `traj`, `conversation` or `conversations`, be JSON in a text (as
tables without nested columns have it), or be the whole object. A content may be a text, null or a
list of parts. Legacy `function_call` and `functions` are read, too.

Writing gives each message a key `train`, which says whether a model trains on it: Axolotl reads it
(`message_field_training: train`), chat templates pass over it. Arguments and tools are written as
JSON texts, since Arrow would merge the keys of all tools into one null-filled struct.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, Role, ToolCall, Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    as_text,
    dump,
    dump_text,
    first,
    listing,
    mapping,
    own_fields,
    trajectory_of,
    word,
)

KEYS = ("messages", "traj", "conversation", "conversations")
TOOLS = ("tools", "functions")
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_REASONING = ("reasoning_content", "reasoning", "thinking")


def _evidence(row: Any) -> str | None:
    key, said = found_list(row)
    if said and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in said):
        at = f"{key} is" if key else "it is"
        return f"{at} a list of messages with role and content"
    return None


def found_list(row: Any) -> tuple[str | None, list[Any] | None]:
    """The list of messages in a row and its key, None where the row is the list."""
    if isinstance(row, list):
        return None, row
    for key in KEYS if isinstance(row, dict) else ():
        value = row.get(key)
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            value = _parsed(value)
        if isinstance(value, list):
            return key, value
    return None, None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    key, said = found_list(row)
    if said is None:
        raise Unreadable(f"there is no list of messages ({', '.join(KEYS)})")
    fields = {} if key is None else row
    taken = {key or "", *TOOLS, "trajectory_id"}
    messages = [read_message(message, at) for at, message in enumerate(said)]
    yield trajectory_of(fields, messages, taken, name, where, tools=tools_of(fields))


def tools_of(row: dict[str, Any]) -> str | None:
    """The tools' definitions as JSON text."""
    value = first(row, TOOLS, lambda v: v if v != "" else None)
    return value if value is None or isinstance(value, str) else dump_text(value)


def read_message(value: Any, at: int) -> Message:
    """One message; `at` is its place, for the message of an error."""
    what = f"messages[{at}]"
    said = {key: v for key, v in mapping(value, what).items() if v is not None}
    word_for_role = said.pop("role", None)
    role = _ROLES.get(word_for_role) if isinstance(word_for_role, str) else None
    if role is None:
        raise Unreadable(f"{what} has no role that is known")
    extra: dict[str, Any] = {} if role == word_for_role else {"role": word_for_role}
    raw = said.pop("content", None)
    content = read_content(raw, what)
    if raw is not None and not isinstance(raw, str):
        extra["content"] = raw
    reasoning = next((n for n in _REASONING if isinstance(said.get(n), str)), None)
    calls = _calls(said, extra, what)
    train = said.pop("train", None) if isinstance(said.get("train"), bool) else None
    call_id = said.pop("tool_call_id") if isinstance(said.get("tool_call_id"), str) else None
    tool_name = said.pop("name") if isinstance(said.get("name"), str) else None
    thought = said.pop(reasoning) if reasoning else None
    left = {**said, **extra}
    return Message(
        role=role,
        content=content,
        reasoning=thought,
        tool_calls=calls,
        call_id=call_id,
        name=tool_name,
        train=role == "assistant" if train is None else train,
        extra=dump(left) if left else None,
    )


def read_content(value: Any, what: str) -> str:
    """A content's text: of parts, those that are text, one a line."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        return "\n".join(_part(part, what) for part in value if _is_text(part))
    if isinstance(value, dict):
        return dump_text(value)
    raise Unreadable(f"the content of {what} is {word(value)}, not a text")


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and "text" in part)


def _part(part: Any, what: str) -> str:
    text = part if isinstance(part, str) else as_text(part["text"])
    if text is None:
        raise Unreadable(f"a text part of {what} has no text")
    return text


def _calls(said: dict[str, Any], extra: dict[str, Any], what: str) -> tuple[ToolCall, ...]:
    """A message's calls, taken out of it; what else stood in them goes to `extra`."""
    calls, left = [], []
    for call in listing(said.pop("tool_calls", []), f"tool_calls of {what}"):
        made, over = read_call(call, what)
        calls.append(made)
        left.append(over)
    if any(left):
        extra["tool_calls"] = left
    if "function_call" in said:
        made, over = read_call({"function": said.pop("function_call")}, what)
        calls.append(made)
        if over:
            extra["function_call"] = over
    return tuple(calls)


def read_call(value: Any, what: str) -> tuple[ToolCall, dict[str, Any]]:
    """One tool call, and what else stood there."""
    call = dict(mapping(value, f"a tool call of {what}"))
    inner = call.pop("function", None)
    flat = call if not isinstance(inner, dict) else dict(inner)
    name = flat.pop("name", inner if isinstance(inner, str) else None)
    if not isinstance(name, str):
        raise Unreadable(f"a tool call of {what} has no name")
    arguments = flat.pop("arguments", None)
    call_id = call.pop("id", None)
    if call.get("type") == "function":
        del call["type"]
    left = {**call, **({"function": flat} if flat and flat is not call else {})}
    if call_id is not None and not isinstance(call_id, str):
        call_id = dump_text(call_id)
    return ToolCall(name, arguments_text(arguments), call_id), {
        key: v for key, v in left.items() if v is not None
    }


def arguments_text(value: Any) -> str:
    """Arguments as JSON text: a text as it came, no arguments as an empty object."""
    if isinstance(value, str):
        return value
    return "{}" if value is None else dump_text(value)


def _write(trajectory: Trajectory) -> dict[str, Any]:
    row = own_fields(trajectory)
    row["messages"] = [write_message(message) for message in trajectory.messages]
    if trajectory.tools is not None:
        row["tools"] = trajectory.tools
    return row


def write_message(message: Message) -> dict[str, Any]:
    """A message as OpenAI's chat has it, with `train`, and what else it came with."""
    extra = json.loads(message.extra) if message.extra else {}
    role = extra.pop("role", None)
    parts, calls = extra.pop("content", None), extra.pop("tool_calls", None)
    extra.pop("function_call", None)
    # A repair may have changed the text since: then the parts are no longer what was said.
    is_kept = parts is not None and read_content(parts, "") == message.content
    written: dict[str, Any] = {
        "role": role if _ROLES.get(role) == message.role else message.role,
        "content": parts if is_kept else message.content,
    }
    optional = {
        "reasoning_content": message.reasoning,
        "tool_calls": _write_calls(message.tool_calls, calls) or None,
        "tool_call_id": message.call_id,
        "name": message.name,
    }
    written |= {key: value for key, value in optional.items() if value is not None}
    return {**extra, **written, "train": message.train}


def _write_calls(calls: tuple[ToolCall, ...], left: Any) -> list[dict[str, Any]]:
    over = left if isinstance(left, list) and len(left) == len(calls) else [{}] * len(calls)
    return [_with(write_call(call), more) for call, more in zip(calls, over, strict=True)]


def _with(call: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    function = {**more.get("function", {}), **call["function"]}
    return {**more, **call, "type": more.get("type", "function"), "function": function}


def write_call(call: ToolCall) -> dict[str, Any]:
    """A tool call as OpenAI's chat has it."""
    function = {"name": call.name, "arguments": call.arguments}
    written: dict[str, Any] = {} if call.call_id is None else {"id": call.call_id}
    return {**written, "type": "function", "function": function}


FORMAT = TrajectoryFormat("messages", _evidence, _read, _write)
