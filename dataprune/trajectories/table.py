"""Trajectories as one Parquet file: the source that a curation's versions are made of.

Messages have the field names of OpenAI's chat format, so that what trains on that reads a version
as it is; arguments and tools are JSON text, because Arrow would merge the keys of different tools.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.trajectories import Message, ToolCall, Trajectory, content_sha256

_FUNCTION = pa.struct(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("arguments", pa.string(), nullable=False),
    ]
)
_CALL = pa.struct(
    [
        pa.field("id", pa.string()),
        pa.field("type", pa.string()),
        pa.field("function", _FUNCTION, nullable=False),
    ]
)
_MESSAGE = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("reasoning_content", pa.string()),
        pa.field("tool_calls", pa.list_(_CALL)),
        pa.field("tool_call_id", pa.string()),
        pa.field("name", pa.string()),
        pa.field("train", pa.bool_(), nullable=False),
        pa.field("extra", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("traj_id", pa.string(), nullable=False),
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(_MESSAGE), nullable=False),
        pa.field("tools", pa.string()),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("reference", pa.string()),
        pa.field("reward", pa.float64()),
        pa.field("success", pa.bool_()),
        pa.field("termination", pa.string()),
        pa.field("category", pa.string()),
        pa.field("files", pa.list_(pa.string()), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
    ]
)
INPUT, KEY = "content_sha256", "traj_id"
_GROUP_BYTES = 16 << 20  # of text in a row group: what a reader holds at once
_GROUP_ROWS = 4096
_BATCH_ROWS = 256


class TrajectoryWriter:
    """Writes trajectories as they come; a context, whose file is whole only if it ends well."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _exc: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, trajectory: Trajectory) -> str:
        """Write one more row; gives its content hash."""
        row = row_of(trajectory)
        self._rows.append(row)
        self._bytes += _size(row)
        if self._bytes >= _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._flush()
        sha256: str = row["content_sha256"]
        return sha256

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._bytes = [], 0


def _size(row: dict[str, Any]) -> int:
    """About how many bytes a row is: the characters of all its texts."""
    size = 0
    rest: list[Any] = [row]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
    return size


def row_of(trajectory: Trajectory) -> dict[str, Any]:
    """A trajectory as a row of `SCHEMA`."""
    return {
        "traj_id": _utf8(trajectory.traj_id),
        "query_id": _utf8(trajectory.query_id),
        "messages": [_message(m) for m in trajectory.messages],
        "tools": _maybe(trajectory.tools),
        "prompt": _utf8(trajectory.prompt),
        "answer": _maybe(trajectory.answer),
        "reference": _maybe(trajectory.reference),
        "reward": trajectory.reward,
        "success": trajectory.success,
        "termination": _maybe(trajectory.termination),
        "category": _maybe(trajectory.category),
        "files": [_utf8(name) for name in trajectory.files],
        "meta": _utf8(trajectory.meta),
        "content_sha256": content_of(trajectory),
    }


def content_of(trajectory: Trajectory) -> str:
    """A trajectory's content hash; of a row that could not be read, of why and where."""
    if trajectory.problem is not None:
        unread = json.dumps(["unread", trajectory.traj_id, trajectory.problem])
        return content_sha256([Message("user", unread)], None)
    return content_sha256(trajectory.messages, trajectory.tools)


def trajectory_of(row: dict[str, Any], where: str) -> Trajectory:
    """A row of `SCHEMA` as a trajectory again."""
    return Trajectory(
        traj_id=row["traj_id"],
        query_id=row["query_id"],
        messages=tuple(_message_of(m) for m in row["messages"]),
        tools=row["tools"],
        prompt=row["prompt"],
        reward=row["reward"],
        success=row["success"],
        termination=row["termination"],
        reference=row["reference"],
        answer=row["answer"],
        category=row["category"],
        files=tuple(row["files"] or ()),
        meta=row["meta"],
        where=where,
    )


def stored_rows(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a file of ours, in order, some at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                yield trajectory_of(row, path.name)


def _message(message: Message) -> dict[str, Any]:
    return {
        "role": message.role,
        "content": _utf8(message.content),
        "reasoning_content": _maybe(message.reasoning),
        "tool_calls": [
            {
                "id": _maybe(call.call_id),
                "type": "function",
                "function": {"name": _utf8(call.name), "arguments": _utf8(call.arguments)},
            }
            for call in message.tool_calls
        ]
        or None,
        "tool_call_id": _maybe(message.call_id),
        "name": _maybe(message.name),
        "train": message.train,
        "extra": _maybe(message.extra),
    }


def _message_of(row: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["function"]["name"], call["function"]["arguments"], call.get("id"))
        for call in row.get("tool_calls") or ()
    )
    return Message(
        role=row["role"],
        content=row["content"],
        reasoning=row.get("reasoning_content"),
        tool_calls=calls,
        call_id=row.get("tool_call_id"),
        name=row.get("name"),
        train=row["train"],
        extra=row.get("extra"),
    )


def _maybe(text: str | None) -> str | None:
    return None if text is None else _utf8(text)


def _utf8(text: str) -> str:
    """Text that Parquet can hold: a surrogate that stands alone becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
