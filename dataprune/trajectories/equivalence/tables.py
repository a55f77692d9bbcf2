"""Tables: Markdown, CSV, JSON rows, tuples of a SQL result.

Rows have no order, as they have none in a relation; where a ranking is asked for, its column of
ranks carries the order. Columns go by their names where both tables have the same ones, and by
their places otherwise, because names of computed columns differ from query to query.
"""

from __future__ import annotations

import csv
import re

from dataprune.trajectories.equivalence.lists import inside, read_scalar, unquoted
from dataprune.trajectories.equivalence.pairs import read_json, scalar_of
from dataprune.trajectories.equivalence.texts import normalised
from dataprune.trajectories.equivalence.values import Scalar, Table, Text

_RULE = re.compile(r" *:?-+:? *")
_MOST_WORDS = 8  # of a cell of CSV: prose has commas too
_NOTHING = frozenset({"", "null", "none", "nan", "na", "n/a", "<na>"})


def read_table(text: str) -> Table | None:
    """The table that a whole text is; None where it is none."""
    if text[:1] in {"[", "("}:
        return _from_json(text) if "{" in text[:40] else _from_tuples(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        return None
    return _from_markdown(lines) if lines[0].startswith("|") else _from_csv(lines)


def _from_markdown(lines: list[str]) -> Table | None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [at for at, row in enumerate(rows) if all(_RULE.fullmatch(cell) for cell in row)]
    if not all(line.startswith("|") for line in lines) or rules not in ([], [1]):
        return None
    return _table(rows[0], rows[2:]) if rules else _table(None, rows)


def _from_csv(lines: list[str]) -> Table | None:
    delimiter = "\t" if "\t" in lines[0] else ","
    try:
        rows = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return None
    if len(rows[0]) < 2 or any(len(c.split()) > _MOST_WORDS for row in rows for c in row):
        return None
    whole = _table(None, rows)
    return _table(rows[0], rows[1:]) if whole and _has_header(whole) else whole


def _has_header(table: Table) -> bool:
    """Whether the first row is words, above a column that has none."""
    first, *rest = table.rows
    words = all(isinstance(cell, Text) for cell in first)
    return words and any(
        not any(isinstance(row[at], Text) for row in rest) for at in range(len(first))
    )


def _from_tuples(text: str) -> Table | None:
    parts = inside(text)
    if not parts or not all(part[:1] in {"(", "["} for part in parts):
        return None
    rows = [inside(part) for part in parts]
    full = [row for row in rows if row is not None]
    if len(full) < len(rows):
        return None
    if any(cell[:1] in {"(", "[", "{"} for row in full for cell in row):
        return None
    return _table(None, [[unquoted(cell) for cell in row] for row in full])


def _from_json(text: str) -> Table | None:
    rows = read_json(text)
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        return None
    names = list(rows[0])
    if not names or any(set(row) != set(names) for row in rows):
        return None
    cells = [[scalar_of(row[name]) for name in names] for row in rows]
    known = [tuple(_cell_of(c) for c in row if c is not None) for row in cells]
    if any(len(row) < len(names) for row in known):
        return None
    return Table(tuple(normalised(name) for name in names), tuple(known))


def _table(header: list[str] | None, rows: list[list[str]]) -> Table | None:
    width = len(header) if header is not None else len(rows[0])
    if not rows or not width or any(len(row) != width for row in rows):
        return None
    cells = tuple(tuple(_cell_of(read_scalar(cell)) for cell in row) for row in rows)
    return Table(tuple(normalised(name) for name in header) if header is not None else None, cells)


def _cell_of(scalar: Scalar) -> Scalar:
    return Text("null") if isinstance(scalar, Text) and scalar.words in _NOTHING else scalar


def by_name(a: Table, b: Table) -> tuple[Table, Table]:
    """Both with their columns sorted by name, where both have the same ones, each once."""
    if a.header is None or b.header is None or len(set(a.header)) < len(a.header):
        return a, b
    names = sorted(a.header)
    if names != sorted(b.header):
        return a, b
    return _with_columns(a, names), _with_columns(b, names)


def _with_columns(table: Table, names: list[str]) -> Table:
    assert table.header is not None
    places = [table.header.index(name) for name in names]
    return Table(tuple(names), tuple(tuple(row[at] for at in places) for row in table.rows))
