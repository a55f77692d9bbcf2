"""Rows of two revisions of a source are matched by content, label and occurrence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dataprune.tables.examples import SCHEMA, examples_table, with_label_type
from dataprune.tables.matching import NEW, match_rows


def table(rows: list[tuple[int, int]]) -> pa.Table:
    """Examples of (content hash, class)."""
    hashes = np.asarray([h for h, _ in rows], dtype=np.uint64)
    return examples_table(hashes, np.asarray([label for _, label in rows], dtype=np.int64))


def slow_match(new: list[Any], old: list[Any]) -> list[int]:
    """For each new row the first old one that is equal and not taken yet."""
    taken: set[int] = set()
    found = []
    for row in new:
        at = next((i for i, o in enumerate(old) if o == row and i not in taken), NEW)
        taken.add(at)
        found.append(at)
    return found


ROWS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2)), min_size=1, max_size=30
)


@given(ROWS, ROWS)
def test_it_is_the_first_equal_row_that_is_not_taken(
    new: list[tuple[int, int]], old: list[tuple[int, int]]
) -> None:
    assert match_rows(table(new), table(old)).tolist() == slow_match(new, old)
    found = match_rows(table(new), table(old), labels=False)
    assert found.tolist() == slow_match([h for h, _ in new], [h for h, _ in old])


def test_copies_with_two_labels_are_found_in_any_order() -> None:
    old, new = table([(5, 0), (5, 1), (5, 1)]), table([(5, 1), (5, 1), (5, 0), (5, 0)])
    assert match_rows(new, old).tolist() == [1, 2, 0, NEW]


def typed(hashes: list[int], labels: pa.Array) -> pa.Table:
    n = len(hashes)
    columns = [pa.array(range(n), pa.int64()), pa.array(hashes, pa.uint64()), pa.nulls(n), labels]
    schema = with_label_type(SCHEMA, labels.type)
    return pa.Table.from_arrays([c.cast(f.type) for c, f in zip(columns, schema, strict=True)],
                                schema=schema)  # fmt: skip


def test_labels_may_be_numbers_lists_or_nothing() -> None:
    lists = pa.array([[0, 1], [], [2]], pa.list_(pa.int32()))
    numbers = pa.array([0.5, -0.0, 2.0])
    for labels in (lists, numbers, pa.nulls(3)):
        old = typed([7, 7, 8], labels)
        assert match_rows(old, old).tolist() == [0, 1, 2]
    other = typed([7, 7, 8], pa.array([[0], [], [2]], pa.list_(pa.int32())))
    assert match_rows(other, typed([7, 7, 8], lists)).tolist() == [NEW, 1, 2]


def test_labels_of_another_task_match_nothing() -> None:
    old, new = typed([7, 8], pa.array([0.5, 1.0])), table([(7, 0), (8, 1)])
    assert match_rows(new, old).tolist() == [NEW, NEW]
    assert match_rows(new, old, labels=False).tolist() == [0, 1]
