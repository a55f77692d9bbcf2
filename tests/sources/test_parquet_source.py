"""Parquet sources: how files become splits, columns become parts, and bad rows become errors."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import SourceError, UsageError
from dataprune.core.recipe import Columns, SourceRecipe
from dataprune.sources import Source, open_source
from dataprune.sources._columns import class_names_of, features_of, resolve_columns
from dataprune.sources._load import Loaded, load
from tests.conftest import png

Pixels = npt.NDArray[np.uint8]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FLOATS = pa.list_(pa.float32())
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 3, 3), dtype=np.uint8)


def table(columns: dict[str, Any], features: dict[str, Any] | None = None) -> pa.Table:
    """A table, with Hugging Face features in its schema metadata if given."""
    made = pa.table(columns)
    if features is None:
        return made
    return made.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def class_label(*names: str) -> dict[str, Any]:
    """A ClassLabel feature."""
    return {"_type": "ClassLabel", "names": list(names)}


def numbers(first: int, num_rows: int = 2) -> dict[str, Any]:
    """Rows of two features that count on from `first`, in two classes."""
    rows = [[float(first + i), 0.5] for i in range(num_rows)]
    return {"features": pa.array(rows, FLOATS), "label": [i % 2 for i in range(num_rows)]}


def images(pixels: list[Pixels | bytes | None], labels: list[Any] | None = None) -> pa.Table:
    """Rows of Image structs: pixels are encoded as PNG, bytes are taken as they are."""
    cells = [
        {"bytes": png(p) if isinstance(p, np.ndarray) else p, "path": None} if p is not None else p
        for p in pixels
    ]
    wanted = labels if labels is not None else [i % 2 for i in range(len(pixels))]
    return table({"image": pa.array(cells, IMAGE), "label": wanted}, {"image": {"_type": "Image"}})


def write(path: Path, columns: dict[str, Any] | pa.Table) -> Path:
    """Write a Parquet file, and the folders on its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path


def opened(path: Path, **options: Any) -> Source:
    """Open a path as a source."""
    return open_source(SourceRecipe(uri=str(path), **options))


def loaded(path: Path, **options: Any) -> Loaded:
    """Open and load a path."""
    return load(opened(path, **options))


def first_features(source: Source) -> list[float]:
    """The first feature of every row: which rows they are."""
    table_ = pa.Table.from_batches(source.batches(["features"]))
    return [row[0] for row in table_.column("features").to_pylist()]


def refused(path: Path, **options: Any) -> str:
    """The error that loading gives, in one line."""
    with pytest.raises(SourceError) as caught:
        loaded(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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


@pytest.mark.parametrize("name", ["gone.parquet", "gone-*.parquet", "empty"])
def test_where_there_are_no_files_the_error_says_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
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


# --- which columns play which part


def settled(schema: pa.Schema, **asked: str) -> tuple[str | None, str | None, str]:
    """Input, label and kind that a schema gives."""
    columns, kind = resolve_columns(schema, Columns(**asked), uri="here")
    return columns.input, columns.label, kind


def fields(**types: pa.DataType) -> pa.Schema:
    """A schema by names and types."""
    return pa.schema(list(types.items()))


@pytest.mark.parametrize("name", ["label", "labels", "target", "class", "y"])
def test_a_label_is_found_by_its_usual_names(name: str) -> None:
    assert settled(fields(features=FLOATS, **{name: pa.int64()}))[1] == name


def test_the_more_usual_label_name_wins() -> None:
    schema = fields(features=FLOATS, y=pa.int64(), label=pa.int64())
    assert settled(schema)[1] == "label"


def test_the_only_class_label_is_the_label_whatever_its_name() -> None:
    schema = table(
        {
            "x": pa.array([], FLOATS),
            "label": pa.array([], pa.int64()),
            "species": pa.array([], "int64"),
        },
        {"species": class_label("cat", "dog")},
    ).schema
    assert settled(schema)[1] == "species"


def test_of_several_class_labels_the_one_with_a_usual_name_is_the_label() -> None:
    empty = pa.array([], pa.int64())
    schema = table(
        {"x": pa.array([], FLOATS), "coarse": empty, "target": empty},
        {"coarse": class_label("a"), "target": class_label("b")},
    ).schema
    assert settled(schema)[1] == "target"


def test_a_label_that_cannot_be_found_is_asked_for_with_the_columns_there_are() -> None:
    with pytest.raises(SourceError, match="no label column found in here") as caught:
        settled(fields(features=FLOATS, species=pa.int64()))
    assert caught.value.hint == "name it as source.columns.label; columns: features, species"


@pytest.mark.parametrize(
    ("arrow_type", "kind"),
    [
        (IMAGE, "image"),
        (pa.struct([("bytes", pa.binary())]), "image"),
        (pa.binary(), "image"),
        (pa.large_binary(), "image"),
        (pa.list_(pa.float64()), "features"),
        (pa.list_(pa.int8()), "features"),
        (pa.large_list(pa.float32()), "features"),
        (pa.list_(pa.float32(), 4), "features"),
        (pa.string(), "text"),
        (pa.large_string(), "text"),
    ],
    ids=str,
)
def test_the_kind_of_input_follows_from_its_type(arrow_type: pa.DataType, kind: str) -> None:
    assert settled(fields(anything=arrow_type, label=pa.int64())) == ("anything", "label", kind)


@pytest.mark.parametrize(
    "arrow_type",
    [
        pa.int64(),
        pa.list_(pa.string()),
        pa.list_(FLOATS),
        pa.struct([("x", pa.int8())]),
        pa.bool_(),
    ],
    ids=str,
)
def test_a_column_of_another_type_is_no_input(arrow_type: pa.DataType) -> None:
    schema = fields(anything=arrow_type, label=pa.int64())
    with pytest.raises(SourceError, match="no image, text or numeric-list column found"):
        settled(schema)
    with pytest.raises(SourceError, match=r"column anything of here is .*: no image, text or list"):
        settled(schema, input="anything")


def test_an_image_is_taken_before_features_and_features_before_text() -> None:
    schema = fields(caption=pa.string(), vector=FLOATS, picture=IMAGE, label=pa.int64())
    assert settled(schema)[0] == "picture"
    assert settled(schema.remove(2))[0] == "vector"
    assert settled(schema.remove(2).remove(1))[0] == "caption"


@pytest.mark.parametrize(("usual", "other"), [("text", "title"), ("sentence", "id")])
def test_of_several_inputs_of_one_kind_the_one_with_a_usual_name_is_taken(
    usual: str, other: str
) -> None:
    schema = fields(**{other: pa.string(), usual: pa.string()}, label=pa.int64())
    assert settled(schema)[0] == usual


def test_several_inputs_of_one_kind_without_a_usual_name_are_listed() -> None:
    schema = fields(question=pa.string(), answer=pa.string(), label=pa.int64())
    with pytest.raises(SourceError, match="several text columns: question, answer") as caught:
        settled(schema)
    assert caught.value.hint == "name one as source.columns.input"


def test_the_label_and_the_key_are_never_inferred_as_the_input() -> None:
    schema = fields(id=pa.string(), label=pa.string(), words=pa.string())
    assert settled(schema, key="id") == ("words", "label", "text")


def test_the_input_and_the_key_are_never_inferred_as_the_label() -> None:
    schema = fields(label=pa.string(), target=pa.string(), y=pa.int64())
    assert settled(schema, input="label", key="target") == ("label", "y", "text")


def test_named_columns_are_used_as_named() -> None:
    schema = fields(image=IMAGE, vector=FLOATS, label=pa.int64(), other=pa.int64())
    assert settled(schema, input="vector", label="other") == ("vector", "other", "features")


def test_a_column_cannot_be_both_input_and_label() -> None:
    with pytest.raises(SourceError):
        settled(fields(text=pa.string(), label=pa.string()), input="label", label="label")


@pytest.mark.parametrize("part", ["input", "label", "key"])
def test_a_named_column_there_is_not_names_the_nearest(part: str) -> None:
    with pytest.raises(SourceError, match="source here has no column labl") as caught:
        settled(fields(text=pa.string(), label=pa.string()), **{part: "labl"})
    assert str(caught.value.hint).startswith("did you mean label?")


def test_hugging_face_features_are_read_from_the_schema() -> None:
    features = {"label": class_label("été", "b"), "image": {"_type": "Image"}}
    schema = table({"label": [0], "image": [b""]}, features).schema
    assert features_of(schema) == features
    assert class_names_of(schema, "label") == ["été", "b"]
    assert class_names_of(schema, "image") is None


@pytest.mark.parametrize("metadata", [None, {"pandas": "{}"}, {"huggingface": "{}"}])
def test_a_schema_without_features_has_none(metadata: dict[str, str] | None) -> None:
    schema = pa.schema([("label", pa.int64())], metadata=metadata)
    assert features_of(schema) == {}
    assert class_names_of(schema, "label") is None


def test_damaged_feature_metadata_is_refused(tmp_path: Path) -> None:
    damaged = pa.table(numbers(0)).replace_schema_metadata({"huggingface": "{oops"})
    path = write(tmp_path / "a.parquet", damaged)
    assert "huggingface" in refused(path)


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


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[1], [2]], [b"a", b"b"]])
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


# --- features and texts


@pytest.mark.parametrize(
    "arrow_type",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.int16()),
    ],
    ids=str,
)
def test_features_are_read_with_the_type_they_are_stored_in(
    tmp_path: Path, arrow_type: pa.DataType
) -> None:
    rows = [[1, 2], [3, 4], [5, 6]]
    columns = {"features": pa.array(rows, arrow_type), "label": [0, 1, 0]}
    found = loaded(write(tmp_path / "a.parquet", columns)).inputs
    assert found is not None
    assert found.tolist() == rows
    assert found.dtype == arrow_type.value_type.to_pandas_dtype()


def test_the_kind_of_list_is_not_part_of_the_content(tmp_path: Path) -> None:
    kinds = [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)]
    prints = set()
    for i, kind in enumerate(kinds):
        columns = {"features": pa.array([[1, 2], [3, 4]], kind), "label": [0, 1]}
        prints.add(loaded(write(tmp_path / f"{i}.parquet", columns)).ref.fingerprint)
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]], "2 rows of .* do not have 2 features: 1, 2"),
        ([[1.0, 2.0], [1.0, 2.0], []], "1 rows of .* do not have 2 features: 2"),
        ([[1.0, 2.0], None, [1.0, 2.0]], "1 rows of .* have no input: 1"),
        ([[1.0, 2.0], [1.0, 2.0], [None, 2.0]], "1 rows of .* have a null feature: 2"),
        ([[1.0, float("nan")], [1.0, 2.0], [float("inf"), 0.0]], "2 rows .* infinite .*: 0, 2"),
    ],
    ids=["ragged", "empty", "null", "null inside", "not finite"],
)  # fmt: skip
def test_features_that_are_not_a_whole_row_of_numbers_are_refused(
    tmp_path: Path, rows: list[Any], says: str
) -> None:
    path = write(tmp_path / "a.parquet", {"features": pa.array(rows, FLOATS), "label": [0, 1, 0]})
    with pytest.raises(SourceError, match=says) as caught:
        loaded(path)
    assert caught.value.hint == "mend or remove these rows; none is skipped silently"


def test_only_the_first_bad_rows_are_named_and_all_are_counted(tmp_path: Path) -> None:
    rows = [[1.0, 2.0], *[[1.0]] * 7]
    path = write(tmp_path / "a.parquet", {"features": pa.array(rows, FLOATS), "label": [0, 1] * 4})
    assert "7 rows of" in refused(path)
    assert "features: 1, 2, 3, 4, 5, ... (" in refused(path)


def test_a_test_split_with_another_number_of_features_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", numbers(0))
    write(
        tmp_path / "test.parquet", {"features": pa.array([[1.0], [2.0]], FLOATS), "label": [0, 1]}
    )
    assert "(test) do not have 2 features: 0, 1" in refused(tmp_path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_texts_are_hashed_and_not_held(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {"text": pa.array(["a", "a ", "a"], kind), "label": [0, 1, 1]}
    found = loaded(write(tmp_path / "a.parquet", columns))
    hashes = found.examples.column("content_hash").to_pylist()
    assert found.inputs is None
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_missing_text_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a", None, ""], "label": [0, 1, 1]})
    assert "have no input: 1" in refused(path)


# --- images


def encoded(pixels: Pixels, form: str, **options: Any) -> bytes:
    """Pixels in some image format."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, **options)
    return buffer.getvalue()


def image_hashes(path: Path) -> list[int]:
    """Content hashes of a file of images."""
    found: list[int] = loaded(path).examples.column("content_hash").to_pylist()
    return found


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 0]], ids=["RGB", "L"])
def test_images_are_uint8_height_width_channels(tmp_path: Path, pixels: Pixels) -> None:
    found = loaded(write(tmp_path / "a.parquet", images(list(pixels)))).inputs
    assert found is not None
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels.reshape(4, 5, 3, -1))


def test_bare_bytes_are_images_too(tmp_path: Path) -> None:
    columns = {"image": [png(p) for p in PIXELS], "label": [0, 1, 0, 1]}
    structs = write(tmp_path / "a.parquet", images(list(PIXELS)))
    assert image_hashes(write(tmp_path / "b.parquet", columns)) == image_hashes(structs)


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {"compress_level": 0}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})],
    ids=["png", "bmp", "tiff", "webp"],
)
def test_the_content_hash_is_of_the_pixels_not_of_how_they_are_encoded(
    tmp_path: Path, form: str, options: dict[str, Any]
) -> None:
    again = images([encoded(p, form, **options) for p in PIXELS])
    ours = image_hashes(write(tmp_path / "a.parquet", images(list(PIXELS))))
    assert image_hashes(write(tmp_path / "b.parquet", again)) == ours
    assert len(set(ours)) == len(PIXELS)


def test_a_changed_pixel_changes_the_content_hash_of_its_image_alone(tmp_path: Path) -> None:
    changed = PIXELS.copy()
    changed[2, 0, 0, 0] ^= 1
    one, other = (
        image_hashes(write(tmp_path / f"{i}.parquet", images(list(p))))
        for i, p in enumerate([PIXELS, changed])
    )
    assert [i for i in range(4) if one[i] != other[i]] == [2]


def mode_of(mode: str) -> Callable[[], bytes]:
    """Encodes a small image of some mode as PNG or TIFF."""

    def make() -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new(mode, (3, 5)).save(buffer, format="TIFF" if mode in {"F", "CMYK"} else "PNG")
        return buffer.getvalue()

    return make


@pytest.mark.parametrize("mode", ["RGBA", "LA", "1", "F", "CMYK", "I;16"])
def test_an_image_of_a_mode_that_is_not_read_is_refused_with_its_mode(
    tmp_path: Path, mode: str
) -> None:
    path = write(tmp_path / "a.parquet", images([PIXELS[0], mode_of(mode)()]))
    assert f"are images of mode {mode}, and only L and RGB are read: 1" in refused(path)


def test_a_palette_image_is_read_as_the_colours_it_shows(tmp_path: Path) -> None:
    from PIL import Image

    shown = Image.fromarray(PIXELS[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG")
    found = loaded(write(tmp_path / "a.parquet", images([buffer.getvalue(), PIXELS[1]]))).inputs
    assert found is not None
    assert np.array_equal(found[0], np.asarray(shown.convert("RGB")))


def test_a_palette_image_that_shines_through_is_refused_like_any_other(tmp_path: Path) -> None:
    from PIL import Image

    shown = Image.fromarray(PIXELS[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", transparency=bytes([0, 128, 255]))
    path = write(tmp_path / "a.parquet", images([PIXELS[1], buffer.getvalue()]))
    assert "are images of mode" in refused(path)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (None, "have no image bytes: 1"),
        (b"", "hold bytes that are no readable image: 1"),
        (b"no image", "hold bytes that are no readable image: 1"),
        (png(PIXELS[0])[:60], "hold bytes that are no readable image: 1"),
        (PIXELS[0][:4], "have another size than 3x5 with 3 channels, the first is 3x4 with 3"),
        (PIXELS[0][:, :, 0], "have another size than 3x5 with 3 channels, the first is 3x5 with 1"),
    ],
    ids=["null", "empty", "noise", "truncated", "size", "channels"],
)
def test_an_image_that_cannot_be_read_like_the_others_is_refused(
    tmp_path: Path, cell: Pixels | bytes | None, says: str
) -> None:
    path = write(tmp_path / "a.parquet", images([PIXELS[0], cell, PIXELS[2]]))
    assert "1 rows of" in refused(path)
    assert says in refused(path)


def test_an_image_struct_without_bytes_is_refused(tmp_path: Path) -> None:
    cells = pa.array([{"bytes": None, "path": "/elsewhere.png"}] * 2, IMAGE)
    path = write(tmp_path / "a.parquet", {"image": cells, "label": [0, 1]})
    assert "2 rows of" in refused(path)
    assert "have no image bytes: 0, 1" in refused(path)


def test_a_source_of_nothing_but_broken_images_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", images([b"no", b"image"]))
    assert "hold bytes that are no readable image: 0, 1" in refused(path)


def test_a_test_split_with_images_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", images(list(PIXELS)))
    write(tmp_path / "test.parquet", images(list(PIXELS[:, :4])))
    assert "4 rows of" in refused(tmp_path)
    assert "(test) have another size than 3x5 with 3 channels" in refused(tmp_path)


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
