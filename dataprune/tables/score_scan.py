"""A score table read in parts, as often as wanted, for what is too large to hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprune.core.errors import TableError
from dataprune.tables import examples
from dataprune.tables.parquet import ROW_GROUP_ROWS, read_table
from dataprune.tables.scores import FORMAT, FORMAT_VERSION, ScoreTable


@dataclass(frozen=True)
class ScoreScan:
    """A score table on disk. head: the same without rows, for what its metadata tells."""

    path: Path
    head: ScoreTable
    num_rows: int

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows in order, up to `ROW_GROUP_ROWS` at a time; all columns by default."""
        names = None if columns is None else list(columns)
        with pq.ParquetFile(self.path) as file:
            for group in range(file.metadata.num_row_groups):
                for batch in file.iter_batches(ROW_GROUP_ROWS, row_groups=[group], columns=names):
                    table = pa.Table.from_batches([batch])
                    yield table.replace_schema_metadata(None)

    def bounds(self, column: str) -> tuple[float, float] | None:
        """Lowest and highest value by the file's own statistics; None where it has none."""
        with pq.ParquetFile(self.path) as file:
            at = file.schema_arrow.get_field_index(column)
            groups = range(file.metadata.num_row_groups)
            found = [file.metadata.row_group(i).column(at).statistics for i in groups]
            if any(stats is None or not stats.has_min_max for stats in found):
                return None
            return min(s.min for s in found), max(s.max for s in found)


@dataclass(frozen=True)
class HeldScores:
    """A score table in memory, in parts. head: the whole."""

    head: ScoreTable

    @property
    def num_rows(self) -> int:
        """How many rows it has."""
        return len(self.head.table)

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """As `ScoreScan.parts`."""
        table = self.head.table if columns is None else self.head.table.select(list(columns))
        for start in range(0, len(table), ROW_GROUP_ROWS):
            yield table.slice(start, ROW_GROUP_ROWS)

    def bounds(self, column: str) -> tuple[float, float] | None:
        """Lowest and highest value."""
        found = pc.min_max(self.head.table.column(column)).as_py()
        return (found["min"], found["max"])


Scores = ScoreScan | HeldScores


def scan_scores(path: Path) -> ScoreScan:
    """Open a score table without reading its rows; that they are in order is seen as they are read.

    Raises:
        TableError: not a score table, or damaged.
    """
    head, meta = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION, columns=[])
    num_rows = head.num_rows
    schema = pq.read_schema(path).remove_metadata()
    examples.check_examples(schema.empty_table(), examples.SCHEMA, what=f"score table {path}")
    if not num_rows:
        raise TableError(f"score table {path} has no rows")
    return ScoreScan(path, ScoreTable(schema.empty_table(), meta), num_rows)


def check_rows(table: pa.Table, start: int, *, what: str) -> None:
    """Check that a part's rows are those that stand at its place in the source.

    Raises:
        TableError: the first row that is elsewhere.
    """
    rows = table.column("row").to_numpy()
    bad = np.flatnonzero(rows != np.arange(start, start + len(rows)))
    if len(bad):
        raise TableError(
            f"{what} has row {rows[bad[0]]} at position {start + bad[0]}",
            hint="rows must stand in source order, each once",
        )


def finite(table: pa.Table, column: str, start: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A part's values of a score, float32 (n,).

    Raises:
        TableError: one is NaN, inf or null.
    """
    values: np.ndarray[Any, np.dtype[np.float32]] = (
        table.column(column).to_numpy().astype(np.float32, copy=False)
    )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise TableError(
            f"score {column} is {values[bad[0]]} for row {start + bad[0]}",
            hint="a score must be a number for every row; score again",
        )
    return values
