"""Trajectories out of files: finds the format and reads every row, however it turns out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataprune.core.errors import UsageError, nearest
from dataprune.tables.manifest import FileEntry
from dataprune.trajectories import Trajectory
from dataprune.trajectories.formats import FORMATS, TrajectoryFormat
from dataprune.trajectories.formats._detect import SAMPLE, Found, detect_format, shows_format
from dataprune.trajectories.formats._files import RowsFile, file_entries, find_files
from dataprune.trajectories.formats._json import Problem
from dataprune.trajectories.formats._objects import Item, objects
from dataprune.trajectories.formats._rows import Unreadable, as_id, query_of

_LONGEST_NAME = 200  # characters; names are told in ledgers, which quote no text


@dataclass(frozen=True)
class Reading:
    """Files with trajectories of a known format.

    evidence: why it is this format, for people. group_by: a field of the rows that names the query,
    dots lead into objects. rows: {label of a file: its rows}, known once they were all read.
    """

    format: str
    evidence: str
    files: tuple[RowsFile, ...]
    group_by: str | None = None
    rows: dict[str, int] = field(default_factory=dict)

    def trajectories(self) -> Iterator[Trajectory]:
        """All trajectories, in the order of the files; may be called again.

        A row that cannot be read is a trajectory with a `problem` and without messages.

        Raises:
            SourceError: a whole file cannot be read.
        """
        plugin = FORMATS.get(self.format)
        for file in self.files:
            number = 0
            for item in objects(file, shows_format):
                number += 1
                yield from _read(item, plugin, self.group_by)
            self.rows[file.label] = number

    def sample(self) -> Iterator[Trajectory]:
        """About 100 trajectories: the first of each file, to tell the dialect by."""
        plugin = FORMATS.get(self.format)
        for item in _sample(self.files):
            yield from _read(item, plugin, self.group_by)

    def entries(self) -> list[FileEntry]:
        """The files by content: reads all of them once more."""
        return file_entries(self.files, self.rows)


def read_trajectories(
    paths: Sequence[str | Path], format_name: str | None = None, group_by: str | None = None
) -> Reading:
    """Open files and folders with trajectories; nothing but a sample is read yet.

    Raises:
        UsageError: there is no format of that name, or which one it is cannot be told.
        SourceError: a path or file cannot be read.
    """
    files = find_files(paths)
    if format_name is not None:
        FORMATS.get(format_name)
        found = Found(format_name, "it was named")
    else:
        found = detect_format(list(_sample(files)))
    if group_by is not None:
        _check_field(list(_sample(files)), group_by)
    return Reading(found.name, found.evidence, files, group_by)


def _check_field(sample: Sequence[Item], group_by: str) -> None:
    """Refuse a field that no row has.

    Raises:
        UsageError: it names the fields there are.
    """
    rows = [item.value for item in sample if isinstance(item.value, dict)]
    for row in rows:
        try:
            _query_of(row, group_by)
        except Unreadable:
            continue
        return
    if rows:
        names = sorted({name for row in rows for name in row})
        raise UsageError(
            f"no row names its query in a field {group_by}", hint=nearest(group_by, names)
        )


def _sample(files: tuple[RowsFile, ...]) -> Iterator[Item]:
    """The first rows of each file, so many that there are about `SAMPLE` in all."""
    each = max(1, SAMPLE // len(files))
    for file in files[:SAMPLE]:
        with contextlib.closing(objects(file, shows_format)) as rows:
            yield from itertools.islice(rows, each)


def _read(item: Item, plugin: TrajectoryFormat, group_by: str | None) -> Iterator[Trajectory]:
    """The trajectories of a row, or one that says why there are none."""
    if isinstance(item.value, Problem):
        yield _unread(item, item.value.says)
        return
    try:
        made = list(plugin.read(item.value, item.name, item.where))
        query_id = None if group_by is None else _query_of(item.value, group_by)
    except Unreadable as exc:
        yield _unread(item, f"it is not of the format {plugin.name}: {exc}")
        return
    except RecursionError:
        yield _unread(item, "it is nested too deeply")
        return
    yield from (made if query_id is None else (_of_query(t, query_id) for t in made))


def _of_query(trajectory: Trajectory, query_id: str) -> Trajectory:
    return dataclasses.replace(trajectory, query_id=query_id)


def _unread(item: Item, problem: str) -> Trajectory:
    name = as_id(item.name) or ""
    return Trajectory(name, name, (), where=item.where, problem=problem)


def _query_of(row: Any, path: str) -> str:
    """The query's name in a row; of a text that is the question itself, its hash."""
    value = row
    for key in (path,) if isinstance(row, dict) and path in row else path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    name = as_id(value)
    if name is None:
        raise Unreadable(f"{path} is no text or whole number")
    return name if len(name) <= _LONGEST_NAME else query_of(name)
