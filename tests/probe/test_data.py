"""Batches: what an epoch visits, how images are cropped and flipped, and who owns the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.recipe import ProbeRecipe, Recipe
from dataprune.core.recipe_training import Augment
from dataprune.probe.data import (
    Epochs,
    Prepare,
    ResidentBatches,
    make_batches,
    statistics,
    tensor_of,
)

Array = np.ndarray[Any, np.dtype[Any]]


def batches_over(
    inputs: Array,
    *,
    batch_size: int = 4,
    rows: Array | None = None,
    augment: Augment | None = None,
    seed: int = 0,
    mean: Array | None = None,
    std: Array | None = None,
) -> ResidentBatches:
    """Batches over `inputs`, labelled by row number, not standardised unless told how."""
    channels = inputs.shape[-1]
    wanted = np.arange(len(inputs)) if rows is None else rows
    return ResidentBatches(
        tensor_of(inputs),
        Epochs(
            torch.arange(len(inputs)),
            tensor_of(wanted),
            Prepare(
                torch.zeros(channels) if mean is None else tensor_of(mean),
                torch.ones(channels) if std is None else tensor_of(std),
            ),
            ProbeRecipe(batch_size=batch_size, augment=augment or Augment()),
            torch.Generator().manual_seed(seed),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3))
def test_an_epoch_visits_each_row_at_most_once_and_leaves_out_only_a_partial_batch(
    num_rows: int, batch_size: int, seed: int
) -> None:
    rows = np.sort(np.random.default_rng(seed).permutation(60)[:num_rows])
    inputs = np.arange(60, dtype=np.float64)[:, None]
    batches = batches_over(inputs, batch_size=batch_size, rows=rows, seed=seed)
    size = min(batch_size, num_rows)
    assert batches.steps_per_epoch == num_rows // size
    for _ in range(2):
        epoch = list(batches.epoch())
        assert [len(b.rows) for b in epoch] == [size] * (num_rows // size)
        visited = torch.cat([b.rows for b in epoch]).tolist()
        assert len(visited) == len(set(visited))
        assert set(visited) <= set(rows.tolist())
        for batch in epoch:
            assert torch.equal(batch.targets, batch.rows)
            assert torch.equal(batch.inputs[:, 0], batch.rows.float())


def test_each_epoch_has_a_fresh_order() -> None:
    batches = batches_over(np.zeros((64, 1)))
    orders = [torch.cat([b.rows for b in batches.epoch()]).tolist() for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(64)) for order in orders)


@pytest.mark.parametrize("augment", [Augment(), Augment(crop=2, flip=True)])
def test_the_same_generator_seed_gives_the_same_batches_and_another_gives_others(
    augment: Augment,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)

    def two_epochs(seed: int) -> torch.Tensor:
        batches = batches_over(images, augment=augment, seed=seed)
        return torch.cat([b.inputs for _ in range(2) for b in batches.epoch()])

    assert torch.equal(two_epochs(1), two_epochs(1))
    assert not torch.equal(two_epochs(1), two_epochs(2))


def test_in_order_gives_every_row_of_the_source_once_and_clean() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 5, 4, 3), dtype=np.uint8)
    batches = batches_over(images, rows=np.array([1, 7]), augment=Augment(crop=2, flip=True))
    found = list(batches.in_order(4))
    assert [len(b.rows) for b in found] == [4, 4, 2]
    assert torch.cat([b.rows for b in found]).tolist() == list(range(10))
    assert torch.cat([b.targets for b in found]).tolist() == list(range(10))
    pixels = torch.cat([b.inputs for b in found]).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(pixels, images.astype(np.float32))


def slow_crops(image: Array, crop: int, *, flip: bool) -> dict[tuple[int, int, bool], bytes]:
    """Every crop of an image reflected at its border, and their mirror images."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
    found = {}
    for top in range(2 * crop + 1):
        for left in range(2 * crop + 1):
            cut = padded[top : top + height, left : left + width]
            found[top, left, False] = cut.tobytes()
            if flip:
                found[top, left, True] = np.flip(cut, axis=1).tobytes()
    return found


@pytest.mark.parametrize(
    ("shape", "augment"),
    [
        ((5, 6, 3), Augment(crop=2)),
        ((5, 6, 3), Augment(flip=True)),
        ((6, 5, 1), Augment(crop=2, flip=True)),
        ((4, 4, 1), Augment(crop=3, flip=True)),
    ],
)
def test_augmented_images_are_reflected_crops_and_flips_and_every_one_occurs(
    shape: tuple[int, int, int], augment: Augment
) -> None:
    images = np.random.default_rng(2).integers(0, 256, (8, *shape), dtype=np.uint8)
    allowed = [slow_crops(image, augment.crop, flip=augment.flip) for image in images]
    batches = batches_over(images, augment=augment)
    seen = set()
    for _ in range(120):
        for batch in batches.epoch():
            pixels = batch.inputs.permute(0, 2, 3, 1).numpy().astype(np.uint8)
            for row, image in zip(batch.rows.tolist(), pixels, strict=True):
                matches = [k for k, raw in allowed[row].items() if raw == image.tobytes()]
                assert matches, "not a crop of its own image"
                seen.update(matches)  # a reflected crop can be its own mirror image
    assert seen == set(allowed[0])


def test_a_flip_alone_is_numpys_flip_and_falls_on_about_half_of_the_images() -> None:
    images = np.arange(200 * 12, dtype=np.int64).reshape(200, 3, 4, 1) % 251
    images = images.astype(np.uint8)
    flips = 0
    for batch in batches_over(images, augment=Augment(flip=True)).epoch():
        pixels = batch.inputs.permute(0, 2, 3, 1).numpy().astype(np.uint8)
        for row, image in zip(batch.rows.tolist(), pixels, strict=True):
            if np.array_equal(image, images[row]):
                continue
            assert np.array_equal(image, np.flip(images[row], axis=1))
            flips += 1
    assert 70 < flips < 130


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((9, 5, 4, 3), np.uint8),
        ((9, 6), np.float32),
        ((9, 6), np.float64),
        ((9, 6), np.int64),
        ((9, 6), np.float16),
    ],
)
def test_inputs_are_standardised_to_float32_and_images_become_channels_first(
    shape: tuple[int, ...], dtype: Any
) -> None:
    inputs = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    mean, std = statistics(inputs)
    expected = (inputs.astype(np.float64) - mean) / std
    batches = batches_over(inputs.copy(), mean=mean, std=std)
    if inputs.ndim == 4:
        expected = expected.transpose(0, 3, 1, 2)
    whole = torch.cat([b.inputs for b in batches.in_order(4)])
    assert whole.dtype == torch.float32
    assert whole.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for batch in batches_over(inputs.copy(), mean=mean, std=std).epoch():
        assert batch.inputs.numpy() == pytest.approx(expected[batch.rows], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_reading_batches_never_changes_the_source(dtype: Any) -> None:
    inputs = np.random.default_rng(1).integers(0, 200, (12, 4)).astype(dtype)
    before = inputs.copy()
    mean, std = statistics(inputs)
    batches = batches_over(inputs, mean=mean, std=std)
    first = torch.cat([b.inputs.clone() for b in batches.in_order(5)])
    list(batches.epoch())
    second = torch.cat([b.inputs.clone() for b in batches.in_order(5)])
    assert np.array_equal(inputs, before)
    assert torch.equal(first, second)


def test_read_only_arrays_are_taken_without_warning_and_without_a_copy(
    make_recipe: Callable[..., Recipe],
) -> None:
    shared = {
        "inputs": np.random.default_rng(0).normal(size=(10, 3)),
        "targets": np.arange(10),
        "mean": np.zeros(3, dtype=np.float32),
        "std": np.ones(3, dtype=np.float32),
    }
    for array in shared.values():
        array.setflags(write=False)
    batches = make_batches(
        shared, "", None, make_recipe().probe, torch.Generator(), torch.device("cpu")
    )
    assert np.shares_memory(batches.inputs.numpy(), shared["inputs"])
    assert np.shares_memory(batches.targets.numpy(), shared["targets"])
    assert len(list(batches.epoch())) == 1


def test_a_test_split_is_standardised_by_the_sources_own_statistics(
    make_recipe: Callable[..., Recipe],
) -> None:
    shared = {
        "mean": np.array([2.0], dtype=np.float32),
        "std": np.array([4.0], dtype=np.float32),
        "test_inputs": np.array([[10.0], [2.0]]),
        "test_targets": np.array([1, 0]),
    }
    recipe = make_recipe()
    batches = make_batches(
        shared, "test_", None, recipe.probe, torch.Generator(), torch.device("cpu")
    )
    (batch,) = batches.in_order(8)
    assert batch.inputs.tolist() == [[2.0], [0.0]]
    assert batch.targets.tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(5000, 3), (4096, 2), (1, 4), (4100, 2, 3, 3), (7, 4, 4, 1)])
def test_statistics_equal_numpys_in_float64(shape: tuple[int, ...]) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    mean, std = statistics(inputs)
    axes = tuple(range(len(shape) - 1))
    expected = inputs.astype(np.float64).std(axis=axes)
    assert mean == pytest.approx(inputs.astype(np.float64).mean(axis=axes), rel=1e-6)
    assert std == pytest.approx(np.where(expected > 0, expected, 1), rel=1e-6)


def test_statistics_of_features_far_from_zero_keep_their_spread() -> None:
    rng = np.random.default_rng(0)
    inputs = np.array([[1e6, 1.7e9]]) + rng.normal(size=(5000, 2)) * np.array([1.0, 20.0])
    _, std = statistics(inputs)
    assert std == pytest.approx(inputs.std(axis=0), rel=1e-4)


def test_features_far_from_zero_are_standardised_before_they_lose_digits_to_float32() -> None:
    rng = np.random.default_rng(0)
    inputs = np.array([[1e6, 1.7e9]]) + rng.normal(size=(200, 2)) * np.array([1.0, 20.0])
    mean, std = statistics(inputs)
    (batch,) = batches_over(inputs, mean=mean, std=std).in_order(200)
    expected = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs.numpy() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, 123.456, -7.3e5, 1e6 + 0.1])
@pytest.mark.parametrize("num_rows", [1, 7, 5000])
def test_a_constant_feature_has_deviation_1_and_standardises_to_0(
    value: float, num_rows: int
) -> None:
    inputs = np.full((num_rows, 2), value)
    mean, std = statistics(inputs)
    assert std.tolist() == [1.0, 1.0]
    (batch,) = batches_over(inputs, mean=mean, std=std).in_order(num_rows)
    assert batch.inputs.abs().max() <= 1e-6 * abs(value)
