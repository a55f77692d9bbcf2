"""The score table: one row per example of the source, scores beside each other, and their specs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import TableError, UsageError, nearest
from dataprune.core.fingerprint import HASH_VERSION
from dataprune.tables import examples
from dataprune.tables.flags import FlagColumns
from dataprune.tables.parquet import check_target, read_table, write_table

FORMAT = "dataprune.scores"
FORMAT_VERSION = 1
CARRIED = "carried"
DESCRIPTIONS = {
    **examples.DESCRIPTIONS,
    "group": examples.GROUP_DESCRIPTION,
    "NAME@EPOCH": "float32: the score after that epoch, over the seeds that its spec names; not of "
    "scores of the untrained weights",
    "NAME": "float32: the score at the last checkpoint",
    "NAME_std": "float32: standard deviation over seeds (ddof 0) at the last checkpoint",
    "NAME_se": "float32: standard error, of a score that is a difference; it has no NAME_std",
    "FLAG": "float32: a flag's number in 0..1, such as label_issue; with it is_FLAG (bool) and the "
    "other columns of its table of flags",
    CARRIED: "int64: whose units scored the row: 0 the table's own, k those of the k-th entry of "
    "the metadata's carried; only where scores of an earlier revision were carried over",
}


@dataclass(frozen=True)
class ScoreTable:
    """A score table in memory: `table` as stored, `meta` the JSON that travels with it.

    origins: metadata of the tables that joined columns came from.
    """

    table: pa.Table
    meta: dict[str, Any]
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)

    def origin(self, column: str) -> dict[str, Any]:
        """Metadata of the table that a column came from."""
        return self.origins.get(column, self.meta)

    @property
    def columns(self) -> list[str]:
        """Names of the score columns (not their spreads)."""
        return list(self.meta["scores"])

    def values(
        self, column: str, *, among: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float64]:
        """One score column as float64 (n,).

        among: bool (n,), the rows whose score counts; the others are 0 where they have none.

        Raises:
            UsageError: there is no such column.
            TableError: the column holds NaN, inf or null.
        """
        if column not in self.columns:
            raise UsageError(
                f"the score table has no column {column}", hint=nearest(column, self.columns)
            )
        array = self.table.column(column)
        values: npt.NDArray[np.float64] = array.to_numpy().astype(np.float64)
        if among is not None:
            values = np.where(among | np.isfinite(values), values, 0.0)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise TableError(
                f"score {column} is {values[bad[0]]} for row {bad[0]} ({len(bad)} such rows)",
                hint="a score must be a number for every row; score again",
            )
        return values


def check_table_path(path: str | Path) -> Path:
    """Where scores may be written.

    Raises:
        UsageError: as `check_target`.
    """
    return check_target(path, FORMAT)


def write_scores(
    path: Path,
    example_table: pa.Table,
    columns: dict[str, npt.NDArray[np.float64]],
    meta: dict[str, Any],
    flags: Sequence[FlagColumns] = (),
) -> None:
    """Write examples, their score columns and flags; every value must be finite.

    Raises:
        TableError: a score is NaN or inf; the row is named.
    """
    table = example_table
    for name, values in columns.items():
        with np.errstate(over="ignore"):
            stored = values.astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(stored))
        if len(bad):
            raise TableError(
                f"score {name} is {values[bad[0]]} for row {bad[0]}, which float32 cannot hold"
            )
        column = pa.field(name, pa.float32(), nullable=False)
        table = table.append_column(column, pa.array(stored))
    for found in flags:
        for field_ in found.columns.schema:
            table = table.append_column(field_, found.columns.column(field_.name))
        meta = {
            **meta,
            "scores": meta["scores"] | {found.name: found.spec},
            "flags": meta.get("flags", {}) | {found.name: found.about},
        }
    full = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "hash_version": HASH_VERSION,
        **meta,
    }
    write_table(path, table, full)


def read_scores(path: Path) -> ScoreTable:
    """Read a score table and check its shape.

    Raises:
        TableError: not a score table, damaged, rows out of order, or hashes of another version.
    """
    table, meta = read_table(path, format_name=FORMAT, format_version=FORMAT_VERSION)
    examples.check_examples(table, examples.SCHEMA, what=f"score table {path}")
    if meta["hash_version"] != HASH_VERSION:
        raise TableError(f"{path} has hash version {meta['hash_version']}, not {HASH_VERSION}")
    rows = table.column("row").to_numpy()
    if len(rows) == 0:
        raise TableError(f"score table {path} has no rows")
    if not np.array_equal(rows, np.arange(len(rows))):
        row = int(np.flatnonzero(rows != np.arange(len(rows)))[0])
        raise TableError(
            f"score table {path} has row {rows[row]} at position {row}",
            hint="rows must stand in source order, each once",
        )
    return ScoreTable(table, meta)
