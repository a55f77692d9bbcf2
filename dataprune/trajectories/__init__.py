"""Agent trajectories: what an agent was asked, said and did, and what it was answered.

    files -> formats -> trajectories -> dialect -> rules -> duplicates -> groups -> judge
          -> rewards and selection -> ledger -> decisions -> version

A *format* says how a file holds messages, a *dialect* how messages hold thoughts, actions and
answers. Every stage adds reasons to a trajectory and takes none away; the ledger has them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. arguments: JSON text as it came. call_id: where the format has one."""

    name: str
    arguments: str
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    content: its text; text parts are joined by a newline, null is "".
    reasoning: thoughts that the format keeps apart from the text.
    call_id, name: of a tool's answer, the call it answers and the tool.
    train: whether a model trains on it: what the agent wrote, never an observation.
    extra: JSON of what else the format had here, so that writing it back loses nothing.
    """

    role: Role
    content: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None
    train: bool = False
    extra: str | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One run of an agent.

    traj_id: unique in its input. query_id: what was asked; runs of one query are a group.
    tools: JSON text of the tools' definitions.
    prompt: the task, without instructions around it where the format or dialect tells them apart.
    reward, success: as the input has them. termination: the environment's own word.
    reference: the right answer, where the input has it. answer: the agent's, where the format
        keeps it apart from the messages.
    files: names of data files that the task is about.
    meta: JSON object of everything else in the row.
    where: for people, "line 3 of runs.jsonl".
    problem: why the row could not be read; then there are no messages.
    """

    traj_id: str
    query_id: str
    messages: tuple[Message, ...]
    tools: str | None = None
    prompt: str = ""
    reward: float | None = None
    success: bool | None = None
    termination: str | None = None
    reference: str | None = None
    answer: str | None = None
    category: str | None = None
    files: tuple[str, ...] = ()
    meta: str = "{}"
    where: str = ""
    problem: str | None = None


def content_sha256(messages: Iterable[Message], tools: str | None) -> str:
    """Hash of what was said and done: the same for a trajectory in any format that can hold it.

    Arguments and tools count as the JSON values they are, not by their spelling; roles, texts,
    reasoning and call ids count exactly.
    """
    messages = tuple(messages)
    said = [
        [
            m.role,
            m.content,
            m.reasoning,
            [[call.name, json_value(call.arguments), call.call_id] for call in m.tool_calls],
            m.call_id,
            m.name,
        ]
        for m in messages
    ]
    whole = [said, json_value(tools) if tools is not None else None]
    try:
        # Surrogates that stand alone are no UTF-8; they must not make two texts the same either.
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    except RecursionError:  # arguments just short of too deep to be parsed: their spelling counts
        spelt = [
            (m.role, m.content, m.reasoning, m.tool_calls, m.call_id, m.name) for m in messages
        ]
        text = ascii([spelt, tools])
    return hashlib.sha256(text.encode()).hexdigest()


def json_value(text: str) -> Any:
    """What a JSON text says; the text itself where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
