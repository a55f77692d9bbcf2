"""Rows of a curation's own versions: what was read from any format before, without any loss."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import pyarrow as pa

from dataprune.trajectories import Role, Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import Unreadable
from dataprune.trajectories.table import SCHEMA, row_of, trajectory_of

_OWN = {"traj_id", "query_id", "messages", "meta", "content_sha256"}


def _evidence(value: Any) -> str | None:
    if isinstance(value, dict) and value.keys() >= _OWN:
        return "it has the columns of a curated version"
    return None


def _read(value: Any, _name: str, where: str) -> Iterator[Trajectory]:
    if not isinstance(value, dict):
        raise Unreadable("it is no object")
    row = dict.fromkeys(SCHEMA.names) | value
    for field in SCHEMA:
        _check(row[field.name], field, field.name)
    if row["meta"] is not None:
        try:
            json.loads(row["meta"])
        except ValueError as exc:
            raise Unreadable("meta is no JSON") from exc
    roles = get_args(Role)
    for message in row["messages"] or ():
        if message.get("role") not in roles or not isinstance(message.get("content"), str):
            raise Unreadable("a message has no role or no content")
    yield trajectory_of({**row, "files": row["files"] or []}, where)


def _check(value: Any, field: pa.Field, name: str) -> None:
    """See to it that a value is of its column's type, as what Parquet gave out is."""
    kind = field.type
    if value is None:
        if not field.nullable:
            raise Unreadable(f"{name} is missing")
    elif pa.types.is_list(kind):
        _need(isinstance(value, list), name)
        for part in value:
            _check(part, kind.value_field.with_nullable(False), f"an element of {name}")
    elif pa.types.is_struct(kind):
        _need(isinstance(value, dict), name)
        for part in kind:
            _check(value.get(part.name), part, f"{part.name} in {name}")
    elif pa.types.is_boolean(kind):
        _need(isinstance(value, bool), name)
    elif pa.types.is_string(kind):
        _need(isinstance(value, str), name)
    else:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        _need(is_number and math.isfinite(value), name)


def _need(holds: bool, name: str) -> None:  # noqa: FBT001 - an assertion about the row
    if not holds:
        raise Unreadable(f"{name} is of another type than it was written with")


FORMAT = TrajectoryFormat("dataprune", _evidence, _read, row_of)
