"""Whether two values are one answer: yes, no, or undecided by code."""

from __future__ import annotations

from functools import partial
from typing import Any

from dataprune.trajectories.equivalence.dates import same_date
from dataprune.trajectories.equivalence.lists import every, is_prose, matched
from dataprune.trajectories.equivalence.numbers import difference, same_number
from dataprune.trajectories.equivalence.options import said, same_option
from dataprune.trajectories.equivalence.tables import by_name
from dataprune.trajectories.equivalence.values import (
    Boolean,
    Date,
    Items,
    Number,
    Option,
    Pairs,
    Scalar,
    Table,
    Text,
    Value,
)

_RESIDUE = 1e-9  # what arithmetic leaves of a zero in a cell


def same(a: Value, b: Value, tolerance: float) -> bool | None:
    """Whether a and b are one answer; symmetric. None: code cannot tell."""
    if a == b:
        return True
    if isinstance(a, Table | Pairs) or isinstance(b, Table | Pairs):
        return _same_structure(a, b, tolerance)
    if isinstance(a, Items) and isinstance(b, Items):
        pair = partial(same_scalar, tolerance=tolerance)
        if a.is_vector and b.is_vector:
            return _in_order(a.items, b.items, tolerance)
        return matched(a.items, b.items, pair, _order)
    if isinstance(a, Items):
        return None if isinstance(b, Text) and is_prose(a) else False
    if isinstance(b, Items):
        return None if isinstance(a, Text) and is_prose(b) else False
    return same_scalar(a, b, tolerance)


def same_scalar(a: Scalar, b: Scalar, tolerance: float) -> bool | None:
    """The same of single values."""
    if a == b:
        return True
    if isinstance(a, Option) and isinstance(b, Option):
        return same_option(a, b)
    if isinstance(a, Option) or isinstance(b, Option):
        # A letter alone does not say what its option says.
        x = said(a) if isinstance(a, Option) else a
        y = said(b) if isinstance(b, Option) else b
        return None if x is None or y is None else same_scalar(x, y, tolerance)
    if isinstance(a, Number) or isinstance(b, Number):
        m, n = _number(a), _number(b)
        return same_number(m, n, tolerance) if m and n else False
    if isinstance(a, Text) or isinstance(b, Text):
        is_said = isinstance(a, Text) and isinstance(b, Text) and a.words == b.words
        return True if is_said else None
    if isinstance(a, Date) and isinstance(b, Date):
        return same_date(a, b)
    return False


def relative_difference(a: Value, b: Value) -> float:
    """The largest between the numbers of two equivalent answers: single ones and named ones."""
    if isinstance(a, Pairs) and isinstance(b, Pairs):
        held = zip(a.pairs, b.pairs, strict=True)
        return max(relative_difference(x, y) for (_, x), (_, y) in held)
    if isinstance(a, Items | Table | Pairs) or isinstance(b, Items | Table | Pairs):
        return 0.0
    x, y = _number(a), _number(b)
    return difference(x, y) if x and y else 0.0


def _number(value: Scalar) -> Number | None:
    if isinstance(value, Option):
        return value.rest if isinstance(value.rest, Number) else None
    if isinstance(value, Text):
        return value.number
    return value if isinstance(value, Number) else None


def _same_structure(a: Value, b: Value, tolerance: float) -> bool | None:
    if isinstance(a, Pairs) and isinstance(b, Pairs):
        if [name for name, _ in a.pairs] != [name for name, _ in b.pairs]:
            return False
        held = zip(a.pairs, b.pairs, strict=True)
        return every(same(x, y, tolerance) for (_, x), (_, y) in held)
    x, y = _as_table(a), _as_table(b)
    if x is None or y is None or len(x.rows[0]) != len(y.rows[0]):
        return False
    x, y = by_name(x, y)
    pair = partial(_same_row, tolerance=tolerance)
    return matched(x.rows, y.rows, pair, lambda row: [_order(cell) for cell in row])


def _as_table(value: Value) -> Table | None:
    """A table; a list is one row without names, named values are one with them."""
    if isinstance(value, Items) and value.items:
        return Table(None, (value.items,))
    if isinstance(value, Pairs):
        cells = [held for _, held in value.pairs if not isinstance(held, Items)]
        if len(cells) < len(value.pairs):
            return None
        return Table(tuple(name for name, _ in value.pairs), (tuple(cells),))
    return value if isinstance(value, Table) else None


def _same_row(a: tuple[Scalar, ...], b: tuple[Scalar, ...], tolerance: float) -> bool:
    """Cells are data: words that differ are different, and nothing is left to a judge."""
    return all(_same_cell(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _same_cell(x: Scalar, y: Scalar, tolerance: float) -> bool:
    if isinstance(x, Number) and isinstance(y, Number) and not (x.value and y.value):
        return max(abs(x.value), abs(y.value)) <= _RESIDUE
    return same_scalar(x, y, tolerance) is True


def _in_order(a: tuple[Scalar, ...], b: tuple[Scalar, ...], tolerance: float) -> bool | None:
    if len(a) != len(b):
        return False
    return every(same_scalar(x, y, tolerance) for x, y in zip(a, b, strict=True))


def _order(value: Scalar) -> tuple[Any, ...]:
    """A total order of scalars: numbers by size, then everything by what it is."""
    number = _number(value)
    is_boolean = isinstance(value, Boolean)
    return (number is None, float(number.value) if number else 0.0, is_boolean, repr(value))
