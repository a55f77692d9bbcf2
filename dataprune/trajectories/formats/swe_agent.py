"""SWE-agent's .traj: what was said in `history`, and step by step in `trajectory`.

Files of all versions have the history; where it is missing, the last step's `query` (`messages`
before 1.1.0) with its response and observation, or the steps alone, stand for it. Of the steps,
`meta` keeps what the history lacks: states and times. Demonstrations are not trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    as_text,
    dump,
    first_prompt,
    listing,
    mapping,
    query_of,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import read_message

_IN_HISTORY = {"action", "observation", "response", "thought", "messages", "query"}


def _evidence(row: Any) -> str | None:
    if not isinstance(row, dict):
        return None
    steps, history = row.get("trajectory"), row.get("history")
    if _all_have(steps, {"action", "observation"}):
        return "trajectory is a list of steps with action and observation"
    if _all_have(history, {"role", "content"}):
        return "history is a list of messages"
    return None


def _all_have(value: Any, keys: set[str]) -> bool:
    return bool(isinstance(value, list) and value) and all(
        isinstance(one, dict) and keys <= one.keys() for one in value
    )


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    whole = mapping(row, "it")
    steps = [mapping(s, "a step") for s in listing(whole.get("trajectory") or [], "trajectory")]
    said = [_as_chat(m) for m in _said(whole, steps)]
    messages = [_message(message, at) for at, message in enumerate(said)]
    made = trajectory_of(whole, messages, {"history", "trajectory"}, name, where)
    if "prompt" not in whole:
        prompt = _first_task(messages, said)
        is_named = made.query_id != query_of(made.prompt)
        made = dataclasses.replace(
            made, prompt=prompt, query_id=made.query_id if is_named else query_of(prompt)
        )
    info = whole.get("info")
    info = info if isinstance(info, dict) else {}
    left = [{k: v for k, v in step.items() if k not in _IN_HISTORY} for step in steps]
    others = {key: v for key, v in whole.items() if key not in ("history", "trajectory")}
    yield dataclasses.replace(
        made,
        termination=as_text(info.get("exit_status")),
        answer=as_text(info.get("submission")),
        meta=dump({**others, **({"trajectory": left} if any(left) else {})}),
    )


def _said(whole: dict[str, Any], steps: list[dict[str, Any]]) -> list[Any]:
    """The whole talk."""
    if whole.get("history"):
        return listing(whole["history"], "history")
    if not steps:
        raise Unreadable("it has neither history nor trajectory")
    asked = steps[-1].get("query") or steps[-1].get("messages")
    if asked:
        return [*listing(asked, "query"), *_of_step(steps[-1])]
    return [message for step in steps for message in _of_step(step)]


def _of_step(step: dict[str, Any]) -> list[dict[str, Any]]:
    done = {"role": "assistant", "content": step.get("response")}
    return [done, {"role": "user", "content": step.get("observation")}]


def _as_chat(message: Any) -> dict[str, Any]:
    """A message with the id of the call that it answers where OpenAI's chat has it."""
    said = dict(mapping(message, "a message"))
    ids = said.get("tool_call_ids")
    if isinstance(ids, list) and ids and "tool_call_id" not in said:
        said["tool_call_id"] = ids[0]
        if len(ids) == 1:
            del said["tool_call_ids"]
    return said


def _message(said: dict[str, Any], at: int) -> Message:
    message = read_message(said, at)
    return dataclasses.replace(message, train=False) if said.get("is_demo") else message


def _first_task(messages: list[Message], said: list[dict[str, Any]]) -> str:
    """What the user asked first, behind the demonstrations."""
    own = (m for m, raw in zip(messages, said, strict=True) if not raw.get("is_demo"))
    return first_prompt(own)


FORMAT = TrajectoryFormat("swe_agent", _evidence, _read)
