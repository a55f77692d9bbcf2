"""MINT's logs: a `state` with the history and how it ended, and the `task`.

Task ids begin anew in every one of MINT's data sets, and the end of a prompt was reworded between
runs, so the query is the task's name, its id and a hash of how the prompt begins. The environment's
counts stay in `meta`, under `state`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    as_bool,
    as_reference,
    as_text,
    dump,
    first_prompt,
    listing,
    mapping,
    query_of,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import read_message

_BEGINNING = 64  # characters of a prompt that tell the data sets apart


def _evidence(row: Any) -> str | None:
    if not isinstance(row, dict) or not isinstance(row.get("task"), dict):
        return None
    state = row.get("state")
    if isinstance(state, dict) and isinstance(state.get("history"), list):
        return "state.history is a list of messages beside a task"
    return None


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    whole = mapping(row, "it")
    state, task = mapping(whole.get("state"), "state"), mapping(whole.get("task"), "task")
    history = listing(state.get("history"), "state.history")
    messages = [read_message(message, at) for at, message in enumerate(history)]
    asked = as_text(task.get("prompt"))
    prompt = first_prompt(messages) if asked is None else asked
    ids = [str(task[key]) for key in ("task_name", "task_id") if key in task]
    left = {key: value for key, value in state.items() if key != "history"}
    yield dataclasses.replace(
        trajectory_of(whole, messages, {"state", "task"}, name, where),
        query_id="-".join([*ids, query_of(prompt[:_BEGINNING])])
        .encode("ascii", "backslashreplace")
        .decode(),
        prompt=prompt,
        success=as_bool(state.get("success")),
        termination=as_text(state.get("terminate_reason")),
        reference=as_reference(task.get("reference")),
        meta=dump({**whole, "state": left}),
    )


FORMAT = TrajectoryFormat("mint", _evidence, _read)
