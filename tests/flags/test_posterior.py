"""EM over true labels, against loops; and its restriction to a row's likeliest classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataprune.flags._posterior import fit_sharpness, judge, log_truth


def slow_truth(p: list[float], t: list[list[float]]) -> list[float]:
    """Step 1, one row, twenty steps."""
    classes = range(len(p))
    pi = list(p)
    for _ in range(20):
        seen = [sum(t[j][k] * pi[k] for k in classes) for j in classes]
        pi = [pi[k] * sum(t[j][k] * p[j] / seen[j] for j in classes) for k in classes]
        pi = [value / sum(pi) for value in pi]
    return pi


def slow_posterior(
    p: list[float], label: int, t: list[list[float]], beta: float = 1.0
) -> tuple[float, int]:
    """Step 3, one row."""
    classes = range(len(p))
    joint = [t[label][k] * (pi + 1e-12) ** beta for k, pi in enumerate(slow_truth(p, t))]
    return 1 - joint[label] / sum(joint), max(classes, key=lambda k: joint[k])


def slow_loss(p: Any, labels: Any, t: Any, beta: float) -> float:
    """What step 2 makes small."""
    total = 0.0
    for row, label in zip(p.tolist(), labels.tolist(), strict=True):
        weights = [(pi + 1e-12) ** beta for pi in slow_truth(row, t.tolist())]
        likely = sum(t[label][k] * weight for k, weight in enumerate(weights)) / sum(weights)
        total -= math.log(likely)
    return total


def both(
    means: Callable[..., Any], p: Any, labels: Any, transition: Any, beta: float = 1.0
) -> tuple[Any, Any]:
    kept = means(p, labels)
    found = judge(log_truth(kept, transition), kept, labels, transition, beta)
    return found.q, found.best


def made(num_rows: int, num_classes: int, support: int) -> tuple[np.ndarray, ...]:
    """Probabilities on `support` classes of each row, labels among them, a transition matrix."""
    rng = np.random.default_rng(0)
    p = np.zeros((num_rows, num_classes))
    for row in p:
        row[rng.permutation(num_classes)[:support]] = rng.dirichlet(np.full(support, 0.3)) + 1e-6
    p /= p.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(np.flatnonzero(row)) for row in p])
    transition = rng.random((num_classes, num_classes)) / num_classes
    transition += 3 * np.eye(num_classes)
    return p, labels, transition / transition.sum(axis=0)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 32])
@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_q_and_the_suggested_label_equal_a_slow_reference(
    means: Callable[..., Any], num_classes: int, beta: float
) -> None:
    p, labels, transition = made(40, num_classes, num_classes)
    q, suggested = both(means, p, labels, transition, beta)
    for row in range(40):
        expected = slow_posterior(p[row].tolist(), int(labels[row]), transition.tolist(), beta)
        assert q[row] == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
        assert suggested[row] == expected[1]


@pytest.mark.parametrize("support", [32, 20])
def test_with_many_classes_it_is_the_same_where_all_probability_is_on_the_top_32(
    means: Callable[..., Any], support: int
) -> None:
    p, labels, transition = made(20, 60, support)
    q, suggested = both(means, p, labels, transition)
    padded = np.where(p > 0, p, 1e-300)
    for row in range(20):
        expected = slow_posterior(padded[row].tolist(), int(labels[row]), transition.tolist())
        assert q[row] == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
        assert suggested[row] == expected[1]


def test_with_many_classes_the_given_one_is_there_however_improbable(
    means: Callable[..., Any],
) -> None:
    p, _, transition = made(20, 60, 60)
    labels = p.argmin(axis=1)
    q, suggested = both(means, p, labels, transition)
    for row in range(20):
        expected = slow_posterior(p[row].tolist(), int(labels[row]), transition.tolist())
        assert q[row] == pytest.approx(expected[0], abs=0.02)
    assert (suggested != labels).all()


@pytest.mark.parametrize("flattened", [0.4, 1.0])
def test_the_sharpness_makes_the_given_labels_most_likely(
    noisy: Callable[..., Any], means: Callable[..., Any], flattened: float
) -> None:
    data = noisy(n=300, num_classes=4, noise=0.2)
    p = data.votes[0].astype(np.float64) ** flattened
    p /= p.sum(axis=1, keepdims=True)
    kept = means(p, data.given)
    transition = 0.8 * np.eye(4) + 0.2 / 3 * (1 - np.eye(4))
    beta = fit_sharpness(log_truth(kept, transition), kept, data.given, transition, seed=0)
    at, less, more = (slow_loss(p, data.given, transition, beta * step) for step in (1, 0.97, 1.03))
    assert at < min(less, more)
    assert (beta > 2) == (flattened < 1)


def test_the_joint_counts_every_row_once(noisy: Callable[..., Any], means: Any) -> None:
    data = noisy(n=2000, noise=0.3)
    kept = means(data.votes[0], data.given)
    transition = 0.7 * np.eye(10) + 0.3 / 9 * (1 - np.eye(10))
    found = judge(log_truth(kept, transition), kept, data.given, transition, 1.0)
    assert found.joint.sum(axis=1) == pytest.approx(np.bincount(data.given), rel=1e-3)
    assert 1 - np.trace(found.joint) / 2000 == pytest.approx(found.q.mean(), abs=1e-3)


def test_the_best_other_class_is_never_the_given_one(means: Callable[..., Any]) -> None:
    for num_classes in (5, 60):
        p, labels, transition = made(50, num_classes, 5)
        kept = means(p, labels)
        found = judge(log_truth(kept, transition), kept, labels, transition, 1.0)
        assert (found.other != labels).all()
        assert (found.other == found.best)[found.best != labels].all()


def test_without_noise_no_label_is_wrong(means: Callable[..., Any]) -> None:
    p, labels, _ = made(30, 5, 5)
    q, suggested = both(means, p, labels, np.eye(5))
    assert q.tolist() == pytest.approx([0] * 30)
    assert suggested.tolist() == labels.tolist()
