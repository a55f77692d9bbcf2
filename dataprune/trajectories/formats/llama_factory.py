"""LLaMA-Factory's own format (v1): messages whose contents are typed parts.

    {"messages": [{"role", "content": [{"type": "text" | "reasoning" | "tool_call", "value"}],
     "loss_weight"}], "tools": JSON text}

A message whose loss weighs nothing is not trained on. Parts of other kinds stay in `extra`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, ToolCall, Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    dump,
    listing,
    mapping,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import KEYS, TOOLS, found_list, read_message, tools_of
from dataprune.trajectories.formats.sharegpt import read_calls

_KNOWN = ("text", "reasoning", "tool_call")


def _evidence(row: Any) -> str | None:
    key, said = found_list(row)
    if said and all(isinstance(m, dict) and "role" in m and _is_typed(m) for m in said):
        return f"contents in {key or 'it'} are parts with type and value"
    return None


def _is_typed(message: dict[str, Any]) -> bool:
    parts = message.get("content")
    return isinstance(parts, list) and all(
        isinstance(part, dict) and "type" in part and "value" in part for part in parts
    )


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    key, said = found_list(row)
    if said is None:
        raise Unreadable(f"there is no list of messages ({', '.join(KEYS)})")
    fields = {} if key is None else row
    messages = [_message(message, at) for at, message in enumerate(said)]
    taken = {key or "", *TOOLS}
    yield trajectory_of(fields, messages, taken, name, where, tools=tools_of(fields))


def _message(value: Any, at: int) -> Message:
    said = dict(mapping(value, f"messages[{at}]"))
    parts = listing(said.pop("content", None), f"the content of messages[{at}]")
    weight = said.pop("loss_weight", None)
    texts: dict[str, list[str]] = {kind: [] for kind in _KNOWN}
    others = []
    for part in parts:
        kind, text = mapping(part, "a part").get("type"), part.get("value")
        if kind not in _KNOWN:
            others.append(part)
        elif isinstance(text, str):
            texts[kind].append(text)
        else:
            raise Unreadable(f"a part of messages[{at}] has no text")
    calls: tuple[ToolCall, ...] = tuple(c for text in texts["tool_call"] for c in read_calls(text))
    left = {**said, **({"parts": others} if others else {})}
    base = read_message({"role": said.get("role")}, at)
    left.pop("role", None)
    return Message(
        base.role,
        "\n".join(texts["text"]),
        reasoning="\n".join(texts["reasoning"]) if texts["reasoning"] else None,
        tool_calls=calls,
        train=base.train if weight is None else base.train and bool(weight),
        extra=dump(left) if left else base.extra,
    )


FORMAT = TrajectoryFormat("llama_factory", _evidence, _read)
