"""What a probe memorized, removed at a checkpoint and recorded like any other signal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import dataprune
from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.probe.data import Batch
from dataprune.probe.removal import OF_REMOVAL, remove_from_last_layer, told_of_removals
from dataprune.tables.scores import read_scores

N, OWN, K = 400, 40, 50


class Rows:
    """Every row in one batch, as batches in order give it."""

    device = torch.device("cpu")
    steps_per_epoch = 1

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.batch = Batch(torch.arange(len(inputs)), inputs, targets)

    def in_order(self, _batch_size: int) -> Any:
        """Every row at once."""
        yield self.batch

    def epoch(self) -> Any:
        """Every row at once."""
        yield self.batch


def built() -> tuple[nn.Module, Rows, torch.Tensor, torch.Tensor]:
    """A network that fits 40 wrong labels by a unit each; the wrong rows and those trained on."""
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 2, (N,), generator=g)
    inputs = torch.zeros(N, K)
    inputs[torch.arange(N), truth] = 4.0
    inputs += 0.01 * torch.randn(N, K, generator=g)
    wrong = torch.arange(N) < OWN
    inputs[torch.arange(OWN), 2 + torch.arange(OWN)] = 1.0
    label = torch.where(wrong, 1 - truth, truth)
    linear = nn.Linear(K, 2)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        linear.weight[:, :2] = torch.eye(2)
        for i in range(OWN):
            linear.weight[label[i], 2 + i] = 12.0
    return nn.Sequential(nn.Identity(), linear), Rows(inputs, label), wrong, torch.arange(N) < 300


@pytest.mark.parametrize("basis", ["directions", "units", "magnitude"])
def test_rows_fitted_by_units_of_their_own_flip_and_held_out_rows_never_do(basis: Any) -> None:
    model, rows, wrong, in_sample = built()
    with torch.no_grad():
        fitted = model(rows.batch.inputs).argmax(dim=1) == rows.batch.targets
    removal = remove_from_last_layer(model, rows, in_sample, basis)
    assert removal.values.keys() == OF_REMOVAL
    flips = removal.values["mem_flip"].bool()
    assert (flips <= (fitted & in_sample)).all()
    assert flips[wrong & fitted].double().mean() > 0.9
    assert (
        removal.values["mem_flip"].sum()
        == (in_sample & fitted & (removal.values["mem_relabel"] != rows.batch.targets)).sum()
    )
    assert (removal.values["mem_margin_pruned"][wrong] < 0).double().mean() > 0.9
    assert removal.told["is_localizable"]


def test_seeds_are_summed_up_and_most_of_them_must_be_localizable() -> None:
    told = {
        "basis": "units", "index": 0.2, "index_se": 0.01, "control_index": 0.1, "removed": 4,
        "units": 8, "is_localizable": True,
    }  # fmt: skip
    not_local = {**told, "index": 0.0, "is_localizable": False}
    assert told_of_removals([told, told, not_local])["warning"] is None
    about = told_of_removals([told, not_local])
    assert about["is_localizable"] is False
    assert about["index"] == pytest.approx(0.1)
    assert about["warning"].startswith("not_localizable: in 1 of 2 seeds")


def recipe(folder: Path, **more: Any) -> Any:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 200)
    inputs = (rng.normal(size=(200, 20)) + 2 * label[:, None]).astype(np.float32)
    given = np.where(np.arange(200) < 20, 1 - label, label)
    pl.DataFrame({"x": inputs.tolist(), "y": given}).write_parquet(folder / "rows.parquet")
    source = {"uri": str(folder / "rows.parquet"), "columns": {"input": "x", "label": "y"}}
    probe = {"model": "mlp", "batch_size": 20, "schedule_epochs": 3}
    base = {"name": "removal", "source": source, "probe": probe, "seeds": 4}
    base["holdout"] = {"folds": 4}
    return parse_recipe({**base, **more}, where="test")


def test_scores_of_removal_go_the_whole_way_and_tell_what_was_removed(tmp_path: Path) -> None:
    names = ["mem_flip", "mem_drop", "mem_margin_pruned", "el2n"]
    made = dataprune.score(recipe(tmp_path), scores=names, work=tmp_path / "work")
    table = read_scores(made.path)
    values = table.table.column("mem_margin_pruned").to_numpy()
    assert values[:20].mean() > values[20:].mean() + 1  # wrong labels are contradicted
    flips = table.table.column("mem_flip").to_numpy()
    assert ((flips >= 0) & (flips <= 1)).all()
    [(epoch, about)] = table.meta["removals"].items()
    assert (epoch, about["seeds"], about["basis"]) == ("3", 4, "directions")
    assert bool(about["warning"]) != about["is_localizable"]
    assert any("not_localizable" in w for w in made.warnings) != about["is_localizable"]
    again = dataprune.score(recipe(tmp_path), scores=names, work=tmp_path / "work")
    assert again.trained == []
    other = recipe(tmp_path, scores={"removal": "units"})
    units = dataprune.score(other, scores=names, work=tmp_path / "work")
    assert units.trained == [0, 1, 2, 3]  # another basis is another unit


def test_a_basis_without_a_score_that_removes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no score that is asked for removes anything"):
        dataprune.score(
            recipe(tmp_path, scores={"removal": "units"}), scores=["el2n"], work=tmp_path / "work"
        )


def test_mode_train_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mem_flip reads mem_flip, and training steps"):
        dataprune.score(
            recipe(tmp_path, scores={"mode": "train"}), scores=["mem_flip"], work=tmp_path / "work"
        )
