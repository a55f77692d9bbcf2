"""Parquet sources: how files become splits, and what cannot be read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError, UsageError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from tests.conftest import png
from tests.sources.tables import (
    FLOATS,
    IMAGE,
    PIXELS,
    class_label,
    first_features,
    images,
    loaded,
    numbers,
    opened,
    refused,
    table,
    write,
)

# --- one file, glob, folder


def test_a_file_is_a_source_in_its_own_row_order(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", numbers(0, 5)))
    assert first_features(source) == [0, 1, 2, 3, 4]
    assert [entry.path for entry in source.files] == ["a.parquet"]


def test_a_files_name_may_name_a_split_and_its_neighbours_are_not_read(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", numbers(10))
    source = opened(write(tmp_path / "train.parquet", numbers(0)))
    assert first_features(source) == [0, 1]
    assert source.test is None


def test_a_folders_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for first, name in [(4, "c"), (0, "a"), (2, "b")]:
        write(tmp_path / f"{name}.parquet", numbers(first))
    source = opened(tmp_path)
    assert first_features(source) == [0, 1, 2, 3, 4, 5]
    assert [entry.path for entry in source.files] == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_glob_reads_what_it_matches_in_the_order_of_names(tmp_path: Path) -> None:
    for first, name in [(2, "b-1"), (0, "a-1"), (9, "a-2")]:
        write(tmp_path / f"{name}.parquet", numbers(first))
    assert first_features(opened(tmp_path / "*-1.parquet")) == [0, 1, 2, 3]


def test_a_glob_may_cross_folders(tmp_path: Path) -> None:
    write(tmp_path / "x" / "deep" / "a.parquet", numbers(0))
    write(tmp_path / "y" / "b.parquet", numbers(2))
    assert first_features(opened(tmp_path / "**" / "*.parquet")) == [0, 1, 2, 3]


def test_a_glob_of_one_split_is_that_split(tmp_path: Path) -> None:
    for first, name in [(0, "train-00000-of-00002"), (9, "test-00000-of-00001")]:
        write(tmp_path / f"{name}.parquet", numbers(first))
    source = opened(tmp_path / "train-*.parquet")
    assert first_features(source) == [0, 1]
    assert source.split == "train"


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "run[1]" / "a.parquet", numbers(0))
    assert first_features(opened(tmp_path / "run[1]")) == [0, 1]


def test_hidden_files_and_caches_are_not_data(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbers(0))
    for name in (".a.parquet", ".cache/b.parquet", "__pycache__/c.parquet"):
        write(tmp_path / name, numbers(90))
    assert first_features(opened(tmp_path)) == [0, 1]


@pytest.mark.parametrize("name", ["gone.parquet", "gone-*.parquet"])
def test_where_there_are_no_files_the_error_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="there are no Parquet files at"):
        opened(tmp_path / name)


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a known source nor a path that exists"):
        opened(tmp_path / "gone")


def test_an_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="no source format named parqet") as caught:
        open_source(SourceRecipe(uri="x", format="parqet"))
    assert str(caught.value.hint).startswith("did you mean parquet?")


def test_unicode_paths_and_labels_are_read_as_they_are(tmp_path: Path) -> None:
    columns = {**numbers(0, 3), "label": ["größe", "数", "größe"]}
    path = write(tmp_path / "données 数" / "été.parquet", columns)
    for place in (path, path.parent):
        found = loaded(place)
        assert found.ref.class_names == ["größe", "数"]
        assert [entry.path for entry in found.ref.files] == ["été.parquet"]


def test_the_data_variable_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "sub" / "a.parquet", numbers(0))
    monkeypatch.setenv("DATAPRUNE_DATA", f"{tmp_path}/")
    source = open_source(SourceRecipe(uri="$DATAPRUNE_DATA/sub"))
    assert first_features(source) == [0, 1]


def test_a_data_variable_that_is_not_set_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPRUNE_DATA", raising=False)
    with pytest.raises(UsageError, match="DATAPRUNE_DATA is not set") as caught:
        open_source(SourceRecipe(uri="$DATAPRUNE_DATA/sub"))
    assert "--source PATH" in str(caught.value.hint)


# --- splits


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder laid out like a Hub dataset: two shards of train, one of test."""
    features = {"image": {"_type": "Image"}, "label": class_label("cat", "dog")}
    for i, name in enumerate(
        ["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]
    ):
        cells = [{"bytes": png(PIXELS[i] + row), "path": f"{row}.png"} for row in range(3)]
        columns = {"image": pa.array(cells, IMAGE), "label": [0, 1, i % 2]}
        write(tmp_path / "hub" / "data" / f"{name}.parquet", table(columns, features))
    (tmp_path / "hub" / "README.md").write_text("a dataset card")
    return tmp_path / "hub"


def test_a_hub_folder_gives_its_train_split_with_the_test_split_beside_it(hub: Path) -> None:
    source = opened(hub)
    assert (source.split, source.num_rows, source.kind) == ("train", 6, "image")
    assert [entry.path for entry in source.files] == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    assert source.test is not None
    assert (source.test.split, source.test.num_rows) == ("test", 3)


def test_a_hub_folder_names_its_classes_and_images_in_shard_order(hub: Path) -> None:
    found = loaded(hub)
    assert found.ref.class_names == ["cat", "dog"]
    assert found.labels.tolist() == [0, 1, 0, 0, 1, 1]
    assert found.inputs is not None
    want = [PIXELS[i] + row for i in (0, 1) for row in range(3)]
    assert np.array_equal(found.inputs, np.stack(want))
    assert found.test is not None
    assert found.test.labels.tolist() == [0, 1, 0]


def test_another_split_can_be_scored(hub: Path) -> None:
    source = opened(hub, split="test")
    assert (source.split, source.num_rows, source.test) == ("test", 3, None)


def test_another_split_can_be_held_out(hub: Path) -> None:
    source = opened(hub, split="test", test_split="train")
    assert source.test is not None
    assert source.test.num_rows == 6


def test_a_held_out_split_that_is_named_and_not_there_is_refused(hub: Path) -> None:
    with pytest.raises(SourceError, match="no split validation to hold out"):
        opened(hub, test_split="validation")


def test_a_split_there_is_not_names_those_there_are(hub: Path) -> None:
    with pytest.raises(SourceError, match="has no split dev") as caught:
        opened(hub, split="dev")
    assert caught.value.hint == "set source.split; splits: test, train"


@pytest.mark.parametrize("shard", ["train-00000-of-00002", "train-00001-of-00002"])
def test_a_missing_shard_is_named(hub: Path, shard: str) -> None:
    (hub / "data" / f"{shard}.parquet").unlink()
    with pytest.raises(SourceError, match=f"split train .* shard {shard[6:11]} is missing"):
        opened(hub)


def test_shards_of_two_sets_do_not_mix(hub: Path) -> None:
    write(hub / "data" / "train-00000-of-00001.parquet", numbers(0))
    with pytest.raises(SourceError, match="shards of several sets mix"):
        opened(hub)


def test_the_same_shard_in_two_folders_does_not_mix(tmp_path: Path) -> None:
    for folder in ("en", "fr"):
        write(tmp_path / folder / "train-00000-of-00001.parquet", numbers(0))
    with pytest.raises(SourceError, match="shards of several sets mix"):
        opened(tmp_path)


def test_shards_with_the_hash_that_older_hub_datasets_have_are_shards(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00001-a09b74b3ef9c3b56.parquet", numbers(0))
    write(tmp_path / "data" / "test-00000-of-00001-0123456789abcdef.parquet", numbers(90))
    source = opened(tmp_path)
    assert first_features(source) == [0, 1]
    assert source.test is not None


def test_files_called_train_and_test_are_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", numbers(0))
    write(tmp_path / "test.parquet", numbers(10, 3))
    source = opened(tmp_path)
    assert first_features(source) == [0, 1]
    assert source.test is not None
    assert first_features(source.test) == [10, 11, 12]


def test_folders_called_train_and_test_never_become_one_split(tmp_path: Path) -> None:
    write(tmp_path / "train" / "0000.parquet", numbers(0))
    write(tmp_path / "test" / "0000.parquet", numbers(90))
    assert first_features(opened(tmp_path)) == [0, 1]


def test_a_file_that_belongs_to_no_split_is_not_left_out_in_silence(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", numbers(0))
    write(tmp_path / "more.parquet", numbers(2))
    with pytest.raises(SourceError, match=r"more\.parquet"):
        opened(tmp_path)


# --- files that do not fit or cannot be read


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"features": pa.array([[1.0]], FLOATS)}, "label is missing"),
        ({**numbers(0, 1), "label": ["a"]}, "label is string, not int64"),
        ({**numbers(0, 1), "extra": [1]}, "extra is new"),
    ],
    ids=["missing", "type", "new"],
)
def test_files_with_other_columns_are_refused(
    tmp_path: Path, second: dict[str, Any], says: str
) -> None:
    write(tmp_path / "a.parquet", numbers(0))
    write(tmp_path / "b.parquet", second)
    with pytest.raises(SourceError, match=rf"b\.parquet has other columns than .*: {says}"):
        opened(tmp_path)


def test_files_with_the_same_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbers(0))
    write(tmp_path / "b.parquet", dict(reversed(numbers(0).items())))
    with pytest.raises(SourceError, match=r"b\.parquet has other columns than"):
        opened(tmp_path)


def test_files_whose_class_names_differ_are_refused(tmp_path: Path) -> None:
    for i, names in enumerate([("cat", "dog"), ("dog", "cat")]):
        shard = table(numbers(0), {"label": class_label(*names)})
        write(tmp_path / f"train-0000{i}-of-00002.parquet", shard)
    with pytest.raises(SourceError):
        opened(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99], ids=["empty", "start", "nearly all"])
def test_a_truncated_file_is_refused_and_named(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 1000))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert "a.parquet cannot be read as Parquet" in refused(path)


def test_a_file_with_damaged_pages_is_refused_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0, 1000))
    whole = bytearray(path.read_bytes())
    whole[4:200] = b"\xff" * 196
    path.write_bytes(whole)
    assert "a.parquet cannot be read" in refused(path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table(numbers(0)).slice(0, 0))
    assert "split train of" in refused(path)
    assert "has no rows" in refused(path)


def test_a_test_split_without_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", numbers(0))
    write(tmp_path / "test.parquet", pa.table(numbers(0)).slice(0, 0))
    assert "split test of" in refused(tmp_path)
    assert "has no rows" in refused(tmp_path)


def test_files_without_rows_between_others_do_no_harm(tmp_path: Path) -> None:
    for name, num_rows in [("a", 2), ("b", 0), ("c", 3)]:
        write(tmp_path / f"{name}.parquet", pa.table(numbers(0, 3)).slice(0, num_rows))
    found = loaded(tmp_path)
    assert found.ref.num_rows == len(found.labels) == 5


# --- identity


def test_how_rows_are_spread_over_files_is_not_part_of_the_fingerprint(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.parquet", numbers(0, 10))
    for i in range(5):
        write(tmp_path / "parts" / f"{i}.parquet", pa.table(numbers(0, 10)).slice(i * 2, 2))
    assert loaded(tmp_path / "parts").ref.fingerprint == loaded(whole).ref.fingerprint


def test_columns_that_play_no_part_are_not_in_the_fingerprint(tmp_path: Path) -> None:
    one = write(tmp_path / "a.parquet", {**numbers(0), "note": ["x", "y"]})
    other = write(tmp_path / "b.parquet", {**numbers(0), "note": ["x", "z"]})
    assert loaded(one).ref.fingerprint == loaded(other).ref.fingerprint


def test_files_are_pinned_by_the_sha256_of_their_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0))
    (entry,) = opened(path).files
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    write(path, numbers(1))
    assert opened(path).files[0].sha256 != entry.sha256


def test_opening_decodes_nothing(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", images([b"no", b"image"])))
    assert (source.num_rows, source.kind) == (2, "image")
