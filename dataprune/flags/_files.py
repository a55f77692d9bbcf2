"""Files of held-out probabilities and of labels: .npy or Parquet, with class names by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, TableError, UsageError, nearest

Array = npt.NDArray[Any]
Read = tuple[Array, list[str] | None]


def read_probabilities(paths: Sequence[Path]) -> tuple[dict[str, Array], list[str] | None]:
    """Votes by file, columns in the order of the first file's class names; and those names.

    Raises:
        TableError: not readable, or no table of numbers.
        AlignmentError: files with other classes than the first, or with names beside some without.
        UsageError: one file twice, or a format that is not known.
    """
    votes: dict[str, Array] = {}
    first: list[str] | None = None
    for path in paths:
        if str(path) in votes:
            raise UsageError(f"{path} is given twice", hint="every vote is another model's file")
        values, names = _read(path, _probabilities_of_parquet)
        if not votes:
            first = names
        elif (names is None) != (first is None):
            raise AlignmentError(
                f"one of {paths[0]} and {path} names its classes, and the other does not",
                hint="store all of them as Parquet with a column per class",
            )
        elif names is not None and first is not None and names != first:
            values = _reordered(values, names, first, path, paths[0])
        votes[str(path)] = values
    return votes, first


def read_labels(path: Path, column: str | None) -> Array:
    """Labels as they are stored: integers or text (n,).

    column: of a Parquet file; default: its only one, or `label`.

    Raises:
        TableError: not readable, or a label is missing.
        UsageError: no such column, or it is not clear which.
    """
    if column is not None and path.suffix.lower() == ".npy":
        raise UsageError(
            f"{path} has no columns, so --label-column {column} has no effect",
            hint="leave --label-column out",
        )
    return _read(path, lambda file, where: (_labels_of_parquet(file, where, column), None))[0]


def _read(path: Path, of_parquet: Callable[[pq.ParquetFile, Path], Read]) -> Read:
    suffix = path.suffix.lower()
    if suffix not in {".npy", ".parquet"}:
        raise UsageError(f"{path} is neither .npy nor .parquet", hint="store it as one of the two")
    if not path.is_file():
        raise TableError(f"there is no file {path}", hint="look at the path")
    try:
        if suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        with pq.ParquetFile(path) as file:
            return of_parquet(file, path)
    except (pa.ArrowException, OSError, ValueError, EOFError) as exc:
        kind = "a .npy array" if suffix == ".npy" else "Parquet"
        raise TableError(
            f"{path} cannot be read as {kind}: {' '.join(str(exc).split())[:200]}",
            hint="write the file again, as plain numbers or text",
        ) from exc


def _probabilities_of_parquet(file: pq.ParquetFile, path: Path) -> Read:
    schema = file.schema_arrow
    if not schema.names:
        raise TableError(f"{path} has no columns", hint="one column per class is needed")
    kinds = [field.type for field in schema]
    if len(kinds) == 1 and _is_list(kinds[0]):
        return _rows_of_lists(file.read().column(0), path), None
    for name, kind in zip(schema.names, kinds, strict=True):
        if not pa.types.is_floating(kind):
            raise TableError(
                f"column {name} of {path} is {kind}, and probabilities are floating",
                hint="keep one floating column per class, named like it, or one list column",
            )
    common = np.result_type(*(kind.to_pandas_dtype() for kind in kinds))
    values = np.empty((file.metadata.num_rows, len(kinds)), dtype=common)
    for i in range(len(kinds)):  # one at a time: the table and the array are never both whole
        column = file.read(columns=[schema.names[i]]).column(0)
        values[:, i] = column.to_numpy(zero_copy_only=False)  # null: NaN
    return values, list(schema.names)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _rows_of_lists(column: pa.ChunkedArray, path: Path) -> Array:
    """A list column -> (n, C); a null row is NaN."""
    present = ~column.is_null().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(column.drop_null()).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if len(lengths) else 0
    other = np.flatnonzero(lengths != width)
    if len(other):
        row = np.flatnonzero(present)[other[0]]
        raise TableError(
            f"row {row} of {path} has {lengths[other[0]]} numbers, and the first has {width}",
            hint="every row has one number per class",
        )
    flat = pc.list_flatten(column.drop_null()).to_numpy(zero_copy_only=False)
    if flat.dtype.kind != "f":
        raise TableError(f"lists in {path} hold {flat.dtype}, not floats", hint="store float32")
    values = np.full((len(column), width), np.nan, dtype=flat.dtype)
    values[present] = flat.reshape(-1, width)
    return values


def _labels_of_parquet(file: pq.ParquetFile, path: Path, column: str | None) -> Array:
    names = file.schema_arrow.names
    if column is None:
        column = names[0] if len(names) == 1 else "label"
        if column not in names:
            raise UsageError(
                f"{path} has {len(names)} columns, and none is called label",
                hint=f"choose one by --label-column: {', '.join(names)}",
            )
    if column not in names:
        raise UsageError(f"{path} has no column {column}", hint=nearest(column, names))
    labels = file.read(columns=[column]).column(0)
    if labels.null_count:
        row = int(np.flatnonzero(labels.is_null().to_numpy(zero_copy_only=False))[0])
        raise TableError(
            f"row {row} of column {column} of {path} has no label ({labels.null_count} such rows)",
            hint="every row needs a given label; leave the others out of all files",
        )
    if pa.types.is_dictionary(labels.type):
        labels = labels.cast(labels.type.value_type)
    if pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
        return np.asarray(labels.to_pylist(), dtype=np.str_)
    values: Array = labels.to_numpy(zero_copy_only=False)
    return values


def _reordered(
    values: Array, names: list[str], wanted: list[str], path: Path, first: Path
) -> Array:
    if sorted(names) != sorted(wanted):
        lone = min(set(names) ^ set(wanted))
        where = path if lone in names else first
        raise AlignmentError(
            f"only {where} of {first} and {path} has a class {lone}",
            hint="every vote needs a column for every class, named alike",
        )
    return values[:, [names.index(name) for name in wanted]]
