"""Files of other tools' per-example numbers: Parquet, CSV or JSONL, some columns read exactly.

Row numbers in messages count the file's rows from 0, without header and blank lines.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import TableError, UsageError, nearest

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,100}", re.ASCII)


@dataclass(frozen=True)
class OtherTable:
    """Columns of a file as Python values; a missing one is None.

    known: all its columns' names. is_text: whether every value came as text (CSV).
    """

    path: Path
    known: list[str]
    columns: dict[str, list[Any]]
    num_rows: int
    is_text: bool

    def column(self, name: str) -> list[Any]:
        """Values, none of them missing.

        Raises:
            TableError: one is missing.
        """
        values = self.columns[name]
        self._refuse(name, [i for i, value in enumerate(values) if value is None], "no value")
        return values

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of finite numbers, float64.

        Raises:
            TableError: one is missing, NaN, infinite or no number.
        """
        values = [self._number(value) for value in self.columns[name]]
        bad = [i for i, value in enumerate(values) if not math.isfinite(value)]
        self._refuse(name, bad, "no finite number")
        return np.asarray(values, dtype=np.float64)

    def integers(self, name: str) -> list[int]:
        """A column of whole numbers, exact.

        Raises:
            TableError: one is missing or no whole number.
        """
        values = [self._integer(value) for value in self.columns[name]]
        bad = [i for i, value in enumerate(values) if value is None]
        self._refuse(name, bad, "no whole number")
        return [value for value in values if value is not None]

    def keys(self, name: str) -> list[str]:
        """A column of keys as text: strings, or whole numbers.

        Raises:
            TableError: one is missing or neither.
        """
        values = self.columns[name]
        bad = [
            i for i, value in enumerate(values)
            if isinstance(value, bool) or not isinstance(value, str | int)
        ]  # fmt: skip
        self._refuse(name, bad, "no key (text or whole number)")
        return [str(value) for value in values]

    def _refuse(self, name: str, bad: Sequence[int], lack: str) -> None:
        if bad:
            found = self.columns[name][bad[0]]
            shown = "null" if found is None else repr(found)[:80]
            raise TableError(
                f"{len(bad)} rows of {self.path} have {lack} in {name} (first: row {bad[0]}, "
                f"{shown})",
                hint="give one for every row",
            )

    def _number(self, value: Any) -> float:
        if isinstance(value, str) and self.is_text and _NUMBER.fullmatch(value):
            return float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                return math.inf
        return math.nan

    def _integer(self, value: Any) -> int | None:
        if isinstance(value, str) and self.is_text and _INTEGER.fullmatch(value):
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_other(path: Path, names: Sequence[str]) -> OtherTable:
    """Read some columns of a file; the ending says what it is.

    Raises:
        TableError: no such file, not readable, no rows.
        UsageError: an ending that is not known, or a column that is not there.
    """
    readers: dict[str, Callable[[Path, list[str]], OtherTable]] = {
        ".parquet": _read_parquet,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".jsonl": _read_jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path} is of no format that scores are imported from",
            hint=f"formats: {', '.join(readers)}",
        )
    if not path.is_file():
        raise TableError(f"there is no file {path}")
    table = reader(path, list(dict.fromkeys(names)))
    if table.num_rows == 0:
        raise TableError(f"{path} has no rows")
    return table


def _check_columns(path: Path, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{path} has no column {name}", hint=nearest(name, known))
        if list(known).count(name) > 1:
            raise TableError(f"{path} has two columns {name}")


def _read_parquet(path: Path, names: list[str]) -> OtherTable:
    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            _check_columns(path, names, known)
            table = file.read(columns=names)
    except (pa.ArrowException, OSError) as exc:
        problem = " ".join(str(exc).split())[:200]
        raise TableError(f"{path} cannot be read as Parquet: {problem}") from exc
    columns = {name: table.column(name).to_pylist() for name in names}
    return OtherTable(path, known, columns, file.metadata.num_rows, is_text=False)


def _read_csv(path: Path, names: list[str]) -> OtherTable:
    rows = _csv_rows(path)
    known = next(rows, [])
    _check_columns(path, names, known)
    places = [(name, known.index(name)) for name in names]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    count = 0
    for row in rows:
        if len(row) != len(known):
            raise TableError(
                f"row {count} of {path} has {len(row)} cells, and the header {len(known)}"
            )
        for name, place in places:
            columns[name].append(row[place].strip() or None)
        count += 1
    return OtherTable(path, known, columns, count, is_text=True)


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows that are not blank, the header first."""
    limit = csv.field_size_limit(sys.maxsize)  # a long text beside the scores is no matter
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from filter(None, csv.reader(file, delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError) as exc:
        raise TableError(f"{path} cannot be read as CSV: {exc}") from exc
    finally:
        csv.field_size_limit(limit)


def _read_jsonl(path: Path, names: list[str]) -> OtherTable:
    columns: dict[str, list[Any]] = {name: [] for name in names}
    known: dict[str, None] = {}
    count = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as exc:
                    raise TableError(f"line {number} of {path} is not JSON: {exc}") from exc
                if not isinstance(found, dict):
                    raise TableError(f"line {number} of {path} is no JSON object")
                known.update(dict.fromkeys(found))
                for name in names:
                    columns[name].append(found.get(name))
                count += 1
    except UnicodeDecodeError as exc:
        raise TableError(f"{path} is not UTF-8: {exc}") from exc
    if count:
        _check_columns(path, names, list(known))
    return OtherTable(path, list(known), columns, count, is_text=False)
