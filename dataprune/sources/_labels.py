"""Labels by task: class indices, sets of classes, or numbers; what does not fit is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import SourceError
from dataprune.core.recipe_scores import TaskName
from dataprune.sources._rows import refuse_rows

Labels = npt.NDArray[Any]


def read_labels(
    column: pa.ChunkedArray,
    task: TaskName,
    declared: list[str] | None,
    known: list[str] | None,
    where: str,
    outputs: int | None = None,
) -> tuple[Labels, list[str]]:
    """Labels in memory, and the names of their classes (none for numbers).

    Classification: int64 (n,). Multilabel: multi-hot uint8 (n, classes). Regression: float64
    (n, outputs).

    declared: class names that the schema gives. known: the training split's, which a test split
        must share. outputs: how many numbers its labels have, likewise.

    Raises:
        SourceError: missing or unknown labels, or a type the task cannot have; rows are named.
    """
    refuse_rows(np.flatnonzero(column.is_null().to_numpy()), "have no label", where)
    if task == "regression":
        return _numbers(column, where, outputs), []
    if task == "multilabel":
        return _sets(column, declared, known, where)
    if _is_list(column.type):
        raise SourceError(
            f"labels of {where} are lists", hint="set task: multilabel, or name another label"
        )
    if not _names_classes(column.type):
        raise SourceError(
            f"labels of {where} are {column.type}",
            hint="classification wants integers, strings or booleans; numbers are for regression",
        )
    return _indices(column, declared, known, where, np.arange(len(column)))


def no_labels(num_rows: int) -> Labels:
    """The labels of a source that has none: (n, 0)."""
    return np.empty((num_rows, 0), dtype=np.float64)


def _indices(
    column: pa.ChunkedArray,
    declared: list[str] | None,
    known: list[str] | None,
    where: str,
    rows: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Class indices: by index where the schema declares names, else by value.

    rows: the source row of each value, for messages.
    """
    if declared is not None and pa.types.is_integer(column.type):
        if known is not None and known != declared:
            raise SourceError(f"{where} declares other class names than the training split")
        labels: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
        bad = rows[(labels < 0) | (labels >= len(declared))]
        refuse_rows(bad, f"have a label outside 0..{len(declared) - 1}", where)
        return labels, declared
    names = known or [str(v) for v in sorted(column.unique().to_pylist())]
    index = {name: i for i, name in enumerate(names)}
    values = [str(v) for v in column.to_pylist()]
    unknown = [i for i, v in enumerate(values) if v not in index]
    refuse_rows(rows[unknown], "have a label that the training split lacks", where)
    return np.asarray([index[v] for v in values], dtype=np.int64), names


def _sets(
    column: pa.ChunkedArray, declared: list[str] | None, known: list[str] | None, where: str
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    if not _is_list(column.type) or not _names_classes(column.type.value_type):
        raise SourceError(
            f"labels of {where} are {column.type}",
            hint="multilabel wants a list of classes (integers or strings) per row",
        )
    lengths = np.asarray(pc.list_value_length(column).to_numpy())
    rows = np.repeat(np.arange(len(column)), lengths)
    flat = pa.chunked_array([pc.list_flatten(column).combine_chunks()])
    refuse_rows(np.unique(rows[flat.is_null().to_numpy()]), "have a null among their labels", where)
    if len(flat) == 0 and declared is None and known is None:
        raise SourceError(f"no row of {where} has a label: every list is empty")
    indices, names = _indices(flat, declared, known, where, rows)
    labels = np.zeros((len(column), len(names)), dtype=np.uint8)
    twice = rows[_seen_before(rows * len(names) + indices)]
    refuse_rows(np.unique(twice), "name a class twice", where)
    labels[rows, indices] = 1
    return labels, names


def _seen_before(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    again = np.ones(len(values), dtype=np.bool_)
    again[np.unique(values, return_index=True)[1]] = False
    return again


def _numbers(column: pa.ChunkedArray, where: str, outputs: int | None) -> npt.NDArray[np.float64]:
    kind = column.type.value_type if _is_list(column.type) else column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise SourceError(
            f"labels of {where} are {column.type}",
            hint="regression wants a number, or a list of as many numbers, per row",
        )
    width, flat = 1, column
    if outputs not in {None, 1} and not _is_list(column.type):
        raise SourceError(f"labels of {where} are one number, and the training split's {outputs}")
    if _is_list(column.type):
        lengths = np.asarray(pc.list_value_length(column).to_numpy())
        refuse_rows(np.flatnonzero(lengths == 0), "have an empty list as label", where)
        width = outputs or int(lengths[0])
        refuse_rows(np.flatnonzero(lengths != width), f"do not have {width} numbers", where)
        flat = pc.list_flatten(column)
        missing = np.unique(np.flatnonzero(flat.is_null().to_numpy()) // width)
        refuse_rows(missing, "have a null among their labels", where)
    labels: npt.NDArray[np.float64] = flat.to_numpy().astype(np.float64).reshape(-1, width)
    bad = np.flatnonzero(~np.isfinite(labels).all(axis=1))
    refuse_rows(bad, "have a NaN or infinite label", where)
    return labels


def _names_classes(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
