"""Types of values that JSON holds: settled from some, then held to by all.

Arrow's own inference takes text among integers for integers, and its conversion takes 1.5 for 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

_SCALARS: dict[frozenset[type], pa.DataType] = {
    frozenset(): pa.string(),  # nothing but nulls
    frozenset({str}): pa.string(),
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
}
_ALLOWED: dict[pa.DataType, frozenset[type]] = {
    pa.string(): frozenset({str}),
    pa.bool_(): frozenset({bool}),
    pa.int64(): frozenset({int}),
    pa.float64(): frozenset({int, float}),
}


def settle(values: Iterable[Any]) -> pa.DataType | None:
    """The type that values have in common; None if they have none.

    Text, bool, int64, float64 (integers among them too), lists and objects of these; only nulls
    are text.
    """
    values = [value for value in values if value is not None]
    kinds = frozenset(map(type, values))
    if kinds == {list}:
        items = settle(itertools.chain.from_iterable(values))
        return None if items is None else pa.list_(items)
    if kinds == {dict}:
        names = dict.fromkeys(itertools.chain.from_iterable(values))
        fields = {name: settle(value.get(name) for value in values) for name in names}
        return None if None in fields.values() else pa.struct(list(fields.items()))
    return _SCALARS.get(kinds)


def to_array(values: list[Any], wanted: pa.DataType) -> pa.Array | None:
    """The values as an array of a settled type; None if one does not fit, so that nothing is lost.

    Null fits any type, and an integer fits float64 if that holds it.
    """
    if not _fit(values, wanted):
        return None
    try:
        return pa.array(values, wanted)
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None  # an integer of more than 64 bits, half of a surrogate pair


def _fit(values: Iterable[Any], wanted: pa.DataType) -> bool:
    values = [value for value in values if value is not None]
    kinds = set(map(type, values))
    if pa.types.is_list(wanted):
        items = itertools.chain.from_iterable(values)
        return kinds <= {list} and _fit(items, wanted.value_type)
    if pa.types.is_struct(wanted):
        if not kinds <= {dict}:
            return False
        names = {field.name for field in wanted}
        return all(value.keys() <= names for value in values) and all(
            _fit((value.get(field.name) for value in values), field.type) for field in wanted
        )
    return kinds <= _ALLOWED[wanted]
