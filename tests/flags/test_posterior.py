"""EM over true labels, against loops; and its restriction to a row's likeliest classes."""

from __future__ import annotations

import numpy as np
import pytest

from dataprune.flags._posterior import posterior


def slow_posterior(p: list[float], label: int, t: list[list[float]]) -> tuple[float, int]:
    """Step 4 of the method, one row, twenty steps."""
    classes = range(len(p))
    pi = list(p)
    for _ in range(20):
        seen = [sum(t[j][k] * pi[k] for k in classes) for j in classes]
        pi = [pi[k] * sum(t[j][k] * p[j] / seen[j] for j in classes) for k in classes]
        pi = [value / sum(pi) for value in pi]
    joint = [t[label][k] * pi[k] for k in classes]
    return 1 - joint[label] / sum(joint), max(classes, key=lambda k: joint[k])


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
def test_q_and_the_suggested_label_equal_a_slow_reference(num_classes: int) -> None:
    p, labels, transition = made(40, num_classes, num_classes)
    q, suggested = posterior(p, labels, transition)
    for row in range(40):
        expected = slow_posterior(p[row].tolist(), int(labels[row]), transition.tolist())
        assert q[row] == pytest.approx(expected[0], rel=1e-9)
        assert suggested[row] == expected[1]


@pytest.mark.parametrize("support", [32, 20])
def test_with_many_classes_it_is_the_same_where_all_probability_is_on_the_top_32(
    support: int,
) -> None:
    p, labels, transition = made(20, 60, support)
    q, suggested = posterior(p, labels, transition)
    padded = np.where(p > 0, p, 1e-300)
    for row in range(20):
        expected = slow_posterior(padded[row].tolist(), int(labels[row]), transition.tolist())
        assert q[row] == pytest.approx(expected[0], rel=1e-9)
        assert suggested[row] == expected[1]


def test_with_many_classes_the_given_one_is_there_however_improbable() -> None:
    p, _, transition = made(20, 60, 60)
    labels = p.argmin(axis=1)
    q, suggested = posterior(p, labels, transition)
    for row in range(20):
        expected = slow_posterior(p[row].tolist(), int(labels[row]), transition.tolist())
        assert q[row] == pytest.approx(expected[0], abs=0.02)
    assert (suggested != labels).all()


def test_without_noise_no_label_is_wrong() -> None:
    p, labels, _ = made(30, 5, 5)
    q, suggested = posterior(p, labels, np.eye(5))
    assert q.tolist() == [0] * 30
    assert suggested.tolist() == labels.tolist()
