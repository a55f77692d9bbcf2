"""Groupings: joining rows, merging groupings, a user's column read as one, equal content."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.similarity.content import content_groups
from dataprune.similarity.groups import groups_of_column, join, merge_groups, singletons


def slow_join(groups: list[int], edges: list[tuple[int, int]]) -> list[int]:
    """Relabel whole groups, one edge at a time."""
    groups = list(groups)
    for a, b in edges:
        low, high = sorted((groups[a], groups[b]))
        groups = [low if g == high else g for g in groups]
    return groups


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.data())
def test_joining_equals_relabelling_edge_by_edge(num_rows: int, data: st.DataObject) -> None:
    row = st.integers(0, num_rows - 1)
    edges = data.draw(st.lists(st.tuples(row, row), max_size=40))
    first, second = edges[: len(edges) // 2], edges[len(edges) // 2 :]
    found = singletons(num_rows)
    for part in (first, second):
        left, right = (np.array([e[k] for e in part], dtype=np.int64) for k in (0, 1))
        found = join(found, left, right)
    assert found.tolist() == slow_join(list(range(num_rows)), edges)


def test_a_chain_of_a_hundred_thousand_rows_in_any_order_is_one_group() -> None:
    chain = np.random.default_rng(0).permutation(100_000)
    started = time.perf_counter()
    assert not join(singletons(len(chain)), chain[:-1], chain[1:]).any()
    assert time.perf_counter() - started < 5


def test_merging_keeps_together_what_any_grouping_keeps_together() -> None:
    one = np.array([0, 0, 2, 3, 4, 5])
    other = np.array([0, 1, 1, 3, 3, 5])
    assert merge_groups(one, other).tolist() == [0, 0, 0, 3, 3, 5]
    assert merge_groups(one).tolist() == one.tolist()


def test_merging_is_blind_to_the_order_of_the_groupings() -> None:
    rng = np.random.default_rng(0)
    groupings = [content_groups(rng.integers(0, 40, 60).astype(np.uint64)) for _ in range(3)]
    merged = merge_groups(*groupings)
    assert len(np.unique(merged)) < min(len(np.unique(g)) for g in groupings)
    np.testing.assert_array_equal(merged, merge_groups(*groupings[::-1]))
    np.testing.assert_array_equal(merged, merge_groups(merged, *groupings))


def test_groupings_of_no_rows_merge_to_none() -> None:
    assert merge_groups(singletons(0), singletons(0)).tolist() == []


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        (["a", "b", "a", None, None, "b"], [0, 1, 0, 3, 4, 1]),
        ([1, 2, 1], [0, 1, 0]),
        ([(1, 2), (1, 2), (1, 3)], [0, 0, 2]),
        ([float("nan"), 1.5, float("nan"), 1.5], [0, 1, 2, 1]),
        (pa.array(["a", "b", "a", None, None]), [0, 1, 0, 3, 4]),
        (pa.chunked_array([["x"], ["y", "x"], []], pa.string()), [0, 1, 0]),
        (pa.array([1.5, float("nan"), float("nan"), 1.5, None]), [0, 1, 2, 0, 4]),
        (pa.chunked_array([pa.array(["x"]).dictionary_encode()] * 2), [0, 0]),
        (pa.DictionaryArray.from_arrays([0, 1, 2, None], ["a", "b", "a"]), [0, 1, 0, 3]),
        (pa.array([None, None]), [0, 1]),
        (pa.array([], pa.string()), []),
        ([], []),
    ],
)
def test_equal_values_are_a_group_and_a_missing_value_is_its_own(
    values: Any, groups: list[int]
) -> None:
    found = groups_of_column(values)
    assert found.tolist() == groups
    assert found.dtype == np.int64


@pytest.mark.parametrize("values", [[[1], [1]], pa.array([[1], [1]]), pa.array([{"a": 1}])])
def test_values_that_cannot_be_compared_are_refused(values: Any) -> None:
    with pytest.raises(UsageError, match="a group column of type") as caught:
        groups_of_column(values)
    assert "column of strings" in (caught.value.hint or "")


def test_equal_hashes_are_a_group_named_by_its_first_row() -> None:
    hashes = np.array([7, 2**63, 7, 0, 2**63], dtype=np.uint64)
    found = content_groups(hashes)
    assert found.tolist() == [0, 1, 0, 3, 1]
    assert found.dtype == np.int64
    assert content_groups(hashes[:0]).tolist() == []


def test_a_hundred_thousand_equal_hashes_are_one_group_at_once() -> None:
    started = time.perf_counter()
    assert not content_groups(np.full(100_000, 5, dtype=np.uint64)).any()
    assert time.perf_counter() - started < 1
