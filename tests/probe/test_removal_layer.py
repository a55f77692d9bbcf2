"""scores.layer the whole way: scores that tell their layer, and layers that are refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import dataprune
from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.tables.scores import read_scores
from tests.conftest import png


def image_recipe(folder: Path, **scores: Any) -> Any:
    """100 images of 8x8 pixels in two classes of brightness, 10 of them given the wrong one."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 100)
    pixels = (60 + 80 * label[:, None, None] + rng.integers(0, 60, (100, 8, 8))).astype(np.uint8)
    images = [{"bytes": png(each), "path": None} for each in pixels]
    given = np.where(np.arange(100) < 10, 1 - label, label)
    pl.DataFrame({"image": images, "y": given}).write_parquet(folder / "rows.parquet")
    probe = {
        "model": {"name": "small_cnn", "params": {"widths": [4, 6]}},
        "batch_size": 20,
        "schedule_epochs": 4,
        "optimizer": {"lr": 0.05},
    }
    return _recipe(folder, "image", probe, scores)


def text_recipe(folder: Path, **scores: Any) -> Any:
    """80 texts with a word of their class, 8 of them given the wrong one."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 80)
    words = (["good", "fine"], ["bad", "poor"])
    texts = [
        " ".join([words[c][i % 2], *(f"w{rng.integers(30)}" for _ in range(i % 4))])
        for i, c in enumerate(label)
    ]
    given = np.where(np.arange(80) < 8, 1 - label, label)
    pl.DataFrame({"text": texts, "y": given}).write_parquet(folder / "rows.parquet")
    params = {"buckets": 128, "dim": 8, "layers": 2, "heads": 2}
    probe = {
        "model": {"name": "text_transformer", "params": params},
        "batch_size": 20,
        "schedule_epochs": 6,
    }
    return _recipe(folder, "text", probe, scores)


def _recipe(folder: Path, column: str, probe: dict[str, Any], scores: dict[str, Any]) -> Any:
    source = {"uri": str(folder / "rows.parquet"), "columns": {"input": column, "label": "y"}}
    about = {"name": "inside", "source": source, "probe": probe, "seeds": 4}
    about |= {"holdout": {"folds": 4}, "scores": {"timing_gate": "off", **scores}}
    return parse_recipe(about, where="test")


NAMES = ["mem_flip", "mem_drop", "mem_margin_pruned"]
END_TO_END = [
    (image_recipe, "5", 6, "units"),
    (image_recipe, "1", 4, "magnitude"),
    (text_recipe, "layers.1.perceptron.1", 32, "units"),
    (text_recipe, "layers.0", 8, "directions"),
]


@pytest.mark.parametrize(("make", "layer", "units", "basis"), END_TO_END)
def test_scores_go_the_whole_way_and_tell_the_layer(
    tmp_path: Path, make: Any, layer: str, units: int, basis: str
) -> None:
    recipe = make(tmp_path, layer=layer, removal=basis)
    made = dataprune.score(recipe, scores=NAMES, work=tmp_path / "work")
    table = read_scores(made.path)
    [about] = table.meta["removals"].values()
    assert (about["layer"], about["basis"], about["units"]) == (layer, basis, units)
    spec = table.meta["scores"]["mem_flip"]
    assert (spec["layer"], spec["removal"]) == (f"output of {layer}", basis)
    num_wrong = len(table.table) // 10
    values = table.table.column("mem_margin_pruned").to_numpy()
    assert values[:num_wrong].mean() > values[num_wrong:].mean()  # wrong labels are contradicted
    assert (
        any(f"what layer {layer} memorized" in w for w in made.warnings) != about["is_localizable"]
    )
    again = dataprune.score(recipe, scores=NAMES, work=tmp_path / "work")
    assert again.trained == []


def test_the_same_run_scored_from_its_traces_tells_the_layer_that_was_recorded(
    tmp_path: Path,
) -> None:
    recipe = image_recipe(tmp_path, layer="5")
    made = dataprune.score(recipe, scores=NAMES, work=tmp_path / "work")
    plain = image_recipe(tmp_path)
    again = dataprune.score(
        plain, scores=NAMES, traces=tmp_path / "work", out=tmp_path / "again.parquet"
    )
    specs = [read_scores(path).meta["scores"]["mem_drop"] for path in (made.path, again.path)]
    assert [spec["layer"] for spec in specs] == ["output of 5"] * 2


OWN_MODELS = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, size, num_outputs):
        super().__init__()
        self.hidden = nn.Linear(size, 8)
        self.act = nn.ReLU()
        self.shared = nn.Linear(8, 8)
        self.pair = Pair()
        self.flat = nn.Flatten(0)
        self.halves = nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten(0, 1))
        self.top = nn.Linear(8, num_outputs)
        self.counts = Counts()
        self.idle = nn.Linear(1, 1)

    def forward(self, x):
        x = self.act(self.hidden(x))
        x = self.shared(self.shared(x))
        a, b = self.pair(x)
        self.flat(x)
        self.halves(x)
        self.counts(x)
        return 2 * self.top(a + b)

class Pair(nn.Module):
    def forward(self, x):
        return x, x

class Counts(nn.Module):
    def forward(self, x):
        return (x > 0).long()

def odd(shape, num_outputs):
    return Odd(shape[0], num_outputs)
"""


@pytest.fixture
def own_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recipe whose network is the user's own and does not end in a linear layer."""
    name = f"odd_{next(_NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(OWN_MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 80)
    x = (rng.normal(size=(80, 5)) + 2 * label[:, None]).astype(np.float32)
    pl.DataFrame({"x": x.tolist(), "y": label}).write_parquet(tmp_path / "rows.parquet")
    probe = {"model": f"{name}:odd", "batch_size": 20, "schedule_epochs": 2}
    return lambda **scores: _recipe(tmp_path, "x", probe, scores)


_NUMBERS = itertools.count()
FITTING = "known, in quotes if a number: hidden (Linear), act (ReLU), halves.0 (Unflatten), top"


@pytest.mark.parametrize(
    ("layer", "message", "hint"),
    [
        ("hiden", "has no module hiden", "did you mean hidden"),
        ("shared", "runs 2 times in a forward pass", FITTING),
        ("idle", "runs 0 times in a forward pass", FITTING),
        ("pair", "gives tuple, and scores.layer wants floats", FITTING),
        ("flat", "gives float32 .16., and scores.layer wants", FITTING),
        ("halves", "gives float32 .4, 4., and scores.layer wants", FITTING),
        ("counts", "gives int64 .2, 8., and scores.layer wants", FITTING),
    ],
)
def test_a_layer_that_nothing_can_be_removed_from_is_refused_before_training(
    own_recipe: Any, tmp_path: Path, layer: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        dataprune.score(own_recipe(layer=layer), scores=NAMES, work=tmp_path / "work")
    assert hint in str(caught.value.hint)
    assert not (tmp_path / "work" / "units").exists()


def test_with_a_layer_the_model_need_not_end_in_a_linear_one(
    own_recipe: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="does not end in a linear layer"):
        dataprune.score(own_recipe(), scores=NAMES, work=tmp_path / "work")
    made = dataprune.score(own_recipe(layer="act"), scores=NAMES, work=tmp_path / "work")
    assert made.trained == [0, 1, 2, 3]
