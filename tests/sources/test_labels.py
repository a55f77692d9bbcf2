"""Labels of every task, images of every size and mode, several columns as one input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune.core.errors import SourceError
from dataprune.core.fingerprint import content_hashes
from dataprune.core.recipe import Columns, Images, SourceRecipe
from dataprune.sources import open_source
from dataprune.sources._load import Loaded, describe, load, load_rows


def read(
    folder: Path, data: dict[str, Any], task: Any = "classification", **options: Any
) -> Loaded:
    """A source of these columns, loaded."""
    pq.write_table(pa.table(data), folder / "d.parquet")
    asked = Columns(**options.pop("columns", {}))
    source = open_source(SourceRecipe(uri=str(folder / "d.parquet"), columns=asked))
    return load(source, task=task, **options)


def encoded(pixels: np.ndarray[Any, Any], mode: str, kind: str = "PNG") -> dict[str, Any]:
    buffer = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(pixels.squeeze()).convert(mode)
    if mode.endswith("A"):
        image.putalpha(120)
    image.save(buffer, format=kind, **options)
    return {"bytes": buffer.getvalue(), "path": None}


X = [[float(i), 1.0] for i in range(4)]


# --- labels


@pytest.mark.parametrize(
    "labels", [[["a"], ["b", "a"], [], ["c"]], [[0], [1, 0], [], [2]]], ids=["names", "numbers"]
)
def test_multilabel_reads_lists_of_classes_as_multi_hot(tmp_path: Path, labels: Any) -> None:
    loaded = read(tmp_path, {"x": X, "label": labels}, "multilabel")
    assert loaded.labels.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert loaded.labels.dtype == np.uint8
    assert loaded.ref.class_names == (["a", "b", "c"] if labels[0] == ["a"] else ["0", "1", "2"])
    assert loaded.examples.column("label").to_pylist() == [[0], [0, 1], [], [2]]


@pytest.mark.parametrize(
    ("labels", "stored"), [([1.5, 2, -3, 4], [1.5, 2, -3, 4]), ([[1.0, 2.0]] * 4, [[1.0, 2.0]] * 4)]
)
def test_regression_reads_numbers_and_lists_of_them(
    tmp_path: Path, labels: Any, stored: Any
) -> None:
    loaded = read(tmp_path, {"x": X, "label": labels}, "regression")
    assert loaded.labels.shape == (4, np.asarray(stored).reshape(4, -1).shape[1])
    assert loaded.ref.class_names == []
    assert loaded.examples.column("label").to_pylist() == stored


def test_without_a_task_no_label_is_read_and_none_is_needed(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"x": X}, None)
    assert loaded.labels.shape == (4, 0)
    assert loaded.ref.columns.label is None
    assert loaded.examples.column("label").to_pylist() == [None] * 4
    labelled = read(tmp_path, {"x": X, "label": [0, 1, 0, 1]}, None)
    assert labelled.ref.fingerprint == loaded.ref.fingerprint
    assert "no labels" in describe(loaded)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("classification", [0, 1, None, 1], "1 rows .* have no label: 2"),
        ("classification", [0.5, 1, 2, 3], "labels of .* are double"),
        ("classification", [[0], [1], [0], [1]], "are lists"),
        ("multilabel", [0, 1, 0, 1], "labels of .* are int64"),
        ("multilabel", [[0], None, [1], [0]], "1 rows .* have no label: 1"),
        ("multilabel", [[0], [1], [0, None], [1]], "1 rows .* a null among their labels: 2"),
        ("multilabel", [["a"], ["b"], ["a", "a"], ["b"]], "name a class twice: 2"),
        ("multilabel", pa.array([[], [], [], []], pa.list_(pa.string())), "every list is empty"),
        ("regression", ["a", "b", "c", "d"], "labels of .* are string"),
        ("regression", [1.0, float("nan"), 2.0, 3.0], "NaN or infinite label: 1"),
        ("regression", [1.0, None, 2.0, 3.0], "1 rows .* have no label: 1"),
        ("regression", [[1.0], [2.0], [3.0, 4.0], [5.0]], "do not have 1 numbers: 2"),
        ("regression", [[1.0], [None], [3.0], [5.0]], "a null among their labels: 1"),
    ],
)
def test_labels_that_do_not_fit_are_counted_and_named(
    tmp_path: Path, task: str, labels: Any, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path, {"x": X, "label": labels}, task)


def test_a_source_without_a_label_column_says_so_and_how_to_go_without(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no label column found") as caught:
        read(tmp_path, {"x": X, "note": ["a", "b", "c", "d"]})
    assert "--task none" in (caught.value.hint or "")
    assert "x, note" in (caught.value.hint or "")


# --- several columns as one input


def test_numeric_columns_together_are_one_input(tmp_path: Path) -> None:
    data = {"a": [1, 2, 3, 4], "b": [0.5, 1.5, 2.5, 3.5], "label": [0, 1, 0, 1], "id": list("wxyz")}
    found = read(tmp_path, data, columns={"key": "id"})
    assert found.ref.columns.input == ("a", "b")
    assert found.inputs is not None
    assert np.asarray(found.inputs).tolist() == [[1, 0.5], [2, 1.5], [3, 2.5], [4, 3.5]]
    named = read(tmp_path, data, columns={"input": ["b"], "key": "id"})
    assert np.asarray(named.inputs).tolist() == [[0.5], [1.5], [2.5], [3.5]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1.0, None, 2.0, 3.0], "null feature: 1"),
        ([1.0, 2.0, float("inf"), 3.0], "infinite feature: 2"),
    ],
)
def test_a_missing_or_infinite_number_names_its_row(
    tmp_path: Path, column: Any, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(tmp_path, {"a": [1, 2, 3, 4], "b": column, "label": [0, 1, 0, 1]})


def test_a_text_column_among_several_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"column b of .* is string"):
        read(
            tmp_path,
            {"a": [1, 2], "b": ["x", "y"], "label": [0, 1]},
            columns={"input": ["a", "b"]},
        )


# --- images


MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


@pytest.mark.parametrize(
    ("mode", "kind"), [*((mode, "PNG") for mode in MODES), ("RGB", "WEBP"), ("RGBA", "WEBP")]
)
def test_images_of_one_to_four_channels_are_read_as_they_are(
    tmp_path: Path, mode: str, kind: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 7, 5, 3), dtype=np.uint8)
    rows = [encoded(p, mode, kind) for p in pixels]
    loaded = read(tmp_path, {"image": rows, "label": [0, 1]})
    images = np.asarray(loaded.inputs)
    assert images.shape == (2, 7, 5, MODES[mode])
    expected = np.asarray(Image.open(io.BytesIO(rows[0]["bytes"]))).reshape(images[0].shape)
    assert np.array_equal(images[0], expected)
    assert loaded.hashes.tolist() == content_hashes(images).tolist()


def two_sizes() -> list[dict[str, Any]]:
    wide = np.zeros((4, 8), dtype=np.uint8)
    wide[:, 4:] = 200
    return [encoded(wide, "L"), encoded(np.full((6, 6), 100, dtype=np.uint8), "L")]


@pytest.mark.parametrize(
    ("fit", "first"),
    [
        ("squash", [[0, 0, 200, 200]] * 4),
        ("crop", [[0, 0, 200, 200]] * 4),
        ("pad", [[0, 0, 0, 0], [0, 0, 200, 200], [0, 0, 200, 200], [0, 0, 0, 0]]),
    ],
)
def test_a_named_policy_brings_images_of_any_size_to_one(
    tmp_path: Path, fit: Any, first: list[list[int]]
) -> None:
    policy = Images(size=4, fit=fit)
    loaded = read(tmp_path, {"image": two_sizes(), "label": [0, 1]}, images=policy)
    images = np.asarray(loaded.inputs)[..., 0].astype(int)
    assert images.shape == (2, 4, 4)
    assert np.abs(images[0] - np.asarray(first)).max() <= 60  # the edge is smoothed
    assert np.array_equal(images[0] > 100, np.asarray(first) > 100)


def test_the_content_hash_is_of_the_pixels_as_stored_whatever_the_policy(tmp_path: Path) -> None:
    data = {"image": two_sizes(), "label": [0, 1]}
    small = read(tmp_path, data, images=Images(size=4))
    large = read(tmp_path, data, images=Images(size=(9, 7), fit="pad", channels=3))
    assert small.hashes.tolist() == large.hashes.tolist()
    assert np.asarray(large.inputs).shape == (2, 9, 7, 3)
    source = open_source(SourceRecipe(uri=str(tmp_path / "d.parquet")))
    assert load_rows(source, task="classification").ref.fingerprint == small.ref.fingerprint


def test_images_of_two_sizes_without_a_policy_name_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"1 rows .* not 8x4 .* 6x6 .*source\.image\.size"):
        read(tmp_path, {"image": two_sizes(), "label": [0, 1]})


def test_what_cannot_be_read_is_counted_by_kind_and_named(tmp_path: Path) -> None:
    whole = encoded(np.zeros((40, 40, 3), dtype=np.uint8), "RGB", "JPEG")
    cut = {"bytes": whole["bytes"][:-200], "path": None}
    rows = [whole, cut, {"bytes": None, "path": "x.png"}, {"bytes": b"GIF", "path": None}]
    with pytest.raises(
        SourceError,
        match=r"3 rows .* cannot be read: 2 .* no readable image: 1, 3; 1 .* no image bytes: 2",
    ):
        read(tmp_path, {"image": rows, "label": [0, 1, 0, 1]})


def test_16_bit_images_are_refused_by_their_mode(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(buffer, format="PNG")
    row = {"bytes": buffer.getvalue(), "path": None}
    with pytest.raises(SourceError, match="mode I;16, and only L, LA, RGB, RGBA"):
        read(tmp_path, {"image": [row, row], "label": [0, 1]})


def test_an_image_policy_for_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source\.image has no effect"):
        read(tmp_path, {"x": X, "label": [0, 1, 0, 1]}, images=Images(size=8))


def test_spooled_inputs_are_the_ones_in_memory_and_go_when_discarded(tmp_path: Path) -> None:
    data = {"image": two_sizes(), "label": [0, 1]}
    held = read(tmp_path, data, images=Images(size=5))
    spooled = read(tmp_path, data, images=Images(size=5), spool=tmp_path / "spool")
    assert spooled.inputs is not None
    assert np.array_equal(spooled.inputs.read(0, 2), held.inputs)  # type: ignore[union-attr]
    assert spooled.ref == held.ref
    spooled.discard()
    assert not (tmp_path / "spool").exists()
    broken = [*two_sizes(), {"bytes": b"no image", "path": None}]
    with pytest.raises(SourceError):
        read(
            tmp_path,
            {"image": broken, "label": [0, 1, 0]},
            images=Images(size=5),
            spool=tmp_path / "spool",
        )
    assert not (tmp_path / "spool").exists()


# --- at the edges


def test_a_key_or_group_column_may_be_an_input_too(tmp_path: Path) -> None:
    data = {"a": [1, 2, 3, 4], "b": [1.0, 2.0, 3.0, 4.0], "label": [0, 1, 0, 1]}
    found = read(tmp_path, data, columns={"input": ["a", "b"], "key": "a", "group": "b"})
    assert found.examples.column("key").to_pylist() == ["1", "2", "3", "4"]
    assert found.groups is not None
    assert found.groups.to_pylist() == [1.0, 2.0, 3.0, 4.0]


def test_pandas_categoricals_are_the_values_they_stand_for(tmp_path: Path) -> None:
    label = pa.array(["cat", "dog", "cat", "owl"]).dictionary_encode()
    text = pa.array(["a b", "c", "a b", "d"]).dictionary_encode()
    found = read(tmp_path, {"text": text, "label": label})
    assert found.ref.class_names == ["cat", "dog", "owl"]
    assert found.labels.tolist() == [0, 1, 0, 2]
    assert found.texts is not None
    assert found.texts.to_pylist() == ["a b", "c", "a b", "d"]


def test_a_test_split_with_other_numbers_of_outputs_names_its_rows(tmp_path: Path) -> None:
    for split, width in (("train", 2), ("test", 3)):
        table = pa.table({"x": X, "label": [[1.0] * width] * 4})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    source = open_source(SourceRecipe(uri=str(tmp_path)))
    with pytest.raises(SourceError, match=r"\(test\) do not have 2 numbers: 0, 1, 2, 3"):
        load(source, task="regression")


def test_empty_record_batches_are_passed_over(tmp_path: Path) -> None:
    table = pa.table({"x": X, "label": [0, 1, 0, 1]})
    path = tmp_path / "d.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 2), table.slice(2, 0), table.slice(2, 2)):
            writer.write_batch(
                part.to_batches()[0] if len(part) else pa.RecordBatch.from_pylist([], table.schema)
            )
    loaded = load(open_source(SourceRecipe(uri=str(path))))
    assert np.asarray(loaded.inputs).tolist() == X
