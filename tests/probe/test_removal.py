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
from dataprune.probe.memorization import (
    BASES,
    Layer,
    choose_in_read_out,
    cross_entropy,
    remove_memorized,
)
from dataprune.probe.removal import (
    OF_REMOVAL,
    drawn_held_out,
    remove_from_last_layer,
    told_of_removals,
)
from dataprune.tables.scores import read_scores
from tests.probe.rows import Rows

N, OWN, K = 400, 40, 50


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


@pytest.mark.parametrize("basis", BASES)
def test_batch_by_batch_is_what_the_whole_matrix_in_memory_gives(basis: Any) -> None:
    model, rows, _, in_sample = built()
    x, label = rows.batch.inputs, rows.batch.targets
    linear = model[1]
    layer = Layer(
        x[in_sample], label[in_sample], x[~in_sample], label[~in_sample],
        linear.weight.detach().T, linear.bias.detach(),
    )  # fmt: skip
    whole = remove_memorized(layer, basis, cross_entropy)
    control = remove_memorized(layer, "magnitude", cross_entropy)
    removal = remove_from_last_layer(model, rows, in_sample, basis)
    assert 0 < removal.told["removed"] == whole.removed
    assert removal.told["index"] == whole.about.index
    assert removal.told["index_se"] == whole.about.index_se
    assert removal.told["fit"] == whole.about.fit
    assert removal.told["control_index"] == control.about.index
    trained = {name: values[in_sample] for name, values in removal.values.items()}
    assert trained["mem_flip"].tolist() == whole.flip_T.float().tolist()
    assert trained["mem_relabel"].tolist() == whole.after.answer_B.float().tolist()
    for name, expected in (
        ("mem_margin_pruned", whole.after.margin_B),
        ("mem_drop", whole.drop_T),
    ):
        assert trained[name].tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-6)


def test_no_more_held_out_rows_are_held_than_the_limit_and_no_training_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, rows, _, in_sample = built()
    held: list[Any] = []

    def watch(trained: Any, hidden_HK: torch.Tensor, label_H: torch.Tensor, *rest: Any) -> Any:
        held.append((hidden_HK, label_H))
        return choose_in_read_out(trained, hidden_HK, label_H, *rest)

    monkeypatch.setattr("dataprune.probe.removal.choose_in_read_out", watch)
    monkeypatch.setattr("dataprune.probe.removal.MOST_HELD_OUT", 30)
    remove_from_last_layer(model, rows, in_sample, "directions", 7)
    assert [len(hidden_HK) for hidden_HK, _ in held] == [30, 30]  # the basis and the control
    chosen = drawn_held_out(in_sample, 30, 7)
    assert torch.equal(held[0][0], rows.batch.inputs[chosen].double())
    assert torch.equal(held[0][1], rows.batch.targets[chosen])


def test_rows_that_choose_are_drawn_from_those_held_out_by_the_salt() -> None:
    in_sample = torch.arange(100) % 4 != 0
    assert torch.equal(drawn_held_out(in_sample, 25, 0), ~in_sample)
    some = drawn_held_out(in_sample, 10, 0)
    assert some.sum() == 10
    assert not (some & in_sample).any()
    assert torch.equal(some, drawn_held_out(in_sample, 10, 0))
    assert not torch.equal(some, drawn_held_out(in_sample, 10, 1))


def test_seeds_are_summed_up_and_most_of_them_must_be_localizable() -> None:
    told = {
        "basis": "units", "index": 0.2, "index_se": 0.01, "control_index": 0.1,
        "control_index_se": 0.02, "removed": 4, "units": 8, "is_localizable": True,
    }  # fmt: skip
    not_local = {**told, "index": 0.0, "is_localizable": False}
    assert told_of_removals([told, told, not_local])["warning"] is None
    about = told_of_removals([told, not_local])
    assert about["is_localizable"] is False
    assert about["index"] == pytest.approx(0.1)
    assert about["index_se"] == pytest.approx(0.01 * 2**0.5 / 2)
    assert about["control_index_se"] == pytest.approx(0.02 * 2**0.5 / 2)
    assert about["warning"].startswith("not_localizable: in 1 of 2 seeds, what the last layer memo")
    assert about["layer"] is None
    inside = told_of_removals([{**told, "layer": "4"}, {**not_local, "layer": "4"}])
    assert inside["layer"] == "4"
    assert "what layer 4 memorized" in inside["warning"]


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
    assert about["layer"] is None
    spec = table.meta["scores"]["mem_flip@3"]
    assert (spec["removal"], spec["layer"]) == ("directions", "input of the last linear layer")
    assert {"removal", "layer"}.isdisjoint(table.meta["scores"]["el2n"])
    assert bool(about["warning"]) != about["is_localizable"]
    assert any("not_localizable" in w for w in made.warnings) != about["is_localizable"]
    again = dataprune.score(recipe(tmp_path), scores=names, work=tmp_path / "work")
    assert again.trained == []
    other = recipe(tmp_path, scores={"removal": "units"})
    units = dataprune.score(other, scores=names, work=tmp_path / "work")
    assert units.trained == [0, 1, 2, 3]  # another basis is another unit
    assert read_scores(units.path).meta["scores"]["mem_drop"]["removal"] == "units"


@pytest.mark.parametrize(("field", "value"), [("removal", "units"), ("layer", "0")])
def test_a_basis_or_layer_without_a_score_that_removes_is_refused(
    tmp_path: Path, field: str, value: str
) -> None:
    message = f"scores.{field} is {value}, and no score that is asked for removes anything"
    with pytest.raises(UsageError, match=message):
        dataprune.score(
            recipe(tmp_path, scores={field: value}), scores=["el2n"], work=tmp_path / "work"
        )


def test_mode_train_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mem_flip reads mem_flip, and training steps"):
        dataprune.score(
            recipe(tmp_path, scores={"mode": "train"}), scores=["mem_flip"], work=tmp_path / "work"
        )
