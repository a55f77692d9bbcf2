"""What one unit observed: a row per (checkpoint, example), one float32 column per signal.

It lies in one file, or where several workers did the unit, in shards: a file per checkpoint and
range of rows. Each tells how many rows and which checkpoints there are in all, so that none can be
missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import TableError
from dataprune.tables.parquet import check_schema, read_meta, read_table, write_table

FORMAT = "dataprune.trace"
FORMAT_VERSION = 1
TRACE = "trace.parquet"
_SHARD = re.compile(r"trace-e\d+-r\d+\.parquet")
NO_WINDOW = -1.0  # what a signal over windows of epochs is until there were enough epochs
SCHEMA = pa.schema(
    [
        pa.field("checkpoint", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("in_sample", pa.bool_(), nullable=False),
    ]
)
DESCRIPTIONS = {
    "checkpoint": "epoch after which the signals were taken",
    "row": "position in the pinned source",
    "in_sample": "whether this unit trained on the row and, in mode train, a step has shown it by "
    "then; most scores average these seeds only",
    "label": "recorded traces only: class index, or hash of the targets; -1 where never shown",
    "SIGNAL": "one column per recorded signal",
}

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """A unit's trace in memory.

    signals: {checkpoint: {signal: float64 (n,)}}, rows in source order.
    in_sample: bool (n,), the rows that were trained on, and observed, by the last checkpoint.
    by_checkpoint: the same at each checkpoint, where it grows: rows that the training steps before
        a checkpoint left out.
    """

    in_sample: npt.NDArray[np.bool_]
    signals: dict[int, dict[str, Float]]
    by_checkpoint: dict[int, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def in_sample_at(self, checkpoint: int) -> npt.NDArray[np.bool_]:
        """The rows that count as in-sample at a checkpoint, bool (n,)."""
        return self.by_checkpoint.get(checkpoint, self.in_sample)


class UnitFiles(Protocol):
    """Where a finished unit's files are: a record of the ledger."""

    @property
    def files(self) -> Mapping[str, str]:
        """Their names, with hashes."""

    def path(self, name: str) -> Path:
        """Where one is."""


def write_trace(
    path: Path,
    in_sample: npt.NDArray[np.bool_] | Mapping[int, npt.NDArray[np.bool_]],
    signals: dict[int, dict[str, npt.NDArray[np.float32]]],
    meta: dict[str, Any],
) -> None:
    """Write signals of all checkpoints, one row group each. NaN or inf names the row.

    in_sample: bool (n,), the same at every checkpoint or one for each.

    Raises:
        TableError: a signal is not finite.
    """
    parts = []
    for checkpoint, columns in sorted(signals.items()):
        here = in_sample[checkpoint] if isinstance(in_sample, Mapping) else in_sample
        parts.append(_table(checkpoint, 0, here, columns))
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, **meta}
    write_table(path, pa.concat_tables(parts), full, row_group_rows=len(parts[-1]))


def write_trace_shards(
    folder: Path,
    rows: range,
    num_rows: int,
    in_sample: npt.NDArray[np.bool_],
    signals: dict[int, dict[str, npt.NDArray[np.float32]]],
    meta: dict[str, Any],
) -> None:
    """Write signals of a range of rows, a file for each checkpoint; nothing for an empty range.

    rows: those that in_sample and signals are of. num_rows: of the source.

    Raises:
        TableError: a signal is not finite.
    """
    if not rows:
        return
    for checkpoint, columns in sorted(signals.items()):
        shard = {
            "checkpoint": checkpoint,
            "first": rows.start,
            "stop": rows.stop,
            "num_rows": num_rows,
            "checkpoints": sorted(signals),
        }
        full = {"format": FORMAT, "format_version": FORMAT_VERSION, "shard": shard, **meta}
        table = _table(checkpoint, rows.start, in_sample, columns)
        path = folder / f"trace-e{checkpoint}-r{rows.start}.parquet"
        write_table(path, table, full, row_group_rows=len(rows))


def _table(
    checkpoint: int,
    first: int,
    in_sample: npt.NDArray[np.bool_],
    columns: dict[str, npt.NDArray[np.float32]],
) -> pa.Table:
    """Signals at one checkpoint of the rows from `first` on."""
    n = len(in_sample)
    for name, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise TableError(
                f"signal {name} at epoch {checkpoint} is {values[bad[0]]} for row {first + bad[0]}"
            )
    table = pa.table(
        {
            "checkpoint": pa.array(np.full(n, checkpoint, dtype=np.int32)),
            "row": pa.array(np.arange(first, first + n, dtype=np.int64)),
            "in_sample": pa.array(in_sample),
            **{name: pa.array(columns[name]) for name in sorted(columns)},
        }
    )
    fields = [*SCHEMA, *(f.with_nullable(False) for f in list(table.schema)[len(SCHEMA) :])]
    return table.cast(pa.schema(fields))


def trace_names(names: Iterable[str]) -> list[str]:
    """Which of a unit's files are its trace: the one, or its shards."""
    found = sorted(names)
    return [TRACE] if TRACE in found else [name for name in found if _SHARD.fullmatch(name)]


def read_unit_trace(
    unit: UnitFiles, signals: Iterable[str], at: Iterable[int] | None = None
) -> Trace:
    """As `read_trace`, of a finished unit, whether one worker wrote it or several."""
    return read_trace([unit.path(name) for name in trace_names(unit.files)], signals, at)


def read_trace(
    paths: Path | Sequence[Path], signals: Iterable[str], at: Iterable[int] | None = None
) -> Trace:
    """Read some signals of a unit's trace back, at some checkpoints (default: at all).

    paths: the file, or all shards.

    Raises:
        TableError: not a trace, damaged, or a shard is missing.
    """
    names = sorted(signals)
    wanted = None if at is None else sorted(at)
    paths = [paths] if isinstance(paths, Path) else list(paths)
    table = pa.concat_tables([_read(path, names) for path in _in_order(paths, wanted)])
    checkpoints = table.column("checkpoint").to_numpy()
    by_checkpoint = {}
    for checkpoint in np.unique(checkpoints) if wanted is None else wanted:
        here = checkpoints == checkpoint
        by_checkpoint[int(checkpoint)] = {
            name: table.column(name).to_numpy()[here].astype(np.float64) for name in names
        }
    in_sample = table.column("in_sample").to_numpy()
    masks = {checkpoint: in_sample[checkpoints == checkpoint] for checkpoint in by_checkpoint}
    return Trace(in_sample[checkpoints == checkpoints[-1]], by_checkpoint, masks)


def _read(path: Path, names: list[str]) -> pa.Table:
    columns = [*SCHEMA.names, *names]
    table, meta = read_table(
        path, format_name=FORMAT, format_version=FORMAT_VERSION, columns=columns
    )
    check_schema(table, SCHEMA, what=f"trace {path}")
    shard = meta.get("shard")
    if shard is not None:
        rows = np.arange(shard["first"], shard["stop"])
        if not np.array_equal(table.column("row").to_numpy(), rows):
            raise TableError(f"{path} does not hold the rows that it says")
    return table


def _in_order(paths: list[Path], at: list[int] | None) -> list[Path]:
    """The files of the checkpoints wanted, by checkpoint and row; each row must be in one.

    Raises:
        TableError: there is none, a shard is missing, two overlap, or they are of two traces.
    """
    if not paths:
        raise TableError("the unit has no trace file")
    found = {
        path: read_meta(path, format_name=FORMAT, format_version=FORMAT_VERSION).get("shard")
        for path in paths
    }
    shards = {path: shard for path, shard in found.items() if shard is not None}
    if not shards and len(paths) == 1:
        return paths
    about = {(s["num_rows"], tuple(s["checkpoints"])) for s in shards.values()}
    if len(about) != 1 or len(shards) < len(paths):
        raise TableError(f"the trace files in {paths[0].parent} are not of one trace")
    ((num_rows, checkpoints),) = about
    ordered = []
    for checkpoint in checkpoints:
        here = [path for path, shard in shards.items() if shard["checkpoint"] == checkpoint]
        here.sort(key=lambda path: shards[path]["first"])
        edges = [0, *(shards[path]["stop"] for path in here)]
        starts = [*(shards[path]["first"] for path in here), num_rows]
        for edge, start in zip(edges, starts, strict=True):
            if edge != start:
                what = "in no shard" if edge < start else "in two shards"
                raise TableError(
                    f"row {min(edge, start)} at epoch {checkpoint} is {what} of the trace in "
                    f"{paths[0].parent}"
                )
        ordered += here if at is None or checkpoint in at else []
    missing = sorted(set(at or ()) - set(checkpoints))
    if missing:
        raise TableError(f"the trace in {paths[0].parent} has no epoch {missing[0]}")
    return ordered
