"""A version as a torch dataset: images and numbers as tensors, everything else as it is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dataprune import flow
from dataprune.versions.torch_view import VersionDataset

ScoreRandom = Callable[..., Path]


@pytest.fixture
def dataset(animals_scores: Path, tmp_path: Path) -> VersionDataset:
    """30 of 60 animals."""
    flow.prune(animals_scores, name="d", tag="v1", keep=0.5, store=tmp_path / "store")
    return flow.load("d", "v1", store=tmp_path / "store").torch()


def decoded(data: bytes) -> torch.Tensor:
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())


def test_images_are_uint8_tensors_with_channels_first(dataset: VersionDataset) -> None:
    images = dataset.table.column("image").to_pylist()
    for i in (0, 29):
        image = dataset[i]["image"]
        assert image.dtype == torch.uint8
        assert image.shape == (3, 8, 8)
        assert image.equal(decoded(images[i]["bytes"]))


def test_numbers_in_lists_are_tensors_and_the_rest_is_as_it_is(dataset: VersionDataset) -> None:
    row = dataset[0]
    assert list(row) == ["key", "label", "image", "note", "box"]
    assert isinstance(row["key"], str)
    assert isinstance(row["label"], int)
    assert row["box"].dtype == torch.int64
    assert row["box"].tolist() == dataset.table.column("box")[0].as_py()


def test_a_missing_value_is_none(dataset: VersionDataset) -> None:
    notes = dataset.table.column("note").to_pylist()
    assert None in notes
    assert [dataset[i]["note"] for i in range(30)] == notes


def test_rows_count_from_both_ends_and_not_beyond(dataset: VersionDataset) -> None:
    assert len(dataset) == 30
    assert dataset[-1]["key"] == dataset[29]["key"]
    assert dataset[-30]["key"] == dataset[0]["key"]
    for index in (30, -31):
        with pytest.raises(IndexError, match=f"index {index} of a version with 30 rows"):
            dataset[index]


def test_a_loader_batches_features_and_labels(
    blobs_scores: Path, blobs_path: Path, tmp_path: Path
) -> None:
    flow.prune(blobs_scores, name="d", tag="v1", keep=0.5, view=True, store=tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    batches = list(DataLoader(version.torch(), batch_size=50))
    features = torch.cat([batch["features"] for batch in batches])
    ids = [i for batch in batches for i in batch["id"]]
    expected = pq.read_table(blobs_path).take(version.rows)
    assert features.shape == (150, 6)
    assert features.tolist() == expected.column("features").to_pylist()
    assert ids == expected.column("id").to_pylist()


def _png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5), shade, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_in_a_plain_column_of_bytes_are_tensors(
    kind: pa.DataType, score_random: ScoreRandom, tmp_path: Path
) -> None:
    path = tmp_path / "plain.parquet"
    images = pa.array([_png(i) for i in range(8)], kind)
    pq.write_table(pa.table({"image": images, "label": [0, 1] * 4}), path)
    flow.prune(score_random(path), name="d", tag="v1", keep=1.0, store=tmp_path / "store")
    dataset = flow.load("d", "v1", store=tmp_path / "store").torch()
    assert dataset[3]["image"].shape == (1, 4, 5)
    assert dataset[3]["image"].unique().tolist() == [3]


def test_a_column_of_bytes_that_is_no_image_is_left_as_it_is(
    score_random: ScoreRandom, tmp_path: Path
) -> None:
    path = tmp_path / "blob.parquet"
    table = pa.table(
        {"image": [_png(i) for i in range(8)], "label": [0, 1] * 4, "digest": [b"\x00\x01"] * 8}
    )
    pq.write_table(table, path)
    scores = score_random(path, input="image")
    flow.prune(scores, name="d", tag="v1", keep=1.0, store=tmp_path / "store")
    row = flow.load("d", "v1", store=tmp_path / "store").torch()[0]
    assert row["digest"] == b"\x00\x01"
    assert row["image"].shape == (1, 4, 5)


def test_a_second_image_that_is_missing_is_none(score_random: ScoreRandom, tmp_path: Path) -> None:
    path = tmp_path / "two.parquet"
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    first = pa.array([{"bytes": _png(i), "path": None} for i in range(8)], image)
    second = pa.array([None, {"bytes": None, "path": None}, *first.to_pylist()[2:]], image)
    pq.write_table(pa.table({"image": first, "label": [0, 1] * 4, "mask": second}), path)
    scores = score_random(path, input="image")
    flow.prune(scores, name="d", tag="v1", keep=1.0, store=tmp_path / "store")
    dataset = flow.load("d", "v1", store=tmp_path / "store").torch()
    assert dataset[0]["mask"] is None
    assert dataset[1]["mask"] is None
    assert dataset[2]["mask"].shape == (1, 4, 5)
