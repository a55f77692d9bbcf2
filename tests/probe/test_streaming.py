"""Streaming: the same batches and traces as resident, one window of blocks at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.disk_array import DiskArray, pieces
from dataprune.core.errors import RecipeError, UsageError
from dataprune.core.recipe import ProbeRecipe, Recipe, parse_recipe
from dataprune.core.recipe_training import Augment, BlockShuffle
from dataprune.flow import score
from dataprune.probe.data import Epochs, Prepare, ResidentBatches, StreamedBatches, statistics
from dataprune.probe.order import draw_epoch
from dataprune.tables.scores import read_scores
from tests.conftest import blobs, png

Array = np.ndarray[Any, np.dtype[Any]]


def on_disk(array: Array, folder: Path) -> DiskArray:
    path = folder / "inputs.bin"
    path.write_bytes(array.tobytes())
    return DiskArray(path, array.dtype.str, array.shape)


def probe_of(shuffle: BlockShuffle, batch_size: int, augment: Augment) -> ProbeRecipe:
    return ProbeRecipe(batch_size=batch_size, shuffle=shuffle, augment=augment)


@settings(max_examples=40, deadline=None)
@given(
    num_rows=st.integers(1, 70),
    held_out=st.integers(0, 5),
    batch_size=st.integers(1, 30),
    block=st.integers(1, 20),
    window=st.integers(1, 4),
)
def test_streamed_epochs_are_the_resident_ones_batch_for_batch(
    tmp_path_factory: pytest.TempPathFactory,
    num_rows: int,
    held_out: int,
    batch_size: int,
    block: int,
    window: int,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (num_rows, 5, 4, 2), dtype=np.uint8)
    rows = torch.arange(num_rows)[torch.arange(num_rows) % 7 >= min(held_out, num_rows - 1)]
    if len(rows) == 0:
        rows = torch.arange(num_rows)
    probe = probe_of(
        BlockShuffle(rows=block, window=window), batch_size, Augment(crop=2, flip=True)
    )
    mean, std = (torch.from_numpy(s) for s in statistics(images))
    targets = torch.arange(num_rows)
    disk = on_disk(images, tmp_path_factory.mktemp("disk"))
    epochs = [
        Epochs(targets, rows, Prepare(mean, std), probe, torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    made = (
        ResidentBatches(torch.from_numpy(images), epochs[0]),
        StreamedBatches(disk, epochs[1]),
    )
    assert made[0].steps_per_epoch == made[1].steps_per_epoch
    for _ in range(2):
        for ours, theirs in zip(made[0].epoch(), made[1].epoch(), strict=True):
            assert torch.equal(ours.rows, theirs.rows)
            assert torch.equal(ours.inputs, theirs.inputs)
            assert torch.equal(ours.targets, theirs.targets)
    for ours, theirs in zip(made[0].in_order(16), made[1].in_order(16), strict=True):
        assert torch.equal(ours.rows, theirs.rows)
        assert torch.equal(ours.inputs, theirs.inputs)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100), st.integers(1, 20), st.integers(1, 5), st.integers(0, 3))
def test_a_block_shuffle_visits_every_row_once_and_each_window_holds_few_blocks(
    num_rows: int, block: int, window: int, seed: int
) -> None:
    rows = torch.arange(num_rows) * 2
    probe = probe_of(BlockShuffle(rows=block, window=window), 1, Augment())
    draws = draw_epoch(probe, rows, num_rows, torch.Generator().manual_seed(seed))
    assert sorted(draws.rows.tolist()) == rows.tolist()
    assert [w.start for w in draws.windows] == [0, *(w.stop for w in draws.windows)][:-1]
    for stretch in draws.windows:
        blocks = {row // block for row in draws.rows[stretch.start : stretch.stop].tolist()}
        assert len(blocks) <= window


def test_a_block_shuffle_shuffles_blocks_and_rows_inside_them() -> None:
    probe = probe_of(BlockShuffle(rows=50, window=2), 1, Augment())
    draws = draw_epoch(probe, torch.arange(500), 500, torch.Generator().manual_seed(0))
    firsts = [int(draws.rows[w.start]) // 50 for w in draws.windows]
    assert firsts != sorted(firsts)
    first = draws.rows[draws.windows[0].start : draws.windows[0].stop].tolist()
    assert first != sorted(first)


@pytest.mark.parametrize("kind", ["features", "images"])
def test_a_streamed_run_gives_the_same_table_and_leaves_nothing_behind(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = blobs(120).select(["features", "label"])
    probe: dict[str, Any] = {"model": {"name": "mlp", "params": {"widths": [8]}}}
    if kind == "images":
        pixels = np.random.default_rng(0).integers(0, 80, (120, 8, 8), dtype=np.uint8)
        pixels += (60 * (np.arange(120) % 3)).astype(np.uint8)[:, None, None]
        images = [{"bytes": png(p), "path": None} for p in pixels]
        table = table.set_column(0, "image", pa.array(images))
        probe = {
            "model": {"name": "small_cnn", "params": {"widths": [4]}},
            "augment": {"flip": True},
        }
    pq.write_table(table, "train.parquet")
    data = {
        "name": "s",
        "source": {"uri": "train.parquet"},
        "probe": {
            **probe,
            "batch_size": 16,
            "schedule_epochs": 6,
            "shuffle": {"name": "blocks", "rows": 8, "window": 4},
        },
        "scores": {"names": ["el2n"], "timing_gate": "off"},
        "seeds": 2,
        "holdout": {"folds": 3},
    }
    resident = score(parse_recipe(data, where="tests"), work="resident")
    streamed = score(
        parse_recipe({**data, "run": {"stream": True}}, where="tests"), work="streamed"
    )
    assert resident.path.read_bytes() == streamed.path.read_bytes()
    assert (
        read_scores(resident.path).meta["unit_ids"] == read_scores(streamed.path).meta["unit_ids"]
    )
    assert sorted(p.name for p in tmp_path.rglob("*.bin")) == []
    assert not list(tmp_path.glob(".dataprune/runs/spool-*"))
    again = score(parse_recipe({**data, "run": {"stream": True}}, where="tests"), work="resident")
    assert again.trained == []


def test_streaming_wants_a_block_shuffle(make_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match=r"probe\.shuffle"):
        make_recipe(run__stream=True)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    array = on_disk(np.arange(12.0).reshape(6, 2), tmp_path)
    assert array.read(2, 4).tolist() == [[4.0, 5.0], [6.0, 7.0]]
    assert [start for start, _ in pieces(array, 4)] == [0, 4]
    array.path.write_bytes(b"\0" * 40)
    with pytest.raises(OSError, match="shorter than it was"):
        array.read(0, 6)


def test_statistics_of_a_mask_are_those_of_its_rows() -> None:
    values = np.random.default_rng(0).normal(size=(9000, 3))
    mask = np.arange(9000) % 3 == 0
    mean, std = statistics(values, mask)
    assert mean == pytest.approx(values[mask].mean(axis=0))
    assert std == pytest.approx(values[mask].std(axis=0))


@pytest.mark.slow
@pytest.mark.ray
def test_streamed_units_on_ray_read_the_file_and_give_the_same_table(
    tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(blobs(120).select(["features", "label"]), "train.parquet")
    data = {
        "name": "s",
        "source": {"uri": "train.parquet"},
        "probe": {
            "model": {"name": "mlp", "params": {"widths": [8]}},
            "batch_size": 16,
            "schedule_epochs": 3,
            "shuffle": {"name": "blocks", "rows": 8, "window": 4},
        },
        "scores": {"names": ["el2n"], "timing_gate": "off"},
        "seeds": 2,
        "holdout": {"folds": 3},
    }
    local = score(parse_recipe(data, where="tests"), work="local")
    run = {"stream": True, "runner": "ray"}
    on_ray = score(parse_recipe({**data, "run": run}, where="tests"), work="ray")
    assert on_ray.trained == [0, 1]
    assert on_ray.path.read_bytes() == local.path.read_bytes()


def test_text_is_not_streamed_and_says_so(tmp_path: Path) -> None:
    texts = pa.table({"text": [f"a {i}" for i in range(40)], "label": [0, 1] * 20})
    pq.write_table(texts, tmp_path / "t.parquet")
    data = {
        "name": "t",
        "source": {"uri": str(tmp_path / "t.parquet")},
        "probe": {"shuffle": {"name": "blocks"}},
        "run": {"stream": True},
    }
    with pytest.raises(UsageError, match=r"run\.stream has no effect on text"):
        score(parse_recipe(data, where="tests"), work=tmp_path / "w")
