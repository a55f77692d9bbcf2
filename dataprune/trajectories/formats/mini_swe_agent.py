"""mini-SWE-agent: a list of messages with shell commands in a fence, alone or with `info`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import as_text, listing, trajectory_of
from dataprune.trajectories.formats.messages import read_message

_FENCE = "```mswea_bash_command"


def _evidence(row: Any) -> str | None:
    if isinstance(row, dict):
        known = str(row.get("trajectory_format", "")).startswith("mini-swe-agent")
        is_whole = known and isinstance(row.get("messages"), list)
        return "trajectory_format names mini-swe-agent" if is_whole else None
    contents = [m.get("content") for m in row if isinstance(m, dict)] if _is_chat(row) else []
    if any(isinstance(text, str) and _FENCE in text for text in contents):
        return f"it is a list of messages, with {_FENCE} in one"
    return None


def _is_chat(row: Any) -> bool:
    return isinstance(row, list) and all(isinstance(m, dict) and "role" in m for m in row)


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    fields = row if isinstance(row, dict) else {}
    said = listing(fields.get("messages") if isinstance(row, dict) else row, "messages")
    messages = [read_message(message, at) for at, message in enumerate(said)]
    made = trajectory_of(fields, messages, {"messages"}, name, where)
    info = fields.get("info")
    if isinstance(info, dict):
        made = dataclasses.replace(
            made,
            termination=as_text(info.get("exit_status")),
            answer=as_text(info.get("submission")) or None,
        )
    yield made


FORMAT = TrajectoryFormat("mini_swe_agent", _evidence, _read)
