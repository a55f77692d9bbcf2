"""audit.csv: the draw as a table to fill in by hand, in a spreadsheet or an editor."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataprune.core.errors import TableError
from dataprune.core.files import atomic_path

_MOST_FIELD = 1 << 30  # a text may be longer than the 128 KiB that Python's reader takes
# A spreadsheet takes a cell that begins with such a sign, full-width or not, for a formula and runs
# it. Where cells begin depends on its language: after semicolons, say, whatever the quotes are, and
# then a line break within a cell ends the row.
_FORMULA = re.compile("(^|[;,])([\\s\"']*)([=+\\-@\uff1d\uff0b\uff0d\uff20])")
_CONTROL = re.compile("\r\n|[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]")  # line breaks, tabs and such


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, all with the same keys, as CSV.

    Text that looks like a formula, from its start or any separator on, gets a ' before it; line
    breaks and tabs become spaces. Lone surrogates, which UTF-8 cannot hold, become question marks.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(_as_csv(rows))


def is_changed(path: Path, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a file is there that is not these rows as written: it may be somebody's work."""
    return path.exists() and path.read_bytes() != _as_csv(rows)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue().encode("utf-8", errors="replace")


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


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _FORMULA.sub(r"\1\2'\3", _CONTROL.sub(" ", value))
