"""The examples of a source: row, content_hash, key, label. Every other table joins to it by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import AlignmentError
from dataprune.core.fingerprint import UInt64

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("content_hash", pa.uint64(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("label", pa.int32(), nullable=False),
    ]
)
DESCRIPTIONS = {
    "row": "position in the pinned source, from 0: the join key",
    "content_hash": "hash of the input's canonical bytes, without the label",
    "key": "the user's own id column, if one was named",
    "label": "index into class_names of the metadata",
}


def examples_table(
    hashes: UInt64, labels: npt.NDArray[np.int64], keys: pa.Array | None = None
) -> pa.Table:
    """Build the table for rows 0..n-1."""
    n = len(hashes)
    return pa.table(
        [
            pa.array(np.arange(n, dtype=np.int64)),
            pa.array(hashes),
            keys if keys is not None else pa.nulls(n, pa.string()),
            pa.array(labels.astype(np.int32)),
        ],
        schema=SCHEMA,
    )


def occurrences(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many equal values stand before each position, int64 (n,).

    Of content hashes it gives the occurrence number: the k-th copy of an example has k - 1.
    """
    order = np.argsort(values, kind="stable")
    _, start, counts = np.unique(values[order], return_index=True, return_counts=True)
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - np.repeat(start, counts)
    return before


def check_aligned(ours: pa.Table, theirs: pa.Table, *, what: str, other: str) -> None:
    """Check that two tables speak of the same rows: content and labels, in the same order.

    Raises:
        AlignmentError: names the first row that differs.
    """
    if len(ours) != len(theirs):
        raise AlignmentError(
            f"{what} has {len(ours)} rows, {other} has {len(theirs)}",
            hint="score this source again, or point to the source that was scored",
        )
    for column in ("content_hash", "label"):
        a, b = (np.asarray(t.column(column).to_numpy()) for t in (ours, theirs))
        differs = np.flatnonzero(a != b)
        if len(differs):
            row = int(differs[0])
            raise AlignmentError(
                f"row {row} of {what} and of {other} differ in {column} "
                f"({len(differs)} rows differ)",
                hint="score this source again, or point to the source that was scored",
            )
