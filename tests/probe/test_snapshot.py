"""Snapshots: a unit that was stopped ends with the files and the result of one that was not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.core.disk_array import DiskArray
from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.signals import AFTER_REMOVAL, SIGNALS
from dataprune.probe.snapshot import Keeper
from dataprune.probe.unit import probe_unit
from dataprune.sources._load import Loaded
from tests.probe.interrupted import Kept, Stopped, run_to_the_end

MakeRecipe = Callable[..., Recipe]
IN_OUTPUTS = {
    "correct", "el2n", "loss", "best_epochs_el2n", "first_learned", "forget_events",
    "mean_p_label", "std_p_label", "window_dual", "window_kl_spread",
}  # fmt: skip
SMALL_CNN: dict[str, Any] = {
    "probe__model": {"name": "small_cnn", "params": {"widths": [4, 4]}},
    "probe__augment": {"crop": 1, "flip": True},
}


def with_dropout(shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """A model of the user's own that draws while it trains, named in a recipe below."""
    layers = [nn.Linear(*shape, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)]
    return nn.Sequential(*layers, nn.Linear(16, num_outputs))


def on_disk(shared: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same arrays, the inputs read from disk."""
    inputs = shared["inputs"]
    (folder / "inputs.bin").write_bytes(inputs.tobytes())
    return {
        **shared,
        "inputs": DiskArray(folder / "inputs.bin", inputs.dtype.str, inputs.shape),
    }


def kind(name: str, make_recipe: MakeRecipe) -> tuple[str, Recipe, set[str]]:
    """Source, recipe and signals of a kind of unit."""
    recipes: dict[str, tuple[str, dict[str, Any], set[str]]] = {
        "eval": ("features", {"scores__at": [2, 4]}, set(SIGNALS.names())),
        "train": ("features", {"scores__at": [2, 4], "scores__mode": "train"}, IN_OUTPUTS),
        "augmented": ("images", {**SMALL_CNN, "scores__at": [1, 3, 4]}, IN_OUTPUTS),
        "blocks": (
            "images",
            {**SMALL_CNN, "probe__shuffle": {"name": "blocks", "rows": 5, "window": 2}},
            IN_OUTPUTS,
        ),
        "dropout": ("features", {"probe__model": f"{__name__}:with_dropout"}, {"loss"}),
        "crossfit": (
            "features",
            {"holdout": {"folds": 3, "repeats": 1, "last": 3}, "seeds": 3},
            {"loss", *AFTER_REMOVAL},
        ),
    }
    source, changes, signals = recipes[name]
    return source, make_recipe(**changes), signals


def made_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# 4 epochs of 2 steps; a snapshot is offered after each step but the last, and after each epoch: 11,
# so that stops after every one, second and fifth fall on every place in an epoch.
@pytest.mark.parametrize("stop_after", [1, 2, 5])
@pytest.mark.parametrize("name", ["eval", "train", "augmented", "blocks", "dropout", "crossfit"])
def test_a_unit_that_is_stopped_and_goes_on_writes_what_an_undisturbed_one_does(
    request: pytest.FixtureRequest,
    make_recipe: MakeRecipe,
    tmp_path: Path,
    name: str,
    stop_after: int,
) -> None:
    source, recipe, signals = kind(name, make_recipe)
    loaded: Loaded = request.getfixturevalue(f"{source}_loaded")
    unit = plan_units(recipe, loaded, signals, []).units[1]
    shared = shared_arrays(recipe, loaded)
    (tmp_path / "whole").mkdir()
    whole = Attempt(tmp_path / "whole", lambda _progress: None)
    undisturbed = probe_unit(unit.spec, shared, whole)
    if name == "blocks":  # the undisturbed one is resident, those that are stopped are streamed
        shared = on_disk(shared, tmp_path)
    snapshots = Kept(tmp_path / "kept", stop_after=stop_after)
    torch.rand(stop_after)
    result, folder, attempts = run_to_the_end(
        probe_unit, unit.spec, shared, tmp_path / "attempts", snapshots
    )
    assert attempts == 1 + 11 // stop_after
    assert made_of(folder) == made_of(tmp_path / "whole")
    assert result == undisturbed


def test_a_snapshot_that_is_long_past_serves_as_well(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    """Stopped well after it was kept: what came between is done again, the same."""
    _, recipe, signals = kind("train", make_recipe)
    unit = plan_units(recipe, features_loaded, signals, []).units[0]
    shared = shared_arrays(recipe, features_loaded)
    told = []

    def report(progress: dict[str, Any]) -> None:
        told.append(progress["epoch"])
        if told.count(3) == 1 and told[-1] == 3:
            raise Stopped

    snapshots = Kept(tmp_path / "kept", stop_after=99, due_at=lambda time: time == 4)
    traces = []
    for folder, kept in (("stopped", snapshots), ("resumed", snapshots), ("whole", None)):
        (tmp_path / folder).mkdir()
        attempt = Attempt(tmp_path / folder, report, *([kept] if kept else []))
        if folder == "stopped":
            with pytest.raises(Stopped):
                probe_unit(unit.spec, shared, attempt)
        else:
            probe_unit(unit.spec, shared, attempt)
            traces.append(made_of(tmp_path / folder))
    assert told == [0, 1, 2, 3, 0, 2, 3, 4, 0, 1, 2, 3, 4]  # it was kept inside the second epoch
    assert traces[0] == traces[1]


def test_a_retraining_unit_goes_on_where_it_was_stopped(
    make_recipe: MakeRecipe, tested_loaded: Loaded, tmp_path: Path
) -> None:
    from dataprune.evaluation.retrain import retrain_unit

    recipe = make_recipe()
    unit = plan_units(recipe, tested_loaded, {"loss"}, []).units[0]
    arm = {"rows": "rows/half", "targets": "targets", "dynamic": None}
    spec = {**unit.spec, **arm, "num_steps": 7}
    shared = {**shared_arrays(recipe, tested_loaded), "rows/half": np.arange(0, 60, 2)}
    (tmp_path / "whole").mkdir()
    undisturbed = retrain_unit(spec, shared, Attempt(tmp_path / "whole", lambda _progress: None))
    snapshots = Kept(tmp_path / "kept", stop_after=3)
    result, folder, attempts = run_to_the_end(
        retrain_unit, spec, shared, tmp_path / "attempts", snapshots
    )
    assert attempts > 2
    for each in (result, undisturbed):
        assert each.pop("train_s") > 0
    assert result == undisturbed
    assert made_of(folder) == made_of(tmp_path / "whole")


@pytest.fixture
def stopped(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> tuple[dict[str, Any], dict[str, Any], Kept]:
    """A unit's spec and arrays, and the snapshot it left when it was stopped."""
    recipe = make_recipe()
    unit = plan_units(recipe, features_loaded, {"loss"}, []).units[0]
    shared = shared_arrays(recipe, features_loaded)
    snapshots = Kept(tmp_path / "kept", stop_after=5)
    (tmp_path / "stopped").mkdir()
    attempt = Attempt(tmp_path / "stopped", lambda _progress: None, snapshots)
    with pytest.raises(Stopped):
        probe_unit(unit.spec, shared, attempt)
    return unit.spec, shared, snapshots


def middle_byte_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    weights = next(iter(torch.load(path, weights_only=True)["model"].values()))
    at = data.index(weights.numpy().tobytes())
    data[at + 1] ^= 1
    path.write_bytes(bytes(data))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def no_archive(path: Path) -> None:
    path.write_bytes(b"not a snapshot")


def another_object(path: Path) -> None:
    torch.save([1, 2], path)


@pytest.mark.parametrize("damage", [middle_byte_flipped, cut_short, no_archive, another_object])
def test_a_damaged_snapshot_is_told_and_training_begins_anew(
    stopped: tuple[dict[str, Any], dict[str, Any], Kept],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    spec, shared, snapshots = stopped
    damage(snapshots.folder / "snapshot")
    traces = []
    for name, more in (("anew", [Kept(snapshots.folder, stop_after=99)]), ("whole", [])):
        (tmp_path / name).mkdir()
        with caplog.at_level(logging.WARNING, "dataprune"):
            probe_unit(spec, shared, Attempt(tmp_path / name, lambda _progress: None, *more))
        traces.append(made_of(tmp_path / name))
    assert [r.message for r in caplog.records if "training begins anew: snapshot" in r.message]
    assert traces[0] == traces[1]


def test_a_snapshot_of_another_unit_is_told_and_not_taken(
    stopped: tuple[dict[str, Any], dict[str, Any], Kept],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec, shared, snapshots = stopped
    told: list[int] = []
    (tmp_path / "other").mkdir()
    attempt = Attempt(
        tmp_path / "other", lambda progress: told.append(progress["epoch"]), snapshots
    )
    snapshots.stop_after = 99
    with caplog.at_level(logging.WARNING, "dataprune"):
        probe_unit({**spec, "root_seed": 1}, shared, attempt)
    assert "is of another training" in caplog.text
    assert told == [0, 1, 2, 3, 4]


def test_without_a_snapshot_nothing_is_touched(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    before = [p.clone() for p in model.parameters()]
    optimizer, order = torch.optim.SGD(model.parameters(), lr=1), torch.Generator()
    random, drawn = torch.get_rng_state(), order.get_state()
    keeper = Keeper()
    place = keeper.restore(model, optimizer, order)
    keeper.offer(place, model, optimizer, drawn)
    assert (place.step, place.epoch, place.losses) == (0, 0, [])
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(order.get_state(), drawn)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
