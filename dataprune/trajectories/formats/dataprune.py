"""Rows of a curation's own versions: what was read from any format before, without any loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import Unreadable
from dataprune.trajectories.table import SCHEMA, row_of, trajectory_of

_OWN = {"traj_id", "query_id", "messages", "meta", "content_sha256"}


def _evidence(value: Any) -> str | None:
    if isinstance(value, dict) and value.keys() >= _OWN:
        return "it has the columns of a curated version"
    return None


def _read(value: Any, _name: str, where: str) -> Iterator[Trajectory]:
    row = dict.fromkeys(SCHEMA.names) | value
    try:
        yield trajectory_of(row, where)
    except (AttributeError, KeyError, TypeError) as exc:
        raise Unreadable("its messages are not those of a curated version") from exc


FORMAT = TrajectoryFormat("dataprune", _evidence, _read, row_of)
