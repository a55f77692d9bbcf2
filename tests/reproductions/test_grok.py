"""A small run that groks, the same bits every time, and every variant of training."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from dataprune.core.errors import ProbeError
from dataprune.reproductions import grok
from dataprune.reproductions.grok import reproduce_grok, run_once
from dataprune.reproductions.grok_model import QuadraticMlp
from dataprune.reproductions.grok_recipe import GrokRecipe, GrokRun
from dataprune.reproductions.grok_tables import ZERO_HAS_NO_PERIOD, tables
from tests.reproductions.small import SMALL

pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, Any] = {
    "reproduces": "grok",
    "name": "tiny",
    "p": 11,
    "num_neurons": 16,
    "evaluate_every": 10,
}


def tiny(**run: Any) -> GrokRecipe:
    return GrokRecipe.model_validate({**TINY, "runs": [{"name": "r", "steps": 12, **run}]})


def train(recipe: GrokRecipe, seed: int = 0) -> Any:
    return run_once(recipe, recipe.runs[0], seed, lambda *_: None)


def test_mild_decay_memorizes_and_generalizes_and_strong_decay_leaves_wrong_labels(
    small_result: Any,
) -> None:
    mild, strong = small_result.runs
    assert mild.phase == "coexistence"
    assert mild.last.train_accuracy > 0.98
    assert strong.phase == "partial inversion"
    assert strong.last.test_accuracy > 0.98
    assert strong.mean_ipr > mild.mean_ipr


def test_the_periodic_neurons_are_those_that_generalize(small_result: Any) -> None:
    mild = small_result.runs[0]
    whole = mild.after("low_ipr", 0)
    low, high = mild.after("low_ipr", 25), mild.after("high_ipr", 25)
    assert low.test > 0.9
    assert low.uncorrupted > 0.99
    assert low.corrupted < 0.6 < whole.corrupted
    assert high.test < 0.5
    assert high.corrupted > 0.7


def test_errors_find_wrong_labels_only_once_the_network_generalizes(small_result: Any) -> None:
    area = {point.step: point.el2n_auroc for point in small_result.runs[0].curve}
    assert max(area[step] for step in (2, 5, 10, 20)) < 0.5
    assert area[200] > 0.98


def test_the_timing_gate_refuses_scores_until_the_network_generalizes(small_result: Any) -> None:
    run = small_result.runs[0]
    gates = [run.gate(point) for point in run.curve]
    assert "not above chance" in str(gates[0])
    assert gates[-1] is None
    passed = [gate is None for gate in gates]
    assert passed == sorted(passed)
    best = max(point.test_accuracy for point in run.curve)
    early = [p.test_accuracy for p, gate in zip(run.curve, gates, strict=True) if gate]
    assert max(early) < best / 2


def test_the_timing_gate_knows_that_zero_is_the_commonest_product() -> None:
    sums, products = (
        train(GrokRecipe.model_validate({**tiny().model_dump(), "operation": operation}))
        for operation in ("addition", "multiplication")
    )
    quarter = replace(sums.last, test_accuracy=0.25)
    assert sums.gate(quarter) is None
    assert "0.158 is not above chance 0.174" in str(products.gate(quarter))  # 21 of 121 are zero


def test_the_curve_has_the_early_steps_and_the_last(small_result: Any) -> None:
    steps = [point.step for point in small_result.runs[0].curve]
    assert steps == [0, 2, 5, 10, 20, 50, 100, 200]


def test_the_loss_is_a_mean_over_examples_and_outputs() -> None:
    result = train(tiny(steps=1, lr=1e-9))
    zero = 1 / 11  # of a network that answers nothing
    assert result.curve[0].train_loss == pytest.approx(zero, rel=0.5)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.5},
    {"batch_norm": True, "batch_size": 16},
    {"batch_size": 7, "weight_decay": 5},
    {"alpha": 0.65, "xi": 0.0},
]


@pytest.mark.parametrize("run", VARIANTS, ids=str)
def test_the_same_recipe_gives_the_same_bits_and_json(run: dict[str, Any]) -> None:
    torch.manual_seed(1)
    first = reproduce_grok(tiny(**run), on_progress=lambda *_: None).as_json()
    torch.manual_seed(2)  # draws come from generators of our own
    again = reproduce_grok(tiny(**run), on_progress=lambda *_: None).as_json()
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)


@pytest.mark.parametrize("run", VARIANTS[1:], ids=str)
def test_each_variant_has_an_effect(run: dict[str, Any]) -> None:
    assert train(tiny(**run)).curve != train(tiny()).curve


def test_another_seed_is_another_network() -> None:
    assert train(tiny(), seed=1).curve != train(tiny()).curve
    assert train(tiny(), seed=1).name == "r, seed 1"


def test_multiplication_is_learned_by_neurons_with_a_period_in_logarithms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = {"name": "r", "weight_decay": 5, "steps": 200}
    recipe = GrokRecipe.model_validate({**SMALL, "operation": "multiplication", "runs": [run]})
    result = train(recipe)
    assert result.last.test_accuracy > 0.85
    assert result.mean_ipr > 0.5
    monkeypatch.setattr(grok, "fourier_rows", lambda p, _: range(1, p))
    assert train(recipe).mean_ipr < 0.2


def test_dropout_drops_its_share_while_training_only() -> None:
    generator = torch.Generator().manual_seed(0)
    model = QuadraticMlp(11, 400, GrokRun(name="r", steps=1, dropout=0.25), generator)
    pair = torch.arange(11), torch.arange(11)
    with torch.no_grad():
        dropped, whole = model.hidden(*pair, generator), model.eval().hidden(*pair)
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], whole[kept] / 0.75**2)


def test_the_first_weights_have_the_papers_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    model = QuadraticMlp(97, 500, GrokRun(name="r", steps=1), generator)
    for weight in model.parameters():
        assert weight.std().item() == pytest.approx(0.05, rel=0.02)


def test_a_run_that_diverges_says_so() -> None:
    with pytest.raises(ProbeError, match="run r diverged before step"):
        train(tiny(lr=1e9, steps=30))


def test_the_table_of_pruning_says_what_becomes_of_zero_where_zero_is_odd() -> None:
    told = {}
    for operation in ("addition", "multiplication"):
        recipe = GrokRecipe.model_validate({**tiny().model_dump(), "operation": operation})
        result = reproduce_grok(recipe, on_progress=lambda *_: None)
        told[operation] = ZERO_HAS_NO_PERIOD in tables(result)[1].title
    assert told == {"addition": False, "multiplication": True}


def test_without_wrong_labels_there_is_no_table_of_timing() -> None:
    result = reproduce_grok(tiny(xi=0), on_progress=lambda *_: None)
    assert len(tables(result)) == 2
    assert result.runs[0].after("low_ipr", 0).corrupted is None
