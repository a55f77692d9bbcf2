"""What every score that is read off outputs must satisfy, whatever the outputs were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataprune.scores import SCORES

# Their input or gradients, too, decide these.
OF_MODELS = {
    "grand", "grand_last", "grand_init", "input_norm", "vog", "curvature", "mem_drop", "mem_flip",
    "mem_margin_pruned",
}  # fmt: skip
NAMES = [name for name in SCORES.names() if SCORES.get(name).signals and name not in OF_MODELS]
READ_NO_LABEL = {"entropy", "least_confidence", "tdds"}
WINDOW = 3

NONE = math.inf  # no bound
RANGES: dict[str, Callable[[int, int], tuple[float, float]]] = {
    name: lambda _epochs, _classes, bounds=bounds: bounds
    for name, bounds in {
        "el2n": (0, math.sqrt(2)),
        "loss": (0, NONE),
        "margin": (-1, 1),
        "aum": (-NONE, NONE),
        "confidence": (-1, 0),
        "variability": (0, 0.5),
        "data_iq": (0, 0.25),
        "dyn_unc": (0, math.sqrt(0.5)),
        "dual": (0, 0.4),
        "tdds": (0, NONE),
        "csl": (0, NONE),
        "lbpe": (0, math.sqrt(2)),
        "heldout_error": (0, 1),
        "memorization": (-1, 1),
    }.items()
}
RANGES |= {
    "forgetting": lambda epochs, _: (0, epochs),
    "first_learned": lambda epochs, _: (1, epochs + 1),
    "correctness": lambda epochs, _: (-epochs, 0),
    "entropy": lambda _, classes: (0, math.log(classes)),
    "least_confidence": lambda _, classes: (0, 1 - 1 / classes),
}
RANGES |= {f"heldout_{name}": RANGES[name] for name in ("el2n", "loss", "margin")}

Trajectories = st.tuples(st.integers(WINDOW, 6), st.integers(1, 5), st.integers(2, 4)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-40, 40, width=32))
)


def score(score_logits: Callable[..., Any], name: str, epochs_ENC: Any, labels: Any) -> Any:
    """Values (E, N) after each epoch; rows are held out where the score wants them so."""
    held_out = SCORES.get(name).over == "held_out"
    in_sample = np.full(len(labels), not held_out)
    return np.asarray(score_logits(name, epochs_ENC, labels, window=WINDOW, in_sample=in_sample))


def labels_for(epochs_ENC: Any) -> Any:
    return np.arange(epochs_ENC.shape[1]) % epochs_ENC.shape[2]


def test_every_score_of_outputs_has_a_range_here() -> None:
    assert sorted(RANGES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(epochs_ENC=Trajectories)
def test_values_are_finite_and_in_range_from_the_first_whole_window_on(
    score_logits: Callable[..., Any], name: str, epochs_ENC: Any
) -> None:
    first = WINDOW if SCORES.get(name).windowed else 1
    values_EN = score(score_logits, name, epochs_ENC, labels_for(epochs_ENC))
    assert np.isnan(values_EN[: first - 1]).all()
    for epoch, values in enumerate(values_EN, start=1):
        if epoch >= first:
            low, high = RANGES[name](epoch, epochs_ENC.shape[2])
            assert np.isfinite(values).all()
            assert low - 1e-6 <= values.min() <= values.max() <= high + 1e-6


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(epochs_ENC=Trajectories, data=st.data())
def test_rows_in_another_order_have_the_same_values_in_that_order(
    score_logits: Callable[..., Any], name: str, epochs_ENC: Any, data: st.DataObject
) -> None:
    labels = labels_for(epochs_ENC)
    order = data.draw(st.permutations(range(len(labels))))
    there = score(score_logits, name, epochs_ENC[:, order], labels[order])
    here = score(score_logits, name, epochs_ENC, labels)[:, order]
    assert np.allclose(there, here, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_classes_under_other_numbers_give_the_same_values(
    score_logits: Callable[..., Any], name: str
) -> None:
    epochs_ENC = np.random.default_rng(0).normal(size=(5, 8, 4)).astype(np.float32) * 3
    labels, renamed = labels_for(epochs_ENC), np.array([2, 0, 3, 1])
    there = np.empty_like(epochs_ENC)
    there[:, :, renamed] = epochs_ENC
    ours = score(score_logits, name, epochs_ENC, labels)
    theirs = score(score_logits, name, there, renamed[labels])
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_shifted_by_a_constant_give_the_same_values(
    score_logits: Callable[..., Any], name: str
) -> None:
    epochs_ENC = np.random.default_rng(1).integers(-5, 6, size=(5, 8, 3)).astype(np.float32)
    labels = labels_for(epochs_ENC)
    ours, theirs = (score(score_logits, name, epochs_ENC + c, labels) for c in (0, 64))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", sorted(set(NAMES) - READ_NO_LABEL))
def test_another_label_gives_another_value(score_logits: Callable[..., Any], name: str) -> None:
    """Rows that swing between classes 0 and 1, mostly 0, and are never class 2."""
    epochs_ENC = np.array([[[4.0, 1, 0]], [[1.0, 3, 0]], [[4.0, 1, 0]], [[5.0, 1, 0]]])
    values = [score(score_logits, name, epochs_ENC, [label])[-1][0] for label in (0, 2)]
    assert values[0] != values[1]


@pytest.mark.parametrize("name", NAMES)
def test_extreme_outputs_stay_finite(score_logits: Callable[..., Any], name: str) -> None:
    extreme = [[[1e30, 0, -1e30], [1e30, 0, -1e30], [-1e30, -1e30, -1e30], [0, 1e-30, 0]]]
    values_EN = score(score_logits, name, extreme * 4, [0, 2, 1, 0])
    assert np.isfinite(values_EN[WINDOW - 1 :]).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_after_a_checkpoint_does_not_change_it(
    score_logits: Callable[..., Any], name: str
) -> None:
    epochs_ENC = np.random.default_rng(2).normal(size=(6, 5, 3)).astype(np.float32)
    labels = labels_for(epochs_ENC)
    whole = score(score_logits, name, epochs_ENC, labels)
    begun = score(score_logits, name, epochs_ENC[:4], labels)
    assert np.array_equal(whole[:4], begun, equal_nan=True)
