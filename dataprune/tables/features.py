"""Features of examples: a vector for each row, that strategies of geometry read.

A unit that was asked for them writes those of its own model; scoring puts the seeds' together
beside the score table. A column of the source may take their place there, and a user's own file
when pruning: any Parquet with `row` and a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import sha256_file
from dataprune.tables.parquet import read_meta, write_table

FORMAT = "dataprune.features"
FORMAT_VERSION = 1
FEATURES = "features.parquet"
VECTOR = "vector"
SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False)])
DESCRIPTIONS = {
    "row": "position in the pinned source, ascending",
    VECTOR: "fixed_size_list<halffloat>: of one unit, what the model's last linear layer reads at "
    "the end of training, in eval mode; beside a score table, the seeds' put together, or a column "
    "of the source as it is",
}
_GROUP_ROWS = 1 << 16

Float16 = npt.NDArray[np.float16]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """Vectors of all rows of a source, float32 (n, D), in their order; and the file's hash."""

    values: Float32
    sha256: str


def write_features(path: Path, vectors: npt.NDArray[np.floating], meta: dict[str, Any]) -> None:
    """Write a vector for each row, (n, D), as float16.

    Raises:
        TableError: one is not finite in float16; the row is named.
    """
    with np.errstate(over="ignore"):
        halves = vectors.astype(np.float16)
    _check_finite(halves, str(path))
    n, size = halves.shape
    column = pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel()), size)
    table = pa.table({"row": pa.array(np.arange(n, dtype=np.int64)), VECTOR: column})
    table = table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, **meta}
    write_table(path, table, full, row_group_rows=_GROUP_ROWS)


def read_unit_features(path: Path, num_rows: int) -> Float32:
    """Features of one unit, float32 (n, D).

    Raises:
        TableError: not such a table, damaged, or of other rows.
    """
    read_meta(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    return read_features(path, num_rows).values


def read_features(path: Path, num_rows: int, column: str = VECTOR) -> Features:
    """Vectors of every row of a source of that many rows, whoever wrote the file.

    column: a list of numbers for each row, of one length. `row` says whose it is, in any order.

    Raises:
        UsageError: no such file or column. TableError: rows that are missing or twice, vectors of
            several lengths, or one that is not finite; the row is named.
    """
    if not path.is_file():
        raise UsageError(f"there is no file of features at {path}")
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in ("row", column):
                if name not in names:
                    raise UsageError(
                        f"{path} has no column {name}",
                        hint=f"features are columns row and {VECTOR}, or FILE.parquet:COLUMN; it "
                        f"has {', '.join(names)}",
                    )
            table = file.read(columns=["row", column])
    except (pa.ArrowException, OSError) as exc:
        problem = " ".join(str(exc).split())[:200]
        raise TableError(f"{path} cannot be read as Parquet: {problem}") from exc
    values = _in_order(path, table, _vectors(path, table.column(column)), num_rows)
    _check_finite(values, str(path))
    return Features(values, sha256_file(path))


def _vectors(path: Path, column: pa.ChunkedArray) -> Float32:
    one = column.combine_chunks()
    lists = isinstance(one, pa.FixedSizeListArray | pa.ListArray | pa.LargeListArray)
    if not lists or not _are_numbers(one.type.value_type) or one.null_count:
        raise TableError(f"{path} holds {one.type} where a list of numbers for each row should be")
    if not isinstance(one, pa.FixedSizeListArray):
        lengths = np.unique(one.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise TableError(f"{path} holds vectors of {len(lengths)} lengths, should be one")
    flat = one.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if not len(flat):
        raise TableError(f"{path} holds no features")
    values: Float32 = flat.reshape(len(one), -1)
    return values


def _are_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _in_order(path: Path, table: pa.Table, values: Float32, num_rows: int) -> Float32:
    rows = table.column("row").to_numpy()
    order = np.argsort(rows, kind="stable")
    if len(rows) != num_rows or not np.array_equal(rows[order], np.arange(num_rows)):
        missing = np.setdiff1d(np.arange(num_rows), rows)
        what = f"row {missing[0]} is not there" if len(missing) else f"{len(rows)} rows are"
        raise TableError(
            f"{path} should hold features of the source's {num_rows} rows, once each: {what}"
        )
    ascending = np.array_equal(order, np.arange(num_rows))
    return values if ascending else values[order]


def _check_finite(values: npt.NDArray[np.floating], where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise TableError(f"features in {where} of row {bad[0]} are not finite numbers")
