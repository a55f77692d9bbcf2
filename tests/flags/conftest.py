"""Votes and labels whose truth is known: Gaussian classes, so that posteriors are exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dataprune.flags._means import Means, kept

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Noisy:
    """Votes (each n x C), given labels, true labels."""

    votes: list[Array]
    given: Array
    truth: Array

    @property
    def wrong(self) -> Array:
        """Which labels are errors."""
        wrong: Array = self.given != self.truth
        return wrong


def make_noisy(
    n: int = 4000,
    num_classes: int = 10,
    noise: float = 0.2,
    *,
    votes: int = 1,
    sharpness: float = 3.0,
    pairwise: bool = False,
    overconfident: float = 1.0,
    seed: int = 0,
) -> Noisy:
    """Probabilities of the *given* label, as a model fitted to noisy labels has them.

    noise: share of labels that are another class: any, or pairwise the next one.
    overconfident: what logits are multiplied by at the end.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, n)
    features = rng.normal(size=(n, num_classes))
    features[np.arange(n), truth] += sharpness
    shift = 1 if pairwise else rng.integers(1, num_classes, n)
    given = np.where(rng.random(n) < noise, (truth + shift) % num_classes, truth)
    others = (
        np.roll(np.eye(num_classes), 1, axis=0)
        if pairwise
        else (1 - np.eye(num_classes)) / (num_classes - 1)
    )
    transition = (1 - noise) * np.eye(num_classes) + noise * others
    made = []
    for _ in range(votes):
        clean = softmax(sharpness * features + rng.normal(size=(n, num_classes)))
        noisy = np.log(clean @ transition.T + 1e-30)
        made.append(softmax(noisy * overconfident).astype(np.float32))
    return Noisy(made, given, truth)


def softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def means_of(p: Array, labels: Array) -> Means:
    """Probabilities (n, C) as the flags keep them."""
    p_nR, classes_nR, place = kept(np.asarray(p, dtype=np.float64), labels)
    return Means(p_nR, classes_nR, place, p.shape[1])


@pytest.fixture(scope="session")
def means() -> Callable[[Array, Array], Means]:
    """`means_of`."""
    return means_of


@pytest.fixture(scope="session")
def noisy() -> Callable[..., Noisy]:
    """`make_noisy`."""
    return make_noisy


@pytest.fixture(scope="session")
def f1() -> Callable[[Array, Array], float]:
    """F1 of a verdict against the truth."""

    def score(found: Array, wrong: Array) -> float:
        return float(2 * (found & wrong).sum() / (found.sum() + wrong.sum()))

    return score


@pytest.fixture(scope="session")
def auroc() -> Callable[[Array, Array], float]:
    """The chance that a wrong label ranks above a right one."""

    def area(values: Array, wrong: Array) -> float:
        high, low = np.sort(values[wrong]), np.sort(values[~wrong])
        below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
        return float(below.sum() / 2 / len(high) / len(low))

    return area
