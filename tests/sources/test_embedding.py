"""A column of vectors beside the examples: read as it is, checked row by row, no model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError
from dataprune.core.recipe import Columns
from dataprune.sources._embedding import read_embedding
from dataprune.sources._load import describe, load
from tests.sources.tables import FLOATS, opened, write

VECTORS = [[1.0, 2.0], [3.0, 4.0], [-5.0, 0.5]]


def with_vectors(path: Path, vectors: pa.Array, **columns: Any) -> Path:
    texts = [f"text {i}" for i in range(len(vectors))]
    others = columns or {"text": texts, "label": [i % 2 for i in range(len(vectors))]}
    return write(path, {**others, "embedding": vectors})


def read(path: Path, name: str = "embedding") -> Any:
    return read_embedding(opened(path, columns=Columns(embedding=name)))


@pytest.mark.parametrize(
    "arrow_type",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.list_(pa.float16()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
    ],
    ids=str,
)
def test_vectors_are_read_in_the_order_of_the_rows(tmp_path: Path, arrow_type: pa.DataType) -> None:
    vectors = pa.array([[np.float16(x) for x in v] for v in VECTORS], pa.list_(pa.float16()))
    path = with_vectors(tmp_path / "a.parquet", vectors.cast(arrow_type))
    found = read(path)
    assert found.dtype == np.float16
    assert found.tolist() == VECTORS
    assert read_embedding(opened(path)) is None


def test_files_of_a_folder_are_one_source(tmp_path: Path) -> None:
    for i in range(3):
        with_vectors(tmp_path / "d" / f"{i}.parquet", pa.array([[float(i), 1], [i, 2]], FLOATS))
    assert read(tmp_path / "d").tolist() == [[i, j] for i in range(3) for j in (1, 2)]


def test_it_is_no_input_unless_it_is_named_and_no_part_of_what_a_row_is(tmp_path: Path) -> None:
    path = with_vectors(tmp_path / "a.parquet", pa.array(VECTORS, FLOATS))
    other = with_vectors(tmp_path / "b.parquet", pa.array(VECTORS[::-1], FLOATS))
    asked = Columns(embedding="embedding")
    source = opened(path, columns=asked)
    found = load(source)
    assert (found.ref.kind, found.ref.columns.input) == ("text", "text")
    assert found.ref.fingerprint == load(opened(other, columns=asked)).ref.fingerprint
    assert found.embedding is None  # a reader of its own, where scores are made
    told = describe(found, source.schema.names)
    assert "embedding column embedding" in told
    assert "not used" not in told
    assert opened(path).kind == "features"  # where nobody says otherwise
    both = opened(path, columns=Columns(embedding="embedding", input="embedding"))
    assert (both.kind, read_embedding(both).tolist()) == ("features", VECTORS)  # type: ignore[union-attr]


def test_a_test_split_needs_no_vectors(tmp_path: Path) -> None:
    with_vectors(tmp_path / "d" / "train.parquet", pa.array(VECTORS, FLOATS))
    write(tmp_path / "d" / "test.parquet", {"text": ["a"], "label": [0]})
    source = opened(tmp_path / "d", columns=Columns(embedding="embedding"))
    assert load(source).test is not None
    assert read(tmp_path / "d").tolist() == VECTORS


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        ([[1.0, 2.0], [1.0], [1.0] * 3], "2 rows of column embedding of .* have 2 features: 1, 2"),
        ([[1.0, 2.0], None, None], "2 rows of .* have no vector: 1, 2"),
        ([[1.0, 2.0], [], [1.0, 2.0]], "1 rows of .* have an empty list: 1"),
        ([[1.0, 2.0], [1.0, None], [1.0, 2.0]], "1 rows of .* have a null feature: 1"),
        ([[1.0, 2.0], [1.0, 2.0], [float("nan"), 0.0]], "1 rows .* NaN or infinite feature: 2"),
        ([[1.0], [1e5], [float("inf")]], "infinite feature: 2; 1 have a feature beyond 65504.*: 1"),
        ([[0.0], [0.0], [1e-9]], "1 rows .* have a vector that is all zeros in float16: .*: 2"),
        (["a", "b", "c"], "column embedding of .* is string, and an embedding is a list"),
        ([["a"], ["b"], ["c"]], "column embedding of .* is list<.*string>, and an embedding is a"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_one_sentence(
    tmp_path: Path, vectors: list[Any], told: str
) -> None:
    path = with_vectors(tmp_path / "a.parquet", pa.array(vectors))
    with pytest.raises(SourceError, match=told) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    path = with_vectors(tmp_path / "a.parquet", pa.array(VECTORS, FLOATS))
    with pytest.raises(SourceError, match=r"a\.parquet has no column embeding") as caught:
        read_embedding(
            opened(path, columns=Columns(embedding="embeding", input="text", label="label"))
        )
    assert "embedding" in (caught.value.hint or "")
