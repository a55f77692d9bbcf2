"""Folders that save_to_disk wrote: read as datasets reads them, and refused if not whole."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pytest

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from tests.sources.tables import loaded, opened, refused


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def made(num_rows: int = 6) -> datasets.Dataset:
    """A dataset of texts in two classes."""
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )
    columns = {
        "text": [f"é {i}" for i in range(num_rows)],
        "label": [i % 2 for i in range(num_rows)],
    }
    return datasets.Dataset.from_dict(columns, features=features)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A dictionary of a training split in two files, and a test split."""
    splits = datasets.DatasetDict(train=made(), test=made(2))
    splits.save_to_disk(tmp_path / "two", num_shards={"train": 2, "test": 1})
    return tmp_path / "two"


def texts(path: Path) -> list[str]:
    """Every text."""
    found: list[str] = pa.Table.from_batches(opened(path).batches(["text"]))["text"].to_pylist()
    return found


def test_a_dataset_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    chosen = made().shuffle(seed=0).select(range(4))
    chosen.save_to_disk(tmp_path / "one")
    assert texts(tmp_path / "one") == chosen["text"]
    assert loaded(tmp_path / "one").ref.class_names == ["neg", "pos"]
    assert datasets.Features.from_arrow_schema(opened(tmp_path / "one").schema) == chosen.features


def test_a_dictionarys_splits_are_splits(two: Path) -> None:
    source = opened(two)
    assert (source.split, source.num_rows) == ("train", 6)
    assert [entry.path for entry in source.files] == [
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
    ]
    assert source.test is not None
    assert source.test.num_rows == 2
    assert opened(two, split="test").num_rows == 2


def test_a_split_there_is_not_is_refused(two: Path) -> None:
    assert "has no split dev" in refused(two, split="dev")
    assert "has no split dev to hold out" in refused(two, test_split="dev")


def test_a_dataset_behind_a_url_is_read_like_one_here(two: Path) -> None:
    fsspec.filesystem("memory").put(str(two), "/saved", recursive=True)
    there = open_source(SourceRecipe(uri="memory://saved"))
    assert there.format == "saved_dataset"
    assert there.files == opened(two).files


def test_the_files_order_is_the_states_not_the_names(two: Path) -> None:
    state = json.loads((two / "train" / "state.json").read_text())
    state["_data_files"].reverse()
    before = texts(two)
    (two / "train" / "state.json").write_text(json.dumps(state))
    assert texts(two) == before[3:] + before[:3]


@pytest.mark.parametrize("name", ["train/data-00001-of-00002.arrow", "test/state.json"])
def test_a_missing_file_is_named(two: Path, name: str) -> None:
    (two / name).unlink()
    assert f"is not whole: {name} is missing" in refused(two)


def test_a_truncated_file_is_named(two: Path) -> None:
    path = two / "train" / "data-00000-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    assert f"{path} ends without the end mark" in refused(two)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("{oops", "is not valid JSON"),
        ("[]", "holds list, not an object"),
        ("{}", "has no list _data_files"),
        ('{"_data_files": []}', "names no data files"),
        ('{"_data_files": [], "_indices_data_files": [{"filename": "x"}]}', "older datasets"),
    ],
)
def test_a_damaged_state_is_refused(two: Path, state: str, says: str) -> None:
    (two / "train" / "state.json").write_text(state)
    assert f"{two}/train/state.json " in refused(two)
    assert says in refused(two)


def test_a_folder_that_save_to_disk_did_not_write_is_refused(tmp_path: Path) -> None:
    assert "holds no dataset that save_to_disk wrote" in refused(tmp_path, format="saved_dataset")
