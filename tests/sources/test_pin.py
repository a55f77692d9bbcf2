"""A pin is equal where nothing can have changed, and costs no reading."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.sources._pin import source_pin
from tests.conftest import blobs


def recipe(uri: object, **probe: Any) -> Recipe:
    data = {"name": "pin", "source": {"uri": str(uri)}, "probe": probe}
    return parse_recipe(data, where="tests")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset's folder with a test split."""
    made = tmp_path / "data"
    made.mkdir()
    for name, rows in (("train.parquet", 40), ("test.parquet", 20)):
        pq.write_table(blobs(rows), made / name)
    return made


def test_it_is_the_same_until_something_changes(folder: Path) -> None:
    first = source_pin(recipe(folder))
    assert first is not None
    assert first["files"] == 2
    assert source_pin(recipe(folder)) == first
    assert source_pin(recipe(f"{folder}/")) == first


@pytest.mark.parametrize("change", ["grows", "test split", "renamed", "removed", "other bytes"])
def test_every_change_of_a_file_is_seen(folder: Path, change: str) -> None:
    before = source_pin(recipe(folder))
    train, test = folder / "train.parquet", folder / "test.parquet"
    match change:
        case "grows":
            pq.write_table(blobs(41), train)
        case "test split":
            pq.write_table(blobs(21), test)
        case "renamed":
            test.rename(folder / "validation.parquet")
        case "removed":
            test.unlink()
        case _:  # of the same length, and the time of the last change set back
            stat, data = train.stat(), bytearray(train.read_bytes())
            data[100] ^= 1
            train.write_bytes(data)
            os.utime(train, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert source_pin(recipe(folder)) != before


def test_a_folder_with_a_file_more_has_another_pin(folder: Path) -> None:
    before = source_pin(recipe(folder / "*.parquet"))
    shutil.copy(folder / "train.parquet", folder / "more.parquet")
    assert source_pin(recipe(folder / "*.parquet")) != before


def test_what_is_behind_a_url_is_told_by_what_its_store_says(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    with fs.open("/pin/train.parquet", "wb") as file:
        pq.write_table(blobs(20), file)
    # Its store tells a file's time by the key `created` alone, which says nothing of its content.
    assert source_pin(recipe("memory://pin/train.parquet")) is None
    local = tmp_path / "train.parquet"
    pq.write_table(blobs(20), local)
    url = f"simplecache::file://{local}"
    first = source_pin(recipe(url))
    pq.write_table(blobs(30), local)
    assert source_pin(recipe(url)) != first


def test_the_digits_are_those_of_the_installed_package() -> None:
    assert list(source_pin(recipe("digits")) or {}) == ["scikit-learn"]


def test_code_of_ones_own_model_counts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code = tmp_path / "pinned_model.py"
    code.write_text("def build(shape, num_outputs): ...\n")
    first = source_pin(recipe(folder, model="pinned_model:build"))
    assert first is not None
    assert first == source_pin(recipe(folder, model="pinned_model:build"))
    code.write_text("def build(shape, num_outputs): return None\n")
    assert source_pin(recipe(folder, model="pinned_model:build")) != first
    assert source_pin(recipe(folder, model="not_there:build")) is None


def test_what_is_not_there_has_no_pin_and_is_left_to_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source_pin(recipe(tmp_path / "*.parquet")) is None
    assert source_pin(recipe(tmp_path / "absent")) is None
    monkeypatch.delenv("DATAPRUNE_DATA", raising=False)
    with pytest.raises(UsageError, match="DATAPRUNE_DATA is not set"):
        source_pin(recipe("$DATAPRUNE_DATA/x"))
