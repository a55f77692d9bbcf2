"""Pictures: what is the same picture edited, what is another, and what is no picture."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataprune.core.errors import SourceError, UsageError
from dataprune.similarity.perceptual import perceptual_groups
from dataprune.similarity.thumbnails import low_frequencies, thumbnails_of

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def picture(seed: int, side: int = 48, channels: int = 3) -> Picture:
    """Coarse and fine noise at once, which is like a photograph in what matters here."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, channels))
    for cells, weight in ((4, 0.6), (9, 0.3), (20, 0.1)):
        noise = rng.integers(0, 256, (cells, cells, channels), dtype=np.uint8)
        total += weight * resized(noise, side)
    return np.clip(20 + total * 0.75, 0, 255).astype(np.uint8)


def resized(pixels: Picture, side: int) -> Picture:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    array = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    return array.reshape(side, side, -1)


def jpeg(pixels: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as decoded:
        return np.asarray(decoded).reshape(pixels.shape)


def moved(pixels: Picture, down: int, right: int) -> Picture:
    side = len(pixels)
    padded = np.pad(pixels, ((2, 2), (2, 2), (0, 0)), mode="edge")
    return padded[2 - down : 2 - down + side, 2 - right : 2 - right + side]


def lit(pixels: Picture, gain: float, offset: float) -> Picture:
    return np.clip(pixels * gain + offset, 0, 255).astype(np.uint8)


def noisy(pixels: Picture, spread: float) -> Picture:
    noise = np.random.default_rng(0).normal(0, spread, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "copied": lambda p: p.copy(),
    "re-encoded at quality 90": lambda p: jpeg(p, 90),
    "re-encoded at quality 60": lambda p: jpeg(p, 60),
    "moved right": lambda p: moved(p, 0, 1),
    "moved left": lambda p: moved(p, 0, -1),
    "moved down": lambda p: moved(p, 1, 0),
    "moved up and left": lambda p: moved(p, -1, -1),
    "moved up and right": lambda p: moved(p, -1, 1),
    "brighter": lambda p: lit(p, 1.0, 15),
    "darker": lambda p: lit(p, 0.85, 0),
    "more contrast": lambda p: lit(p, 1.2, -25),
    "noisy": lambda p: noisy(p, 3),
    "resized": lambda p: resized(p, 2 * len(p)),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_edited_picture_is_grouped_with_its_original_and_with_no_other(
    edit: str, channels: int
) -> None:
    originals = [picture(seed, 32, channels) for seed in range(20)]
    edited = [EDITS[edit](original) for original in originals]
    assert perceptual_groups([*originals, *edited]).tolist() == [*range(20), *range(20)]


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("side", [28, 48, 100])
def test_at_other_sizes_too_where_a_pixel_is_part_of_one_of_the_thumbnail(
    edit: str, side: int
) -> None:
    originals = [picture(seed, side) for seed in range(20)]
    groups = perceptual_groups([*originals, *(EDITS[edit](p) for p in originals)])
    found = groups[20:] == np.arange(20)
    assert groups[:20].tolist() == list(range(20))
    assert (groups[20:][~found] == np.flatnonzero(~found) + 20).all()
    assert found.sum() >= 16 if "and" in edit else found.all()


def test_different_pictures_stay_apart() -> None:
    groups = perceptual_groups(np.stack([picture(seed, 32) for seed in range(300)]))
    assert groups.tolist() == list(range(300))


def test_a_small_print_makes_another_picture_though_the_hash_is_near() -> None:
    plain = picture(8, 32, 1)
    printed = plain.copy()
    printed[12:17, 14:19] = lit(printed[12:17, 14:19], 1.0, 45)
    hashes, _ = low_frequencies(np.stack([plain, printed])[..., 0])
    assert np.bitwise_count(hashes[0] ^ hashes[1]) <= 6
    assert perceptual_groups([plain, printed], max_distance=6).tolist() == [0, 1]
    loose = {"max_distance": 6, "max_difference": 60.0, "min_correlation": 0.5}
    assert perceptual_groups([plain, printed], **loose).tolist() == [0, 0]


def test_the_same_shape_in_another_colour_is_another_picture() -> None:
    grey = picture(3, 48, 1)[..., 0] // 2
    red, blue = (np.stack([grey] * 3, axis=-1) for _ in range(2))
    red[..., 0] += 50  # luma 0.299 * 50 = 0.114 * 131
    blue[..., 2] += 131
    assert perceptual_groups([red, blue]).tolist() == [0, 1]
    assert perceptual_groups([red, noisy(red, 2), blue]).tolist() == [0, 0, 2]


def test_flat_pictures_are_grouped_with_exact_copies_only() -> None:
    levels = [0, 255, 128, 0, 129, 255]
    images = [np.full((16, 16, 3), level, dtype=np.uint8) for level in levels]
    assert perceptual_groups(images).tolist() == [0, 1, 2, 0, 4, 1]


def test_groups_are_closed_a_step_at_a_time() -> None:
    base = picture(5, 32)
    steps = [moved(base, 0, k) for k in range(3)]
    assert perceptual_groups([steps[0], steps[2]]).tolist() == [0, 1]
    assert perceptual_groups([steps[0], steps[2], steps[1]]).tolist() == [0, 0, 0]


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_many_pictures_are_grouped_as_each_two_of_them_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [picture(seed + k, 32) for k in range(3)]
    while len(images) < 10:
        edit = rng.choice(list(EDITS))
        images.append(EDITS[edit](images[rng.integers(len(images))]))
    groups = list(range(10))
    for i, j in itertools.combinations(range(10), 2):
        if perceptual_groups([images[i], images[j]])[1] == 0:
            low, high = sorted((groups[i], groups[j]))
            groups = [low if g == high else g for g in groups]
    assert perceptual_groups(images).tolist() == groups
    assert len(set(groups)) < 10


def test_permuting_rows_permutes_the_groups_and_a_second_run_repeats_them() -> None:
    images = [picture(seed, 32) for seed in range(30)]
    images += [edit(images[k]) for k, edit in enumerate(EDITS.values())]
    groups = perceptual_groups(images)
    assert len(np.unique(groups)) == 30
    order = np.random.default_rng(1).permutation(len(images))
    permuted = perceptual_groups([images[k] for k in order])
    assert {frozenset(order[permuted == g].tolist()) for g in permuted} == {
        frozenset(np.flatnonzero(groups == g).tolist()) for g in groups
    }
    assert all(g == np.flatnonzero(permuted == g).min() for g in permuted)
    np.testing.assert_array_equal(groups, perceptual_groups(images))


def test_no_picture_and_one_picture() -> None:
    assert perceptual_groups([]).tolist() == []
    assert perceptual_groups(np.empty((0, 8, 8, 3), dtype=np.uint8)).dtype == np.int64
    assert perceptual_groups([picture(0)]).tolist() == [0]


def test_thousands_of_equal_pictures_are_one_group_and_fast() -> None:
    image = picture(0, 32)
    started = time.perf_counter()
    assert not perceptual_groups(image for _ in range(5000)).any()
    assert time.perf_counter() - started < 5


def test_images_are_read_once_and_from_any_iterable() -> None:
    num_read = 0

    def stream() -> Iterator[Picture]:
        nonlocal num_read
        for seed in (0, 1, 0):
            num_read += 1
            yield picture(seed)

    assert perceptual_groups(stream()).tolist() == [0, 1, 0]
    assert num_read == 3


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((8, 8), np.uint8), "uint8 of shape"),
        (np.zeros((8, 8, 4), np.uint8), "uint8 of shape"),
        (np.zeros((0, 8, 3), np.uint8), "uint8 of shape"),
        (np.zeros((8, 8, 3), np.float32), "float32 of shape"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_by_row(image: Any, what: str) -> None:
    with pytest.raises(SourceError, match=f"image 1 is {what}"):
        perceptual_groups([picture(0), image])


@pytest.mark.parametrize(
    "options",
    [
        {"max_distance": -1},
        {"max_distance": 11},
        {"max_distance": 4.0},
        {"max_distance": True},
        {"max_difference": "14"},
        {"min_correlation": None},
        {"max_difference": 0},
        {"max_difference": 256},
        {"max_difference": float("nan")},
        {"min_correlation": 0},
        {"min_correlation": 1.5},
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        perceptual_groups([], **options)


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3), (97, 3)])
def test_the_hash_is_imagehash_phash(side: int, channels: int) -> None:
    images = [picture(seed, side, channels) for seed in range(100)]
    hashes, _ = low_frequencies(thumbnails_of(images).grey)
    for image, found in zip(images, hashes, strict=True):
        pil = Image.fromarray(image[..., 0] if channels == 1 else image)
        bits = imagehash.phash(pil).hash.ravel()
        assert int(found) == sum(1 << k for k in np.flatnonzero(bits).tolist())


# Judged by eye, among the pairs whose hashes differ in at most four bits.
SAME = [(1928, 3704), (5503, 28024), (567, 47750), (20554, 36357), (12981, 50759), (18526, 56237)]
OTHERS = [(18466, 40906), (23447, 43541), (9381, 57264)]


@pytest.mark.real_data
def test_fashion_mnist_products_that_look_alike_stay_apart(real_data: Path) -> None:
    folder = real_data / "fashion_mnist" / "data"
    table = pq.read_table(sorted(folder.glob("train-*")))
    encoded = table.column("image").take([row for pair in SAME + OTHERS for row in pair])
    images = [
        np.asarray(Image.open(io.BytesIO(cell["bytes"])))[..., None] for cell in encoded.to_pylist()
    ]
    same = [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert perceptual_groups(images).tolist() == [*same, *range(12, 18)]
    loose = {"max_distance": 6, "max_difference": 60.0, "min_correlation": 0.7}
    assert perceptual_groups(images, **loose).tolist() == [*same, 12, 12, 14, 14, 16, 16]
