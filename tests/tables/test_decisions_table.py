"""Decisions: one for every row, with its reason, and counts that reconcile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import TableError
from dataprune.tables.decisions import (
    SCHEMA,
    count_by_class,
    count_reasons,
    read_decisions,
    write_decisions,
)
from dataprune.tables.examples import examples_table

NAMES = ["ant", "bee", "été"]
ROWS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=50)


def decisions(rows: list[tuple[int, bool]]) -> pa.Table:
    """Decisions about rows of (label, keep)."""
    n = len(rows)
    labels = np.array([label for label, _ in rows], np.int64)
    examples = examples_table(np.arange(n, dtype=np.uint64), labels)
    return pa.table(
        [
            *examples.columns,
            pa.array([keep for _, keep in rows], pa.bool_()),
            pa.array(["within_budget" if keep else "too_easy" for _, keep in rows]),
            pa.array(["hardest"] * n),
            pa.array(range(n), pa.int64()),
            pa.array([i / 7 for i in range(n)], pa.float32()),
        ],
        schema=SCHEMA,
    )


FIVE = [(0, True), (0, False), (2, True), (2, True), (0, False)]


def test_decisions_come_back(tmp_path: Path) -> None:
    write_decisions(tmp_path / "d.parquet", decisions(FIVE), {"class_names": NAMES})
    assert read_decisions(tmp_path / "d.parquet").equals(decisions(FIVE))


def test_the_same_decisions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_decisions(tmp_path / name, decisions(FIVE), {"class_names": NAMES})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("column", SCHEMA.names)
def test_decisions_that_lack_a_column_are_neither_written_nor_read(
    tmp_path: Path, column: str
) -> None:
    table = decisions(FIVE).drop_columns([column])
    with pytest.raises(TableError, match=f"should have column .* called {column}"):
        write_decisions(tmp_path / "d.parquet", table, {})
    assert list(tmp_path.iterdir()) == []


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    table = decisions(FIVE)
    at = SCHEMA.get_field_index("keep")
    table = table.set_column(at, "keep", pa.array([1, 0, 1, 1, 0]))
    with pytest.raises(TableError, match="column keep of type int64, should be bool"):
        write_decisions(tmp_path / "d.parquet", table, {})


def test_another_parquet_file_holds_no_decisions(tmp_path: Path) -> None:
    pq.write_table(decisions(FIVE), tmp_path / "d.parquet")
    with pytest.raises(TableError, match="is not a dataprune decisions table"):
        read_decisions(tmp_path / "d.parquet")


def test_counts_are_per_class_and_a_class_without_rows_is_counted_too() -> None:
    assert count_by_class(decisions(FIVE), NAMES) == {
        "ant": {"source": 3, "kept": 1, "dropped": 2},
        "bee": {"source": 0, "kept": 0, "dropped": 0},
        "été": {"source": 2, "kept": 2, "dropped": 0},
    }


@settings(deadline=None)
@given(ROWS)
def test_kept_and_dropped_add_up_to_the_source_in_every_class(rows: list[tuple[int, bool]]) -> None:
    counts = count_by_class(decisions(rows), NAMES)
    assert list(counts) == NAMES
    for i, name in enumerate(NAMES):
        kept = sum(1 for label, keep in rows if label == i and keep)
        dropped = sum(1 for label, keep in rows if label == i and not keep)
        assert counts[name] == {"source": kept + dropped, "kept": kept, "dropped": dropped}


def test_rows_of_a_class_without_a_name_do_not_vanish_from_the_counts() -> None:
    with pytest.raises(TableError, match="a label is 2, and there are 2 classes"):
        count_by_class(decisions(FIVE), NAMES[:2])


@settings(deadline=None)
@given(ROWS)
def test_every_row_has_one_reason_and_they_are_counted_by_code(
    rows: list[tuple[int, bool]],
) -> None:
    counts = count_reasons(decisions(rows))
    kept = sum(keep for _, keep in rows)
    wanted = {"too_easy": len(rows) - kept, "within_budget": kept}
    assert counts == {code: n for code, n in wanted.items() if n}
    assert list(counts) == sorted(counts)
