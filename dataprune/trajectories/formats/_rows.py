"""What all formats share: values of rows, checked, and trajectories out of them.

A row's fields that a trajectory has a place for are taken by the names below; every other field
stays in `Trajectory.meta`. A value of another kind than its field (a reward "high") is no error: it
stays in `meta`, too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from dataprune.trajectories import Message, Trajectory

# Names of our own: what `messages` writes. Taken out of the row.
_OWN = ("traj_id", "query_id", "prompt", "reward", "success", "termination", "reference")
OWN: frozenset[str] = frozenset({*_OWN, "final_answer", "category", "files", "meta"})
# Names that others use, best first. Copied: they stay in `meta` as they came.
# `id` is not among them: it may be the run's; runs of one prompt are runs of one query without it.
QUERY_IDS = ("query_id", "task_id", "instance_id", "prompt_id")
_REWARDS = ("reward", "score")
_SUCCESSES = ("success", "resolved")
_TERMINATIONS = ("termination", "terminate_reason", "exit_status")
_REFERENCES = ("reference", "reference_answer", "ground_truth", "answer")
_FILES = ("files", "filename")


class Unreadable(Exception):  # noqa: N818 - it is no user error: it becomes `Trajectory.problem`
    """A row that is not what its format says; the message says what, in a few words."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a row says of a trajectory beside its messages."""

    query_id: str | None
    prompt: str | None
    reward: float | None
    success: bool | None
    termination: str | None
    reference: str | None
    answer: str | None
    category: str | None
    files: tuple[str, ...]


def mapping(value: Any, what: str) -> dict[str, Any]:
    """The value, if it is an object."""
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is {word(value)}, not an object")
    return value


def listing(value: Any, what: str) -> list[Any]:
    """The value, if it is a list."""
    if not isinstance(value, list):
        raise Unreadable(f"{what} is {word(value)}, not a list")
    return value


def word(value: Any) -> str:
    """What kind of JSON value it is."""
    words = {
        type(None): "null",
        bool: "a boolean",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return words.get(type(value), "a number")


def dump(value: Any) -> str:
    """The one JSON text of a value, in plain ASCII: for `meta` and `extra`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def dump_text(value: Any) -> str:
    """The one JSON text of a value, other scripts as they are: for texts and arguments."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def as_id(value: Any) -> str | None:
    """An id as text that every table can hold (no surrogate stands alone); None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def as_number(value: Any) -> float | None:
    """A finite number; a NaN is a missing value, as pandas writes it."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_bool(value: Any) -> bool | None:
    """A boolean, also as 0 or 1."""
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    return None


def as_text(value: Any) -> str | None:
    """A text."""
    return value if isinstance(value, str) else None


def as_reference(value: Any) -> str | None:
    """The right answer: a text or number, also alone in lists; other values as JSON."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, str):
        return value or None
    return dump_text(value)


def as_files(value: Any) -> tuple[str, ...] | None:
    """Names of files: a text or a list of texts."""
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def first(row: dict[str, Any], names: Iterable[str], kind: Any) -> Any:
    """The first of the fields that has a value of a kind."""
    for name in names:
        if name in row and (value := kind(row[name])) is not None:
            return value
    return None


def found(row: dict[str, Any]) -> Found:
    """What the row's fields say."""
    return Found(
        query_id=first(row, QUERY_IDS, as_id),
        prompt=first(row, ("prompt",), as_text),
        reward=first(row, _REWARDS, as_number),
        success=first(row, _SUCCESSES, as_bool),
        termination=first(row, _TERMINATIONS, as_text),
        reference=first(row, _REFERENCES, as_reference),
        answer=first(row, ("final_answer",), as_text),
        category=first(row, ("category",), as_text),
        files=first(row, _FILES, as_files) or (),
    )


def rest(row: dict[str, Any], taken: Collection[str]) -> str:
    """The fields without a place of their own, as JSON; with those of an earlier `meta`."""
    kept = {key: value for key, value in row.items() if key not in taken and key not in OWN}
    kept |= {key: row[key] for key in _misfits(row)}
    earlier = row.get("meta")
    if isinstance(earlier, str):
        try:
            earlier = json.loads(earlier)
        except (ValueError, RecursionError):
            kept["meta"] = earlier
    if isinstance(earlier, dict):
        kept = {**earlier, **kept}
    elif earlier is not None:
        kept["meta"] = earlier
    return dump(kept)


def _misfits(row: dict[str, Any]) -> list[str]:
    """Fields of our own names whose values are of another kind."""
    kinds = {
        "traj_id": as_id,
        "query_id": as_id,
        "prompt": as_text,
        "reward": as_number,
        "success": as_bool,
        "termination": as_text,
        "reference": as_text,
        "final_answer": as_text,
        "category": as_text,
        "files": as_files,
    }
    return [n for n, kind in kinds.items() if row.get(n) is not None and kind(row[n]) is None]


def first_prompt(messages: Iterable[Message]) -> str:
    """The task unless the row says otherwise: what the user wrote first."""
    return next((m.content for m in messages if m.role == "user"), "")


def query_of(prompt: str) -> str:
    """A name for what was asked: 16 hex digits of its SHA-256."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def traj_id_of(row: dict[str, Any], name: str) -> str:
    """The row's own id, or its file with task and trial, or the name it has in the input."""
    if (own := first(row, ("traj_id", "trajectory_id"), as_id)) is not None:
        return str(own)
    task, trial = as_id(row.get("task_id")), as_id(row.get("trial"))
    if task is not None and trial is not None:
        name = f"{name.rpartition(':')[0] or name}:{task}-{trial}"
    return as_id(name) or name


def trajectory_of(
    row: dict[str, Any],
    messages: Iterable[Message],
    taken: Collection[str],
    name: str,
    where: str,
    *,
    tools: str | None = None,
) -> Trajectory:
    """A trajectory of a row with its messages and tools; `taken`: the fields those came from."""
    said = tuple(messages)
    told = found({key: value for key, value in row.items() if key not in taken})
    prompt = told.prompt if told.prompt is not None else first_prompt(said)
    return Trajectory(
        traj_id=traj_id_of(row, name),
        query_id=told.query_id or query_of(prompt),
        messages=said,
        tools=tools,
        prompt=prompt,
        reward=told.reward,
        success=told.success,
        termination=told.termination,
        reference=told.reference,
        answer=told.answer,
        category=told.category,
        files=told.files,
        meta=rest(row, taken),
        where=where,
    )


def own_fields(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory's fields beside messages and tools, by our own names, to be read back."""
    t = trajectory
    kept: dict[str, Any] = {"traj_id": t.traj_id, "query_id": t.query_id}
    if t.prompt != first_prompt(t.messages):
        kept["prompt"] = t.prompt
    optional = {
        "reward": t.reward,
        "success": t.success,
        "termination": t.termination,
        "reference": t.reference,
        "final_answer": t.answer,
        "category": t.category,
        "files": list(t.files) or None,
        "meta": t.meta if t.meta != "{}" else None,
    }
    kept |= {key: value for key, value in optional.items() if value is not None}
    return kept
