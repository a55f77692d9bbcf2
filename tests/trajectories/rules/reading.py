"""Trajectories for tests of rules: made by hand, and real ones by a reader of a few lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Message, ToolCall, Trajectory
from dataprune.trajectories.dialects import DIALECTS, Dialect, Mark, Parsed, parse
from dataprune.trajectories.rules._run import Finding, run_rules

ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
MODELS = (
    "CodeActAgent-Mistral-7b-v0.1",
    "Meta-Llama-3-70B-Instruct",
    "gpt-3.5-turbo-0613",
    "gpt-4-0613",
)
# Like DataMind's: thoughts hide, answers are marked, code is Python, observations have both marks.
TAGGED = Dialect(
    name="tagged",
    marks=(
        Mark("think", "<think>", "</think>"),
        Mark("code", "<code>", "</code>", language="python"),
        Mark("answer", "<answer>", "</answer>"),
    ),
    observation=(("<interpreter>", "</interpreter>"),),
    environment=("<interpreter>", "User:"),
    nags=("Your previous action is invalid.",),
    failed=("Traceback (most recent call last)", "The code run failed:"),
)


def talk(*said: str | Message, **fields: Any) -> Trajectory:
    """Messages written as "u: text", or made already."""
    messages = tuple(
        m if isinstance(m, Message) else Message(ROLES[m[0]], m[3:])  # type: ignore[arg-type]
        for m in said
    )
    return Trajectory("t", "q", messages, **fields)


def calls(*asked: tuple[str, str, str | None], content: str = "") -> Message:
    """An assistant message with tool calls: (name, arguments, id)."""
    return Message("assistant", content, tool_calls=tuple(ToolCall(*call) for call in asked))


def reply(content: str, call_id: str | None = None) -> Message:
    """A tool's answer."""
    return Message("tool", content, call_id=call_id)


def read(trajectory: Trajectory, dialect: Dialect | str = TAGGED) -> Parsed:
    """Parse in a dialect or one of a name."""
    return parse(trajectory, DIALECTS.get(dialect) if isinstance(dialect, str) else dialect)


def findings(
    trajectory: Trajectory, dialect: Dialect | str = TAGGED, **rules: Any
) -> list[Finding]:
    """What the rules find."""
    return run_rules(read(trajectory, dialect), RulesRecipe(**rules))


def codes(trajectory: Trajectory, dialect: Dialect | str = TAGGED, **rules: Any) -> list[str]:
    """The codes of what the rules find."""
    return [finding.code for finding in findings(trajectory, dialect, **rules)]


def pointed(trajectory: Trajectory, finding: Finding) -> str:
    """The text that a finding points at."""
    assert finding.step is not None
    return trajectory.messages[finding.step].content[finding.start : finding.end]


def without(found: list[str], *ignored: str) -> list[str]:
    """Codes but for those a test is not about."""
    return [code for code in found if code not in ignored]


def mint(data: Path, model: str) -> Iterator[tuple[Trajectory, dict[str, Any]]]:
    """MINT's rows: trajectory and the environment's state."""
    for path in sorted((data / "trajectories" / "mint-bench" / model).glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            state = row["state"]
            yield (
                Trajectory(
                    traj_id=f"{path.name}:{row['task']['task_id']}",
                    query_id=f"{path.name}:{row['task']['task_id']}",
                    messages=tuple(Message(m["role"], m["content"]) for m in state["history"]),
                    prompt=str(row["task"]["prompt"]),
                    success=state["success"],
                    termination=state["terminate_reason"],
                    reference=str(row["task"]["reference"]),
                ),
                state,
            )


def tau(data: Path) -> Iterator[Trajectory]:
    """tau-bench's rows."""
    path = data / "trajectories" / "tau-bench" / "gpt-4o-airline.json"
    for number, row in enumerate(json.loads(path.read_text())):
        yield Trajectory(
            traj_id=str(number),
            query_id=str(row["task_id"]),
            messages=tuple(map(_openai, row["traj"])),
            reward=row["reward"],
        )


def _openai(message: dict[str, Any]) -> Message:
    asked = tuple(
        ToolCall(call["function"]["name"], call["function"]["arguments"], call["id"])
        for call in message.get("tool_calls") or ()
    )
    return Message(
        message["role"],
        message["content"] or "",
        tool_calls=asked,
        call_id=message.get("tool_call_id"),
        name=message.get("name"),
    )


def webdancer(data: Path) -> Iterator[Trajectory]:
    """WebDancer's rows."""
    path = data / "trajectories" / "webdancer" / "sample_traj.jsonl"
    for number, line in enumerate(path.read_text().splitlines()):
        row = json.loads(line)
        messages = tuple(Message(m["role"], m["content"]) for m in row["messages"])
        prompt = messages[1].content.rpartition("\nUser: ")[2]
        tools = json.dumps(row["functions"])
        yield Trajectory(str(number), str(number), messages, prompt=prompt, tools=tools)


def glaive(data: Path) -> Iterator[Trajectory]:
    """The sample of glaive's tool calls in ShareGPT form."""
    path = data / "trajectories" / "llama-factory" / "glaive_toolcall_en_demo.json"
    roles = {"human": "user", "gpt": "assistant", "observation": "tool"}
    for number, row in enumerate(json.loads(path.read_text())):
        messages = []
        for said in row["conversations"]:
            if said["from"] == "function_call":
                call = json.loads(said["value"])
                messages.append(calls((call["name"], json.dumps(call["arguments"]), None)))
            else:
                messages.append(
                    Message(roles[said["from"]], said["value"])  # type: ignore[arg-type]
                )
        yield replace(talk(*messages), traj_id=str(number), tools=row["tools"])
