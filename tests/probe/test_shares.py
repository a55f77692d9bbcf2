"""What one process of several takes of a unit, and which units cannot be shared out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dataprune.core.disk_array import DiskArray
from dataprune.core.errors import RecipeError, UsageError
from dataprune.core.recipe import ProbeRecipe, Recipe
from dataprune.core.recipe_training import Augment, BlockShuffle
from dataprune.probe.check import check_model
from dataprune.probe.data import (
    Batches,
    Epochs,
    Prepare,
    ResidentBatches,
    StreamedBatches,
    make_batches,
    statistics,
)
from dataprune.probe.observer import observations
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.tasks import TASKS
from dataprune.probe.team import Team
from dataprune.probe.train import seeded_layers
from dataprune.probe.unit import build_model
from dataprune.sources._load import Loaded
from tests.probe.conftest import features_table, images_table

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")


@given(num_rows=st.integers(0, 1000), size=st.integers(1, 9), block=st.integers(1, 200))
def test_ranges_cover_all_rows_once_in_whole_blocks(num_rows: int, size: int, block: int) -> None:
    ranges = [Team(rank, size).range_of(num_rows, block) for rank in range(size)]
    assert [row for rows in ranges for row in rows] == list(range(num_rows))
    assert all(rows.start % block == 0 for rows in ranges if rows)
    blocks = [-(-len(rows) // block) for rows in ranges]
    assert max(blocks) - min(blocks) <= 1


@pytest.mark.parametrize("where", ["in memory", "on disk"])
def test_slices_of_every_batch_make_up_the_batch_that_one_process_trains_on(
    tmp_path: Path, where: str
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 5, 4, 2), dtype=np.uint8)
    (tmp_path / "inputs.bin").write_bytes(images.tobytes())
    probe = ProbeRecipe(
        batch_size=11, shuffle=BlockShuffle(rows=7, window=2), augment=Augment(crop=1, flip=True)
    )
    mean, std = (torch.from_numpy(s) for s in statistics(images))

    def batches(team: Team) -> Batches:
        rows, generator = torch.arange(50), torch.Generator().manual_seed(3)
        epochs = Epochs(rows, rows, Prepare(mean, std), probe, generator, team)
        if where == "on disk":
            return StreamedBatches(DiskArray(tmp_path / "inputs.bin", "|u1", images.shape), epochs)
        return ResidentBatches(torch.from_numpy(images), epochs)

    whole = batches(Team())
    shares = [batches(Team(rank, 3)) for rank in range(3)]
    for _ in range(2):
        for start in (0, 2):
            for batch, *slices in zip(
                whole.epoch(start), *(share.epoch(start) for share in shares), strict=True
            ):
                assert torch.equal(torch.cat([s.rows for s in slices]), batch.rows)
                assert torch.equal(torch.cat([s.inputs for s in slices]), batch.inputs)
                assert torch.equal(torch.cat([s.targets for s in slices]), batch.targets)
                assert sum(s.share for s in slices) == pytest.approx(1)
                assert max(len(s.rows) for s in slices) <= 1 + min(len(s.rows) for s in slices)
    for part in shares[0].in_order(8, range(16, 50)):
        (here,) = (b for b in whole.in_order(8) if b.rows[0] == part.rows[0])
        assert torch.equal(part.inputs, here.inputs)


@pytest.mark.parametrize("kind", ["features", "images"])
def test_a_range_of_rows_is_observed_as_in_a_pass_over_all(
    load_table: Callable[..., Loaded], make_recipe: MakeRecipe, kind: str
) -> None:
    """Random directions too, which are drawn for one batch after the other."""
    loaded = load_table(features_table(300) if kind == "features" else images_table(300))
    recipe = make_recipe(
        **({"probe__model": "small_cnn"} if kind == "images" else {}), run__num_cpus=1
    )
    shared = shared_arrays(recipe, loaded)
    generator, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
    batches = make_batches(shared, "", None, recipe.probe, generator, cpu)
    model = build_model(recipe.probe, shared["inputs"].shape, 3, 0)
    task = TASKS.get("classification")
    for reads in ({"loss"}, {"input_curvature", "grad_norm", "label_gradient_BD"}):
        name = "loss" if "loss" in reads else "input_curvature"
        seen = {}
        for within in (range(300), range(128, 256), range(256, 300)):
            found = observations(model, task, batches, reads, 7, within=within)
            here = torch.cat([observed.get(name) for _, observed in found])
            seen[within.start, within.stop] = here
        for (start, stop), values in seen.items():
            assert torch.allclose(values, seen[0, 300][start:stop], rtol=1e-6), (reads, start)
        assert seen[0, 300].unique().numel() > 100


def test_processes_draw_dropout_each_for_its_rows_and_the_first_as_one_alone() -> None:
    drawn = []
    for rank in (0, 0, 1, 2):
        with seeded_layers(CPU, 0, 3, rank=rank):
            drawn.append(torch.rand(4).tolist())
    with seeded_layers(CPU, 0, 3):
        assert torch.rand(4).tolist() == drawn[0] == drawn[1]
    assert len({tuple(values) for values in drawn}) == 3


def test_several_workers_are_another_unit_and_one_is_the_unit_of_before(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    changes = {"run__runner": "ray", "probe__batch_size": 16}
    units = [
        plan_units(make_recipe(**changes, run__workers=workers), features_loaded, {"loss"}, [])
        for workers in (1, 2)
    ]
    one, two = (plan.units[0] for plan in units)
    assert one.unit_id == plan_units(make_recipe(), features_loaded, {"loss"}, []).units[0].unit_id
    assert one.unit_id != two.unit_id
    assert (one.identity["world_size"], two.identity["world_size"]) == (1, 2)


class _NormOfItsOwn(nn.BatchNorm1d):
    """What it does besides is not known."""


def with_a_norm_of_its_own(shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """A model of the user's own, named in a recipe below."""
    return nn.Sequential(nn.Linear(*shape, 4), _NormOfItsOwn(4), nn.Linear(4, num_outputs))


@pytest.mark.parametrize(
    ("changes", "told", "hint"),
    [
        (
            {"run__runner": "local"},
            "run.workers is 3, and the local runner has",
            "--runner ray",
        ),
        ({"probe__batch_size": 2}, "3 workers cannot share out batches of 2", "lower run.workers"),
        (
            {"probe__model": f"{__name__}:with_a_norm_of_its_own"},
            "module 1 is a _NormOfItsOwn, a batch norm of its own",
            "run.workers to 1",
        ),
    ],
)
def test_a_unit_that_cannot_be_shared_out_is_refused_before_it_is_started(
    make_recipe: MakeRecipe,
    features_loaded: Loaded,
    changes: dict[str, Any],
    told: str,
    hint: str,
) -> None:
    check_model(make_recipe(run__runner="ray", run__workers=3), features_loaded)
    recipe = make_recipe(**{"run__runner": "ray", "run__workers": 3, **changes})
    with pytest.raises(UsageError, match=told) as refused:
        check_model(recipe, features_loaded)
    assert refused.value.hint is not None
    assert hint in refused.value.hint
    check_model(make_recipe(**{**changes, "run__workers": 1}), features_loaded)


def test_workers_that_share_a_gpu_are_refused(make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match="2 workers that train one unit want a whole GPU each"):
        make_recipe(run__runner="ray", run__workers=2, run__num_gpus=0.5)
