"""Held-out outputs of one unit: a row per example that the unit did not train on.

The evidence behind label flags: what a probe says of an example it has never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import TableError
from dataprune.tables.parquet import read_table, write_table

FORMAT = "dataprune.heldout"
FORMAT_VERSION = 1
MOST_OUTPUTS = 100
TOP = 32
_PIECE_ROWS = 4096
SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False)])
DESCRIPTIONS = {
    "row": "position in the pinned source, ascending; rows trained on are not here",
    "outputs": f"fixed_size_list<float>: every output (logit; regression: in the labels' units), "
    f"up to {MOST_OUTPUTS} of them",
    "top_classes": f"fixed_size_list<int32>: beyond that, the {TOP} classes of the largest logits",
    "top_logits": "fixed_size_list<float>: their logits, falling",
    "logsumexp": "float: logsumexp over all classes' logits",
    "label_logit": "float: the logit of the row's own label",
}

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HeldOut:
    """Held-out outputs in memory.

    rows: int64 (k,). outputs: float32 (k, C); None beyond 100 classes, where there are the top 32:
    top_classes int32 (k, 32), top_logits float32 (k, 32), logsumexp and label_logit float32 (k,).
    """

    rows: npt.NDArray[np.int64]
    outputs: Float | None
    top_classes: npt.NDArray[np.int32] | None = None
    top_logits: Float | None = None
    logsumexp: Float | None = None
    label_logit: Float | None = None


def condense(
    rows: npt.NDArray[np.int64], outputs: npt.NDArray[np.floating], labels: npt.NDArray[Any] | None
) -> HeldOut:
    """Outputs (k, C) as they are stored.

    labels: class indices (k,) of classification; None for tasks whose outputs are no rivals, which
        keep every output.
    """
    if outputs.shape[1] <= MOST_OUTPUTS or labels is None:
        return HeldOut(rows, outputs.astype(np.float32))
    parts = []
    for start in range(0, len(rows), _PIECE_ROWS):  # what is made on the way stays small
        here = slice(start, start + _PIECE_ROWS)
        exact = outputs[here].astype(np.float64)
        order = np.argsort(-exact, axis=1, kind="stable")[:, :TOP]
        largest = exact.max(axis=1)
        parts.append(
            (
                order.astype(np.int32),
                np.take_along_axis(exact, order, axis=1).astype(np.float32),
                (largest + np.log(np.exp(exact - largest[:, None]).sum(axis=1))).astype(np.float32),
                exact[np.arange(len(exact)), labels[here]].astype(np.float32),
            )
        )
    return HeldOut(rows, None, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def write_heldout(path: Path, held_out: HeldOut, meta: dict[str, Any]) -> None:
    """Write held-out outputs; NaN or inf names the row.

    Raises:
        TableError: an output is not finite.
    """
    columns: dict[str, pa.Array] = {"row": pa.array(held_out.rows)}
    for name in DESCRIPTIONS:
        values = None if name == "row" else getattr(held_out, name)
        if values is None:
            continue
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if len(bad):
            raise TableError(f"held-out {name} of row {held_out.rows[bad[0]]} is not finite")
        columns[name] = _column(values)
    table = pa.table(columns)
    table = table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))
    write_table(path, table, {"format": FORMAT, "format_version": FORMAT_VERSION, **meta})


def read_heldout(path: Path) -> HeldOut:
    """Read held-out outputs back.

    Raises:
        TableError: not such a table, or damaged.
    """
    table, _ = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    found = {name: _array(table.column(name)) for name in table.schema.names}
    return HeldOut(found["row"], *(found.get(name) for name in list(DESCRIPTIONS)[1:]))


def _column(values: npt.NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    one = column.combine_chunks()
    nested = pa.types.is_fixed_size_list(one.type)
    values: npt.NDArray[Any] = one.flatten().to_numpy() if nested else one.to_numpy()
    return values.reshape(len(one), one.type.list_size) if nested else values
