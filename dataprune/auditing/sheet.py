"""audit.csv: the draw as a table to fill in by hand, in a spreadsheet or an editor."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataprune.core.errors import TableError
from dataprune.core.files import atomic_path

_MOST_FIELD = 1 << 30  # a text may be longer than the 128 KiB that Python's reader takes
# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, all with the same keys, as CSV; text that looks like a formula gets a leading '.

    Lone surrogates, which UTF-8 cannot hold, become question marks.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    with atomic_path(path) as temporary:
        temporary.write_bytes(out.getvalue().encode("utf-8", errors="replace"))


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that may have been through a spreadsheet; a cell that is missing is "".

    Spreadsheets save in encodings of their own, with separators of their own. What is read back of
    an audit is ASCII in all of them.

    Raises:
        TableError: it is no CSV.
    """
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    separator = max(",;\t", key=text.partition("\n")[0].count)
    before = csv.field_size_limit(_MOST_FIELD)
    try:
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=separator, restkey="", restval=""
        )
        return list(reader)
    except csv.Error as exc:
        raise TableError(f"{path} cannot be read as CSV: {exc}") from exc
    finally:
        csv.field_size_limit(before)


def is_filled_in(path: Path) -> bool:
    """Whether a file at this path may hold somebody's verdicts; what cannot be read may, too."""
    if not path.exists():
        return False
    try:
        rows = read_sheet(path)
    except TableError:
        return True
    return any(row.get("verdict", "?").strip() for row in rows)


def _cell(value: Any) -> Any:
    text = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if text else value
