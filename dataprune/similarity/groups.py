"""Arithmetic of groupings: joining rows, combining groupings, reading a column as one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError

Rows = npt.NDArray[np.int64]


def singletons(num_rows: int) -> Rows:
    """The finest grouping: every row by itself."""
    return np.arange(num_rows, dtype=np.int64)


def join(groups: Rows, left: Rows, right: Rows) -> Rows:
    """A grouping in which left[k] and right[k] are together, for every k, and nothing else new.

    Each round hangs every group under the smallest group it touches, then flattens: a few rounds
    do, whatever the shape of the components.
    """
    joined = groups.copy()
    while True:
        one, other = joined[left], joined[right]
        apart = one != other
        if not apart.any():
            return joined
        one, other = one[apart], other[apart]
        np.minimum.at(joined, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(flatter := joined[joined], joined):
            joined = flatter


def merge_groups(*groupings: Rows) -> Rows:
    """The finest grouping that keeps together whatever any of these keeps together.

    groupings: at least one, each int64 (n,) of row positions, as this package makes them.

    Returns:
        int64 (n,), the smallest row position of each row's group.
    """
    sizes = {len(groups) for groups in groupings}
    assert len(sizes) == 1, f"groupings of different numbers of rows: {sorted(sizes)}"
    merged = singletons(sizes.pop())
    for groups in groupings:
        merged = join(merged, singletons(len(groups)), groups)
    return merged


def groups_of_column(values: pa.Array | pa.ChunkedArray | Iterable[Hashable]) -> Rows:
    """Rows of equal value are one group; a row without a value (null, NaN) is its own.

    values: a user's own group column: an Arrow column, or any n hashable values.

    Returns:
        int64 (n,), the smallest row position of each row's group.

    Raises:
        UsageError: the values cannot be compared, such as lists.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        codes = _arrow_codes(values)
    else:
        codes = _python_codes(values)
    groups = singletons(len(codes))
    known = codes >= 0
    rows = np.flatnonzero(known)
    if len(rows):
        _, first, inverse = np.unique(codes[known], return_index=True, return_inverse=True)
        groups[rows] = rows[first][inverse]
    return groups


def _arrow_codes(values: pa.Array | pa.ChunkedArray) -> Rows:
    """A number for each value, -1 for none."""
    column = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    if pa.types.is_dictionary(column.type):  # one value may stand twice in a dictionary
        column = column.cast(column.type.value_type)
    try:
        codes = column.dictionary_encode().indices
    except pa.ArrowNotImplementedError as exc:
        raise _not_groups(str(column.type)) from exc
    numbers: Rows = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _python_codes(values: Iterable[Hashable]) -> Rows:
    seen: dict[Any, int] = {}
    codes = []
    for value in values:
        try:
            missing = value is None or value != value  # noqa: PLR0124 - only NaN differs from itself
            codes.append(-1 if missing else seen.setdefault(value, len(seen)))
        except TypeError as exc:
            raise _not_groups(type(value).__name__) from exc
    return np.asarray(codes, dtype=np.int64)


def _not_groups(kind: str) -> UsageError:
    return UsageError(
        f"a group column of type {kind} holds no values that can be compared",
        hint="name a column of strings, whole numbers or the like",
    )
