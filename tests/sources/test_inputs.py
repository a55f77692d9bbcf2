"""Inputs of a source: features, texts and images as they are read, and rows that are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError
from tests.conftest import png
from tests.sources.tables import (
    FLOATS,
    IMAGE,
    PIXELS,
    Pixels,
    images,
    loaded,
    numbers,
    refused,
    write,
)

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
        ([[], [1.0, 2.0], []], "2 rows of .* have an empty list: 0, 2"),
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


@pytest.mark.parametrize("mode", ["F", "CMYK", "I;16"])
def test_an_image_of_a_mode_that_is_not_read_is_refused_with_its_mode(
    tmp_path: Path, mode: str
) -> None:
    path = write(tmp_path / "a.parquet", images([PIXELS[0], mode_of(mode)()]))
    assert f"are images of mode {mode}, and only L, LA, RGB, RGBA are read: 1" in refused(path)


def test_a_palette_image_is_read_as_the_colours_it_shows(tmp_path: Path) -> None:
    from PIL import Image

    shown = Image.fromarray(PIXELS[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG")
    found = loaded(write(tmp_path / "a.parquet", images([buffer.getvalue(), PIXELS[1]]))).inputs
    assert found is not None
    assert np.array_equal(found[0], np.asarray(shown.convert("RGB")))


def test_a_palette_image_that_shines_through_has_another_number_of_channels(tmp_path: Path) -> None:
    from PIL import Image

    shown = Image.fromarray(PIXELS[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", transparency=bytes([0, 128, 255]))
    path = write(tmp_path / "a.parquet", images([PIXELS[1], buffer.getvalue()]))
    assert "are not 3x5 with 3 channels like the rest (one is 3x5 with 4" in refused(path)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (None, "have no image bytes: 1"),
        (b"", "hold bytes that are no readable image: 1"),
        (b"no image", "hold bytes that are no readable image: 1"),
        (png(PIXELS[0])[:60], "hold bytes that are no readable image: 1"),
        (PIXELS[0][:4], "are not 3x5 with 3 channels like the rest (one is 3x4 with 3"),
        (PIXELS[0][:, :, 0], "are not 3x5 with 3 channels like the rest (one is 3x5 with 1"),
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
    assert "have no image bytes: 0 (/elsewhere.png), 1 (/elsewhere.png)" in refused(path)


def test_a_source_of_nothing_but_broken_images_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", images([b"no", b"image"]))
    assert "hold bytes that are no readable image: 0, 1" in refused(path)


def test_a_test_split_with_images_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", images(list(PIXELS)))
    write(tmp_path / "test.parquet", images(list(PIXELS[:, :4])))
    assert "4 rows of" in refused(tmp_path)
    assert "(test) are not 3x5 with 3 channels like the rest" in refused(tmp_path)
