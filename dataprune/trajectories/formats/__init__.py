"""Formats: how files hold trajectories. One format a file, each defines `FORMAT`.

A format turns one JSON object (a line, an element, a file) into trajectories and, where it can hold
them, back. How objects come out of files (JSON, JSON Lines, Parquet, gzip, zstd) is the same for
all and lies in `_objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dataprune.core.registry import Registry
from dataprune.trajectories import Trajectory


@dataclass(frozen=True)
class TrajectoryFormat:
    """A registered format.

    evidence: what in an object shows that it is of this format, in words; None where nothing does.
    read: an object, a name for it that is unique in the input, and where it stands, for people ->
        its trajectories (a tree or a session may hold several).
    write: a trajectory -> the object that holds it; None where the format is only read.
    """

    name: str
    evidence: Callable[[Any], str | None]
    read: Callable[[Any, str, str], Iterator[Trajectory]]
    write: Callable[[Trajectory], Any] | None = None


FORMATS: Registry[TrajectoryFormat] = Registry(
    "dataprune.trajectories.formats", "FORMAT", "trajectory format"
)
