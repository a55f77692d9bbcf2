"""What one unit observed: a row per (checkpoint, example), one float32 column per signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import TableError
from dataprune.tables.parquet import check_schema, read_table, write_table

FORMAT = "dataprune.trace"
FORMAT_VERSION = 1
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
        n = len(here)
        for name, values in columns.items():
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                raise TableError(
                    f"signal {name} at epoch {checkpoint} is {values[bad[0]]} for row {bad[0]}"
                )
        parts.append(
            pa.table(
                {
                    "checkpoint": pa.array(np.full(n, checkpoint, dtype=np.int32)),
                    "row": pa.array(np.arange(n, dtype=np.int64)),
                    "in_sample": pa.array(here),
                    **{name: pa.array(columns[name]) for name in sorted(columns)},
                }
            )
        )
    table = pa.concat_tables(parts)
    fields = [*SCHEMA, *(f.with_nullable(False) for f in list(table.schema)[len(SCHEMA) :])]
    table = table.cast(pa.schema(fields))
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, **meta}
    write_table(path, table, full, row_group_rows=n)


def read_trace(path: Path, signals: Iterable[str], at: Iterable[int] | None = None) -> Trace:
    """Read some signals of a unit's trace back, at some checkpoints (default: at all).

    Raises:
        TableError: not a trace, or damaged.
    """
    names = sorted(signals)
    columns = [*SCHEMA.names, *names]
    table, _ = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION, columns=columns)
    check_schema(table, SCHEMA, what=f"trace {path}")
    checkpoints = table.column("checkpoint").to_numpy()
    by_checkpoint = {}
    for checkpoint in np.unique(checkpoints) if at is None else sorted(at):
        here = checkpoints == checkpoint
        by_checkpoint[int(checkpoint)] = {
            name: table.column(name).to_numpy()[here].astype(np.float64) for name in names
        }
    in_sample = table.column("in_sample").to_numpy()
    masks = {checkpoint: in_sample[checkpoints == checkpoint] for checkpoint in by_checkpoint}
    return Trace(in_sample[checkpoints == checkpoints[-1]], by_checkpoint, masks)
