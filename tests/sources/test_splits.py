"""Which split a file belongs to, by its name and its folders."""

from __future__ import annotations

import pytest

from dataprune.core.errors import SourceError
from dataprune.sources._files import DataFile
from dataprune.sources._splits import split_files, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("a/b/val.parquet", "val"),
        ("train-00000-of-00002.parquet", "train"),
        ("train-00000-of-00002-a09b74b3ef9c3b56.parquet", "train"),
        ("train.clean.100-00001-of-00002.arrow", "train.clean.100"),
        ("my_set-00001-of-00002.arrow", "my_set"),
        ("fashion-mnist-train-00000-of-00002.arrow", "train"),
        ("imagenet-train-000012.tar", "train"),
        ("imagenet_test.tar", "test"),
        ("train-0003.jsonl.gz", "train"),
        ("test_1.csv", "test"),
        ("test/0000.parquet", "test"),
        ("train/deep/er/0000.parquet", "train"),
        ("test/train.csv", "train"),
        ("0000.parquet", ""),
        ("trainable.csv", ""),
        ("test-drive.csv", ""),
        ("contest.csv", ""),
        ("2020-12.csv", ""),
        ("testing/0000.parquet", ""),
    ],
)
def test_a_files_split_is_what_its_name_or_its_nearest_folder_says(name: str, split: str) -> None:
    assert split_of(name) == split


def files(*names: str) -> list[DataFile]:
    """Files of some names."""
    return [DataFile(name, name) for name in names]


def test_numbered_files_of_two_splits_never_become_one() -> None:
    found = split_files(
        "here", "train", files("test-0.tar", "train-0.tar", "train-1.tar"), folder=True
    )
    names = {split: [file.name for file in there] for split, there in found.items()}
    assert names == {"test": ["test-0.tar"], "train": ["train-0.tar", "train-1.tar"]}


def test_the_names_of_what_a_glob_matches_mean_nothing() -> None:
    there = files("test-00001-of-00009.csv", "train.csv")
    assert split_files("here", "train", there, folder=False) == {"train": there}


def test_a_missing_shard_is_named_whatever_the_format() -> None:
    with pytest.raises(SourceError, match="split train of here is not whole: shard 00001 is miss"):
        split_files("here", "train", files("a-train-00000-of-00002.tar"), folder=True)
