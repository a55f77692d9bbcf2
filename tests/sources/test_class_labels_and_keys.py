"""Class labels and keys of a source: what they become, and which rows are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataprune.core.recipe import Columns
from tests.sources.tables import class_label, loaded, numbers, refused, table, write

# --- labels


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (["b", "a", "b"], ["a", "b"], [1, 0, 1]),
        (pa.array(["b", "a", "b"], pa.large_string()), ["a", "b"], [1, 0, 1]),
        ([10, 2, 10], ["2", "10"], [1, 0, 1]),
        ([-1, 1, -1], ["-1", "1"], [0, 1, 0]),
        (pa.array([7, 3, 7], pa.uint8()), ["3", "7"], [1, 0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        (["", " ", ""], ["", " "], [0, 1, 0]),
    ],
    ids=["string", "large_string", "int", "minus one", "uint8", "bool", "blank"],
)
def test_labels_without_declared_names_are_their_sorted_values(
    tmp_path: Path, labels: Any, names: list[str], indices: list[int]
) -> None:
    found = loaded(write(tmp_path / "a.parquet", {**numbers(0, 3), "label": labels}))
    assert found.ref.class_names == names
    assert found.labels.tolist() == indices


def test_declared_class_names_keep_their_order_and_those_without_rows(tmp_path: Path) -> None:
    shard = table({**numbers(0), "label": [2, 0]}, {"label": class_label("z", "m", "a")})
    found = loaded(write(tmp_path / "a.parquet", shard))
    assert found.ref.class_names == ["z", "m", "a"]
    assert found.labels.tolist() == [2, 0]


@pytest.mark.parametrize("bad", [-1, 2])
def test_a_class_label_outside_its_names_is_refused(tmp_path: Path, bad: int) -> None:
    shard = table({**numbers(0, 3), "label": [0, bad, bad]}, {"label": class_label("a", "b")})
    path = write(tmp_path / "a.parquet", shard)
    assert "2 rows of" in refused(path)
    assert "have a label outside 0..1: 1, 2" in refused(path)


@pytest.mark.parametrize(
    "labels", [pa.array([0, None, 1]), pa.array(["a", None, "b"]), pa.nulls(3, pa.int64())]
)
def test_a_missing_label_is_refused(tmp_path: Path, labels: pa.Array) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0, 3), "label": labels})
    assert f"{labels.null_count} rows of" in refused(path)
    assert "have no label: " in refused(path)


@pytest.mark.parametrize("labels", [[0.5, 1.0], [b"a", b"b"]])
def test_labels_of_a_type_no_class_has_are_refused(tmp_path: Path, labels: list[Any]) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0), "label": labels})
    assert "classification wants integers, strings or booleans" in refused(path)


def test_a_test_splits_labels_are_those_of_the_training_split(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", {**numbers(0, 3), "label": ["a", "b", "c"]})
    write(tmp_path / "test.parquet", {**numbers(9), "label": ["c", "a"]})
    test = loaded(tmp_path).test
    assert test is not None
    assert test.labels.tolist() == [2, 0]
    assert test.ref.class_names == ["a", "b", "c"]


def test_a_label_that_only_the_test_split_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", {**numbers(0), "label": ["a", "b"]})
    write(tmp_path / "test.parquet", {**numbers(9), "label": ["a", "z"]})
    assert "(test) have a label that the training split lacks: 1" in refused(tmp_path)


def test_a_test_split_with_other_declared_names_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", table(numbers(0), {"label": class_label("a", "b")}))
    write(tmp_path / "test.parquet", table(numbers(9), {"label": class_label("b", "a")}))
    assert "(test) declares other class names than the training split" in refused(tmp_path)


# --- keys


@pytest.mark.parametrize(
    ("keys", "stored"),
    [
        (["x", "é"], ["x", "é"]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        ([10, 9], ["10", "9"]),
    ],
    ids=["string", "large_string", "int"],
)
def test_keys_are_stored_as_text(tmp_path: Path, keys: Any, stored: list[str]) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0), "id": keys})
    found = loaded(path, columns=Columns(key="id", input="features"))
    assert found.examples.column("key").to_pylist() == stored


def test_a_column_that_is_not_named_as_the_key_is_no_key(tmp_path: Path) -> None:
    found = loaded(write(tmp_path / "a.parquet", {**numbers(0), "id": ["x", "y"]}))
    assert found.examples.column("key").null_count == 2


def test_a_key_that_two_rows_have_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0, 5), "id": ["a", "b", "c", "b", "b"]})
    assert "have a id that another row has too: 1" in refused(path, columns=Columns(key="id"))


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0), "id": ["a", None]})
    assert "1 rows of" in refused(path, columns=Columns(key="id"))
    assert "have no id: 1" in refused(path, columns=Columns(key="id"))


@pytest.mark.parametrize("keys", [[[1], [2]], [b"\xff\xfe", b"a"]], ids=["list", "bytes"])
def test_a_key_of_a_type_that_is_no_text_is_refused(tmp_path: Path, keys: list[Any]) -> None:
    path = write(tmp_path / "a.parquet", {**numbers(0), "id": keys})
    assert "id" in refused(path, columns=Columns(key="id", input="features"))
