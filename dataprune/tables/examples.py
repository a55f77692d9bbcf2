"""The examples of a source: row, content_hash, key, label. Every other table joins to it by row.

The label's type follows from the task: a class index, a list of them, numbers, or nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import AlignmentError, TableError
from dataprune.core.fingerprint import UInt64
from dataprune.tables.parquet import check_schema

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("content_hash", pa.uint64(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("label", pa.int32(), nullable=False),
    ]
)
# int32 is the usual one: single-label classification.
LABEL_TYPES = {
    "classification": (pa.int32(),),
    "multilabel": (pa.list_(pa.int32()),),
    "regression": (pa.float64(), pa.list_(pa.float64())),
    None: (pa.null(),),
}
GROUP = pa.field("group", pa.int64(), nullable=False)
NO_CLASSES = "all"
DESCRIPTIONS = {
    "row": "position in the pinned source, from 0: the join key",
    "content_hash": "hash of the input's canonical bytes, without the label",
    "key": "the user's own id column, if one was named",
    "label": "index into class_names of the metadata; multilabel: list<int32> of them; regression: "
    "double or list<double>; no labels: null",
}
GROUP_DESCRIPTION = (
    "int64: the smallest row of the row's group: exact copies, and what else was asked for"
)


def examples_table(
    hashes: UInt64,
    labels: npt.NDArray[Any],
    keys: pa.Array | None = None,
    groups: npt.NDArray[np.int64] | None = None,
) -> pa.Table:
    """Build the table for rows 0..n-1.

    labels: class indices int64 (n,); multi-hot uint8 (n, classes); numbers float64 (n, outputs);
        or (n, 0) for no labels.
    groups: the smallest row of each row's group, int64 (n,); a column of its own where given.
    """
    n = len(hashes)
    label = label_column(labels)
    table = pa.table(
        [
            pa.array(np.arange(n, dtype=np.int64)),
            pa.array(hashes),
            keys if keys is not None else pa.nulls(n, pa.string()),
            label,
        ],
        schema=with_label_type(SCHEMA, label.type),
    )
    return table if groups is None else table.append_column(GROUP, pa.array(groups))


def label_column(labels: npt.NDArray[Any]) -> pa.Array:
    """Labels in memory -> the column that tables hold."""
    if labels.ndim == 1:
        return pa.array(labels.astype(np.int32))
    if labels.shape[1] == 0:
        return pa.nulls(len(labels))
    if labels.dtype == np.uint8:
        rows, classes = np.nonzero(labels)
        starts = np.searchsorted(rows, np.arange(len(labels) + 1)).astype(np.int32)
        return pa.ListArray.from_arrays(starts, pa.array(classes.astype(np.int32)))
    if labels.shape[1] == 1:
        return pa.array(labels[:, 0].astype(np.float64))
    starts = np.arange(len(labels) + 1, dtype=np.int32) * np.int32(labels.shape[1])
    return pa.ListArray.from_arrays(starts, pa.array(labels.astype(np.float64).ravel()))


def with_label_type(schema: pa.Schema, label_type: pa.DataType) -> pa.Schema:
    """A schema of a table of examples, for labels of another type than a class index."""
    at = schema.get_field_index("label")
    return schema.set(at, pa.field("label", label_type, nullable=pa.types.is_null(label_type)))


def check_examples(table: pa.Table, schema: pa.Schema, *, what: str) -> None:
    """Check that a table begins with a contract's columns, whatever its task's labels are.

    Raises:
        TableError: the first column that differs.
    """
    at = schema.get_field_index("label")
    have = table.schema
    if at < len(have) and have.field(at).name == "label":
        if not any(have.field(at).type in kinds for kinds in LABEL_TYPES.values()):
            raise TableError(f"{what} has labels of type {have.field(at).type}")
        schema = with_label_type(schema, have.field(at).type)
    check_schema(table, schema, what=what)


def first_columns(table: pa.Table) -> int:
    """How many columns of a table of examples come before its own."""
    return len(SCHEMA) + (GROUP.name in table.schema.names)


def class_counts(
    table: pa.Table, num_classes: int, rows: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """How many rows (of a mask) each class has, int64 (classes,).

    A row may be of several classes (multilabel) or of none. Without classes all rows form one.

    Raises:
        TableError: a label is no class.
    """
    chosen = table if rows is None else table.filter(pa.array(rows))
    if num_classes == 0:
        return np.asarray([len(chosen)])
    label = chosen.column("label")
    classes = (
        label.combine_chunks().flatten() if pa.types.is_list(label.type) else label
    ).to_numpy()
    counts = np.bincount(classes, minlength=num_classes)
    if len(counts) > num_classes:
        raise TableError(f"a label is {len(counts) - 1}, and there are {num_classes} classes")
    return counts


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
        differs = _differing(ours.column(column), theirs.column(column))
        if len(differs):
            row = int(differs[0])
            raise AlignmentError(
                f"row {row} of {what} and of {other} differ in {column} "
                f"({len(differs)} rows differ)",
                hint="score this source again, or point to the source that was scored",
            )


def _differing(a: pa.ChunkedArray, b: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Positions at which two columns of equal length differ."""
    if a.equals(b):
        return np.empty(0, dtype=np.int64)
    if a.type == b.type and not pa.types.is_nested(a.type):
        return np.flatnonzero(a.to_numpy() != b.to_numpy())
    pairs = zip(a.to_pylist(), b.to_pylist(), strict=True)
    return np.asarray([i for i, (x, y) in enumerate(pairs) if x != y], dtype=np.int64)


def class_name(label: Any, names: list[str]) -> str:
    """A label for people: its class, its classes, or "all" where there are none."""
    if isinstance(label, list) and names:
        return " + ".join(names[i] for i in label) or "no class"
    return names[label] if names else NO_CLASSES
