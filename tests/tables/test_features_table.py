"""Files of features: ours, and whatever Parquet a user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import sha256_file
from dataprune.tables.features import read_features, read_unit_features, write_features

VALUES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def put(path: Path, values: Any = VALUES, rows: Any = None, **columns: Any) -> Path:
    """A user's file."""
    rows = np.arange(len(values)) if rows is None else rows
    table = {"row": pa.array(rows, pa.int64()), "vector": pa.array(list(values)), **columns}
    pq.write_table(pa.table(table), path)
    return path


def test_features_come_back_in_float16(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    write_features(path, VALUES, {"epoch": 4})
    found = read_features(path, 20)
    assert found.values.dtype == np.float32
    assert np.array_equal(found.values, VALUES.astype(np.float16).astype(np.float32))
    assert found.sha256 == sha256_file(path)
    assert np.array_equal(read_unit_features(path, 20), found.values)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), 3),
        pa.list_(pa.int8()),
    ],
    ids=str,
)
def test_any_list_of_numbers_will_do_and_row_says_whose_it_is(
    tmp_path: Path, kind: pa.DataType
) -> None:
    whole = np.round(VALUES * 4)
    rows = np.random.default_rng(1).permutation(20)
    lists = [[kind.value_type.to_pandas_dtype()(v) for v in line] for line in whole[rows].tolist()]
    table = pa.table({"emb": pa.array(lists, kind), "row": pa.array(rows)})
    pq.write_table(table, tmp_path / "f.parquet")
    assert np.array_equal(read_features(tmp_path / "f.parquet", 20, "emb").values, whole)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e5])
def test_numbers_that_are_none_in_float16_are_refused_with_their_row(
    tmp_path: Path, bad: float
) -> None:
    values = VALUES.copy()
    values[7, 1] = bad
    with pytest.raises(TableError, match="of row 7 are not finite"):
        write_features(tmp_path / "f.parquet", values, {})
    if bad < np.inf:
        return
    with pytest.raises(TableError, match="of row 7 are not finite"):
        read_features(put(tmp_path / "g.parquet", values.tolist()), 20)


@pytest.mark.parametrize(
    ("values", "rows", "says"),
    [
        (VALUES.tolist()[:19], None, "row 19 is not there"),
        (VALUES.tolist(), [0, *range(19)], "row 19 is not there"),
        ([*VALUES.tolist(), [1.0, 2.0, 3.0]], [*range(20), 3], "21 rows are"),
        ([*VALUES.tolist()[:19], [1.0]], None, "vectors of 2 lengths"),
        ([[]] * 20, None, "where a list of numbers"),
        (["text"] * 20, None, "where a list of numbers"),
        ([*VALUES.tolist()[:19], None], None, "where a list of numbers"),
    ],
)
def test_what_is_no_vector_for_each_row_is_refused(
    tmp_path: Path, values: Any, rows: Any, says: str
) -> None:
    with pytest.raises(TableError, match=says):
        read_features(put(tmp_path / "f.parquet", values, rows), 20)


def test_files_and_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file of features"):
        read_features(tmp_path / "none.parquet", 20)
    with pytest.raises(UsageError, match="no column emb") as caught:
        read_features(put(tmp_path / "f.parquet", VALUES.tolist()), 20, "emb")
    assert "row, vector" in (caught.value.hint or "")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        read_features(tmp_path / "text.parquet", 20)
    with pytest.raises(TableError, match="is not a dataprune features table"):
        read_unit_features(put(tmp_path / "g.parquet", VALUES.tolist()), 20)
