"""The score table: finite, in source order, joined to others by content and never by luck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataprune.core.errors import AlignmentError, TableError, UsageError
from dataprune.core.fingerprint import HASH_VERSION
from dataprune.tables import examples
from dataprune.tables.examples import check_aligned, examples_table, occurrences
from dataprune.tables.join import join_tables
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import (
    FORMAT,
    FORMAT_VERSION,
    read_scores,
    write_scores,
)

HASHES = np.array([11, 22, 2**64 - 1, 44], np.uint64)
LABELS = np.array([0, 1, 1, 0])
EL2N = np.array([0.1, 0.4, 0.3, 0.2])


def example_rows(
    hashes: npt.NDArray[np.uint64] = HASHES, labels: npt.NDArray[np.int64] = LABELS
) -> pa.Table:
    """Examples with a key of their own."""
    return examples_table(hashes, labels, pa.array([f"id-{i}" for i in range(len(hashes))]))


def write(path: Path, columns: dict[str, Any], rows: pa.Table | None = None) -> Path:
    """Write scores; each column is a score of its own, `_std` ones are spreads."""
    scores = {c: {"score": c} for c in columns if not c.endswith("_std")}
    meta = {"scores": scores, "source": {"class_names": ["a", "b"]}}
    arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
    write_scores(path, example_rows() if rows is None else rows, arrays, meta)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A score table on disk."""
    return write(tmp_path / "scores.parquet", {"el2n@2": EL2N * 2, "el2n": EL2N, "el2n_std": EL2N})


# --- examples


def test_examples_are_numbered_from_zero_with_a_key_only_if_there_is_one() -> None:
    table = examples_table(HASHES, LABELS)
    assert table.schema.equals(examples.SCHEMA)
    assert table.column("row").to_pylist() == [0, 1, 2, 3]
    assert table.column("content_hash").to_pylist() == HASHES.tolist()
    assert table.column("key").null_count == 4


@settings(deadline=None)
@given(st.lists(st.integers(2**64 - 4, 2**64 - 1), max_size=30))
def test_an_occurrence_number_counts_the_equal_values_before(values: list[int]) -> None:
    before = occurrences(np.array(values, np.uint64))
    assert before.tolist() == [values[:i].count(value) for i, value in enumerate(values)]


def test_tables_of_the_same_rows_are_aligned_whatever_their_keys() -> None:
    check_aligned(example_rows(), examples_table(HASHES, LABELS), what="a", other="b")


def test_a_table_of_another_length_is_not_aligned() -> None:
    shorter = example_rows(HASHES[:3], LABELS[:3])
    with pytest.raises(AlignmentError, match="a has 4 rows, b has 3") as caught:
        check_aligned(example_rows(), shorter, what="a", other="b")
    assert caught.value.hint is not None


def test_the_first_row_whose_content_differs_is_named() -> None:
    other = example_rows(HASHES[[0, 2, 1, 3]])
    says = r"row 1 of a and of b differ in content_hash \(2 rows differ\)"
    with pytest.raises(AlignmentError, match=says):
        check_aligned(example_rows(), other, what="a", other="b")


def test_the_first_row_whose_label_differs_is_named() -> None:
    other = example_rows(labels=np.array([0, 1, 1, 1]))
    with pytest.raises(AlignmentError, match=r"row 3 of a and of b differ in label \(1 rows"):
        check_aligned(example_rows(), other, what="a", other="b")


# --- write and read


def test_scores_come_back_with_the_examples_and_specs(path: Path) -> None:
    scores = read_scores(path)
    assert scores.table.select(examples.SCHEMA.names).equals(example_rows())
    assert scores.columns == ["el2n", "el2n@2"]
    assert scores.meta["scores"]["el2n"] == {"score": "el2n"}
    assert scores.meta["hash_version"] == HASH_VERSION


def test_values_are_float64_of_the_stored_float32(path: Path) -> None:
    values = read_scores(path).values("el2n")
    assert values.dtype == np.float64
    assert values.tolist() == EL2N.astype(np.float32).astype(np.float64).tolist()


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 30),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_float32_values_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, values: npt.NDArray[np.float64]
) -> None:
    n = len(values)
    rows = examples_table(np.arange(n, dtype=np.uint64), np.zeros(n, np.int64))
    path = write(tmp_path_factory.getbasetemp() / "any.parquet", {"s": values}, rows)
    assert np.array_equal(read_scores(path).values("s"), values)


def test_the_same_scores_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = {"el2n@2": EL2N * 2, "el2n": EL2N, "el2n_std": EL2N}
    assert write(tmp_path / "b.parquet", again).read_bytes() == path.read_bytes()


def test_score_columns_are_float32_and_not_nullable(path: Path) -> None:
    for name in ("el2n@2", "el2n", "el2n_std"):
        assert pq.read_schema(path).field(name).equals(pa.field(name, pa.float32(), nullable=False))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_not_written_and_names_its_row(
    tmp_path: Path, value: float
) -> None:
    with pytest.raises(TableError, match=f"score el2n is {value} for row 2"):
        write(tmp_path / "a.parquet", {"el2n": [0, 1, value, value]})
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("value", [1e39, -1e39])
def test_a_score_too_large_for_float32_is_not_written_and_names_its_row(
    tmp_path: Path, value: float
) -> None:
    with pytest.raises(TableError, match=r"score el2n is .* for row 1"):
        write(tmp_path / "a.parquet", {"el2n": [0, value, 0, 0]})
    assert not (tmp_path / "a.parquet").exists()


def test_a_column_there_is_not_names_the_nearest(path: Path) -> None:
    with pytest.raises(UsageError, match="the score table has no column el2n@3") as caught:
        read_scores(path).values("el2n@3")
    assert str(caught.value.hint) == "did you mean el2n@2? known: el2n, el2n@2"


def test_a_spread_is_no_score_to_decide_by(path: Path) -> None:
    with pytest.raises(UsageError, match="no column el2n_std"):
        read_scores(path).values("el2n_std")


def raw(path: Path, table: pa.Table, **meta: Any) -> Path:
    """Write a score table past write_scores, as another program might."""
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, "hash_version": HASH_VERSION}
    write_table(path, table, {**full, "scores": {"el2n": {}}, **meta})
    return path


@pytest.mark.parametrize(
    ("value", "shown"), [(float("nan"), "nan"), (None, "nan"), (np.inf, "inf")]
)
def test_a_stored_score_that_is_no_number_is_an_error_not_a_low_score(
    tmp_path: Path, value: float | None, shown: str
) -> None:
    column = pa.array([0.5, value, 0.5, value], pa.float32())
    scores = read_scores(raw(tmp_path / "a.parquet", example_rows().append_column("el2n", column)))
    with pytest.raises(TableError, match=rf"score el2n is {shown} for row 1 \(2 such rows\)"):
        scores.values("el2n")


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    turned = example_rows().take([0, 2, 1, 3])
    with pytest.raises(TableError, match="has row 2 at position 1"):
        read_scores(raw(tmp_path / "a.parquet", turned))


def test_a_table_that_lacks_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has row 2 at position 0"):
        read_scores(raw(tmp_path / "a.parquet", example_rows().slice(2)))


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no rows"):
        read_scores(raw(tmp_path / "a.parquet", example_rows().slice(0, 0)))


def test_hashes_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has hash version 99"):
        read_scores(raw(tmp_path / "a.parquet", example_rows(), hash_version=99))


def test_a_table_without_the_examples_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column 1 called content_hash, found label"):
        read_scores(raw(tmp_path / "a.parquet", example_rows().select(["row", "label"])))


# --- join


def test_joined_tables_have_the_scores_and_specs_of_all(path: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.parquet", {"mine": EL2N[::-1]})
    joined = join_tables(read_scores(path), path, [mine])
    assert joined.columns == ["el2n", "el2n@2", "mine"]
    assert joined.values("mine").tolist() == read_scores(mine).values("mine").tolist()
    assert joined.values("el2n").tolist() == read_scores(path).values("el2n").tolist()
    assert joined.meta["scores"]["mine"] == {"score": "mine"}


def test_a_join_does_not_change_the_table_it_starts_from(path: Path, tmp_path: Path) -> None:
    table = read_scores(path)
    join_tables(table, path, [write(tmp_path / "mine.parquet", {"mine": EL2N})])
    assert table.columns == ["el2n", "el2n@2"]


def test_no_other_tables_change_nothing(path: Path) -> None:
    table = read_scores(path)
    assert join_tables(table, path, []).table.equals(table.table)


def test_tables_of_another_order_do_not_join(path: Path, tmp_path: Path) -> None:
    turned = example_rows(HASHES[::-1].copy(), LABELS[::-1].copy())
    other = write(tmp_path / "mine.parquet", {"mine": EL2N}, turned)
    with pytest.raises(AlignmentError, match=r"row 0 of .*scores\.parquet and of .*mine\.parquet"):
        join_tables(read_scores(path), path, [other])


@pytest.mark.parametrize("twice", ["el2n", "mine"])
def test_a_column_that_two_tables_have_is_refused(path: Path, tmp_path: Path, twice: str) -> None:
    others = [write(tmp_path / f"{i}.parquet", {twice: EL2N}) for i in range(2)]
    with pytest.raises(UsageError, match=f"has a column {twice}") as caught:
        join_tables(read_scores(path), path, others)
    assert caught.value.hint == "leave one of the tables out"
