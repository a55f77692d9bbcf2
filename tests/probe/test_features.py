"""Features of a unit: what the last layer reads, of every row, and only when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe
from dataprune.probe import unit as probe_units
from dataprune.probe.check import check_trainable
from dataprune.probe.features import check_features
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.unit import probe_unit
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded
from dataprune.tables.features import read_unit_features

pytestmark = pytest.mark.usefixtures("one_thread")
MakeRecipe = Callable[..., Recipe]
ASKED = {"scores__features": True}


def test_a_unit_writes_what_its_last_layer_reads_of_every_row(
    make_recipe: MakeRecipe,
    images_loaded: Loaded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models: list[nn.Module] = []
    build = probe_units.build_model

    def kept(*args: object) -> nn.Module:
        models.append(build(*args))  # type: ignore[arg-type]
        return models[-1]

    monkeypatch.setattr(probe_units, "build_model", kept)
    cnn = {"name": "small_cnn", "params": {"widths": [4, 4]}}
    recipe = make_recipe(probe__model=cnn, **ASKED)
    [first, _] = plan_units(recipe, images_loaded, ["el2n"], []).units
    shared = shared_arrays(recipe, images_loaded)
    probe_unit(first.spec, shared, Attempt(tmp_path, lambda _told: None))
    found = read_unit_features(tmp_path / "features.parquet", 48)
    [model] = models
    last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    inputs = torch.from_numpy(np.asarray(shared["inputs"])).float().permute(0, 3, 1, 2)
    mean, std = (torch.tensor(shared[k]).float().view(1, -1, 1, 1) for k in ("mean", "std"))
    with torch.inference_mode():
        logits = model.eval()((inputs - mean) / std)
        by_features = torch.from_numpy(found) @ last.weight.T + last.bias
    assert found.shape == (48, last.in_features)
    assert torch.allclose(by_features, logits, atol=0.02)


def test_nothing_is_written_that_was_not_asked_for(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = make_recipe()
    [first, _] = plan_units(recipe, features_loaded, ["el2n"], []).units
    attempt = Attempt(tmp_path, lambda _told: None)
    probe_unit(first.spec, shared_arrays(recipe, features_loaded), attempt)
    assert [path.name for path in tmp_path.iterdir()] == ["trace.parquet"]


def records(recipe: Recipe, loaded: Loaded) -> list[Record]:
    units = plan_units(recipe, loaded, ["el2n"], []).units
    identities = [json.loads(json.dumps(unit.identity)) for unit in units]
    return [
        Record(unit.unit_id, identity, {}, {"history": []}, {}, Path("nowhere"))
        for unit, identity in zip(units, identities, strict=True)
    ]


def test_a_unit_with_features_serves_without_and_not_the_other_way(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    plain, asked = make_recipe(), make_recipe(**ASKED)
    with_features = records(asked, features_loaded)
    assert plan_units(plain, features_loaded, ["el2n"], with_features).units == []
    again = plan_units(asked, features_loaded, ["el2n"], records(plain, features_loaded))
    assert len(again.units) == 2
    assert again.reasons == ["training again: features were not recorded at epoch 4"]


def test_features_of_another_epoch_do_not_serve(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    whole, short = make_recipe(**ASKED), make_recipe(probe__stop_epoch=2, **ASKED)
    assert plan_units(whole, features_loaded, ["el2n"], records(whole, features_loaded)).units == []
    for wanted, had in ((whole, short), (short, whole)):
        plan = plan_units(wanted, features_loaded, ["el2n"], records(had, features_loaded))
        assert len(plan.units) == 2


class Twice(nn.Module):
    """Its outputs are a sum of two layers'."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The sum."""
        total: torch.Tensor = self.left(inputs) + self.right(inputs)
        return total


def test_a_model_that_ends_in_no_one_layer_is_refused_before_it_is_trained(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    check_trainable(make_recipe(**ASKED), features_loaded)
    with pytest.raises(UsageError, match="model twice does not end in a linear layer") as caught:
        check_features("twice", Twice(), torch.zeros(2, 4))
    assert "leave features out" in (caught.value.hint or "")
