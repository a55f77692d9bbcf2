"""Tasks: losses and output errors against slow references, and what each task does not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.probe.check import check_signals
from dataprune.probe.signals import SIGNALS, recorded_anyway
from dataprune.probe.tasks import TASKS
from dataprune.sources._load import Loaded

RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(20, 4)) * 3
SETS = (RNG.random((20, 4)) < 0.4).astype(np.uint8)
NUMBERS = RNG.normal(size=(20, 2)) * 5 + 7


def observed(name: str, outputs: Any, labels: Any) -> Any:
    """A task's observation of float32 outputs, and its targets."""
    task = TASKS.get(name)
    targets = torch.from_numpy(task.targets(labels, labels))
    return task.observe(torch.from_numpy(outputs).float(), targets), targets


def test_multilabel_sums_binary_cross_entropy_and_its_error_is_sigmoid_minus_multi_hot() -> None:
    seen, _ = observed("multilabel", OUTPUTS, SETS)
    for i in range(20):
        p = [1 / (1 + math.exp(-z)) for z in OUTPUTS[i]]
        loss = -sum(math.log(q if y else 1 - q) for q, y in zip(p, SETS[i], strict=True))
        error = [q - y for q, y in zip(p, SETS[i], strict=True)]
        assert seen.loss[i].item() == pytest.approx(loss, rel=1e-5)
        assert seen.error_BC[i].tolist() == pytest.approx(error, rel=1e-4, abs=1e-7)
        right = all((z > 0) == bool(y) for z, y in zip(OUTPUTS[i], SETS[i], strict=True))
        assert seen.correct[i].item() == float(right)
    assert seen.margin is None


def test_a_multilabel_error_keeps_its_digits_when_the_probe_is_sure() -> None:
    seen, _ = observed("multilabel", np.array([[30.0, -30.0]]), np.array([[1, 0]], dtype=np.uint8))
    assert seen.error_BC[0].tolist() == pytest.approx([-math.exp(-30), math.exp(-30)], rel=1e-5)


def test_regression_is_squared_error_in_units_of_the_labels_deviation() -> None:
    outputs = OUTPUTS[:, :2]
    seen, targets = observed("regression", outputs, NUMBERS)
    standardised = (NUMBERS - NUMBERS.mean(axis=0)) / NUMBERS.std(axis=0)
    assert targets.numpy() == pytest.approx(standardised, rel=1e-5, abs=1e-6)
    error = outputs - standardised
    assert seen.error_BC.numpy() == pytest.approx(error, rel=1e-4, abs=1e-5)
    assert seen.loss.numpy() == pytest.approx((error**2).mean(axis=1), rel=1e-4, abs=1e-6)
    assert (seen.margin, seen.correct) == (None, None)
    task, rows = TASKS.get("regression"), slice(3, 11)  # R2 is over the rows that are measured
    parts = task.quality(torch.from_numpy(outputs).float(), targets)[rows]
    spread = standardised[rows] - standardised[rows].mean(axis=0)
    expected = 1 - (error[rows] ** 2).sum() / (spread**2).sum()
    assert task.summary(parts, targets[rows]) == pytest.approx(expected, rel=1e-4)


def test_the_best_constant_guess_has_an_r2_of_0_whatever_the_rows_spread() -> None:
    task = TASKS.get("regression")
    train = RNG.normal(size=(500, 1))
    narrow = torch.from_numpy(task.targets(5 + train[:50] / 20, train))
    guess = narrow.mean().expand(50, 1)
    assert task.summary(task.quality(guess, narrow), narrow) == pytest.approx(0, abs=1e-3)


def test_a_test_splits_numbers_are_standardised_by_the_labels_trained_on() -> None:
    test = TASKS.get("regression").targets(NUMBERS[:3], NUMBERS)
    whole = TASKS.get("regression").targets(NUMBERS, NUMBERS)
    assert np.array_equal(test, whole[:3])
    for value in (4.0, 0.1, 0.3, 123.456):
        constant = np.full((5, 1), value)
        assert TASKS.get("regression").targets(constant, constant).tolist() == [[0.0]] * 5


@pytest.mark.parametrize("name", TASKS.names())
def test_the_training_loss_is_the_mean_of_the_observed_one(name: str) -> None:
    labels: Any = {
        "classification": np.arange(20) % 4,
        "multilabel": SETS,
        "regression": RNG.normal(size=(20, 4)),
    }[name]
    seen, targets = observed(name, OUTPUTS, labels)
    loss = TASKS.get(name).train_loss(torch.from_numpy(OUTPUTS).float(), targets)
    assert loss.item() == pytest.approx(seen.loss.mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_has_exactly_the_quantities_it_says(name: str) -> None:
    labels: Any = {
        "classification": np.arange(20) % 4,
        "multilabel": SETS,
        "regression": RNG.normal(size=(20, 4)),
    }[name]
    task, (seen, _) = TASKS.get(name), observed(name, OUTPUTS, labels)
    found = {field.name for field in fields(seen) if getattr(seen, field.name) is not None}
    assert found == task.has
    for mode, wanted in (("eval", []), ("eval", ["el2n"]), ("train", [])):
        for signal in recorded_anyway(task, mode, wanted):
            assert task.has.issuperset(SIGNALS.get(signal).reads)


@pytest.mark.parametrize(
    ("task", "scores", "message"),
    [
        ("regression", {"el2n": ["el2n"], "margin": ["margin"]}, "score margin reads margin"),
        ("regression", {"forgetting": ["learned"]}, "score forgetting reads correct"),
        ("multilabel", {"el2n": ["el2n"], "margin": ["margin"]}, "score margin reads margin"),
        ("multilabel", {"vog": ["gradient_spread"]}, "score vog reads label_gradient_BD"),
        ("regression", {"dual": ["window_dual"]}, "score dual reads p_label"),
    ],
)
def test_a_score_that_a_task_cannot_have_is_refused_by_name(
    task: str,
    scores: dict[str, list[str]],
    message: str,
    make_recipe: Callable[..., Recipe],
    features_loaded: Loaded,
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_signals(make_recipe(task=task), features_loaded, scores)
    assert task in str(caught.value.message)
    assert ("el2n" in (caught.value.hint or "")) == ("el2n" in scores)


def test_chance_is_what_the_best_constant_guess_gets() -> None:
    assert TASKS.get("classification").chance(np.array([0, 0, 0, 1])) == 0.75
    sets = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.uint8)
    assert TASKS.get("multilabel").chance(sets) == 0.5
    assert TASKS.get("regression").chance(NUMBERS) == 0
