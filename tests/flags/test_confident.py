"""The confident joint, against loops and against cleanlab's calibrated one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cleanlab.count import compute_confident_joint

from dataprune.flags import _confident as confident


def slow_counts(p: list[list[float]], labels: list[int]) -> list[list[int]]:
    """Equations 1 and 2 of confident learning, in words."""
    num_classes = len(p[0])
    thresholds = []
    for k in range(num_classes):
        own = [row[k] for row, label in zip(p, labels, strict=True) if label == k]
        thresholds.append(sum(own) / len(own) if own else float("inf"))
    counts = [[0] * num_classes for _ in range(num_classes)]
    for row, label in zip(p, labels, strict=True):
        able = [k for k in range(num_classes) if row[k] >= thresholds[k] - 1e-6]
        if able:
            counts[label][max(able, key=lambda k: row[k])] += 1
    for k in range(num_classes):
        counts[k][k] = max(1, counts[k][k])
    return counts


def joint_of(p: Any, labels: Any) -> tuple[Any, Any]:
    counts = confident.confident_counts(p, labels, confident.class_thresholds(p, labels))
    return counts, confident.calibrated_joint(counts, labels)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_counts_equal_a_slow_reference(noisy: Callable[..., Any], num_classes: int) -> None:
    data = noisy(n=500, num_classes=num_classes, noise=0.3, sharpness=1.5)
    counts, _ = joint_of(data.votes[0], data.given)
    assert counts.tolist() == slow_counts(
        data.votes[0].astype(np.float64).tolist(), data.given.tolist()
    )


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("pairwise", [False, True])
def test_the_calibrated_joint_is_cleanlabs_before_it_rounds_to_integers(
    noisy: Callable[..., Any], num_classes: int, *, pairwise: bool
) -> None:
    data = noisy(n=2000, num_classes=num_classes, noise=0.3, pairwise=pairwise)
    p = data.votes[0].astype(np.float64)
    able = p >= confident.class_thresholds(p, data.given) - 1e-6
    best_is_able = able[np.arange(len(p)), p.argmax(axis=1)]
    keep = best_is_able | (able.sum(axis=1) < 2)  # else cleanlab takes a class below its threshold
    p, given = p[keep], data.given[keep]
    theirs = compute_confident_joint(given, p, calibrate=True)
    _, joint = joint_of(p, given)
    assert np.abs(joint * len(given) - theirs).max() < 1
    assert theirs.sum() == len(given)
    counts, _ = joint_of(p, given)
    assert np.array_equal(counts, compute_confident_joint(given, p, calibrate=False))


def test_a_joint_has_the_given_labels_as_its_rows(noisy: Callable[..., Any]) -> None:
    data = noisy(noise=0.3)
    _, joint = joint_of(data.votes[0], data.given)
    mixed = confident.shrunk(joint, 0.3)
    for each in (joint, mixed):
        assert each.sum(axis=1) == pytest.approx(np.bincount(data.given) / len(data.given))
    assert confident.noise_rate(mixed) == pytest.approx(confident.noise_rate(joint))
    assert confident.transition_of(mixed).sum(axis=0) == pytest.approx(1)


def test_shrinking_ends_at_the_joint_and_at_symmetric_noise(noisy: Callable[..., Any]) -> None:
    data = noisy(noise=0.3, pairwise=True)
    _, joint = joint_of(data.votes[0], data.given)
    assert confident.shrunk(joint, 1.0) == pytest.approx(joint)
    symmetric = confident.shrunk(joint, 0.0) / joint.sum(axis=1, keepdims=True)
    off = symmetric[~np.eye(10, dtype=bool)]
    assert off == pytest.approx(confident.noise_rate(joint) / 9)


def test_the_weight_is_a_half_at_fifty_rows_per_pair_of_classes() -> None:
    assert confident.shrinkage(5000, 10) == 0.5
    assert confident.shrinkage(50_000, 10) == pytest.approx(10 / 11)


def test_a_class_without_labels_has_no_threshold_to_reach() -> None:
    p = np.array([[0.2, 0.1, 0.7], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    labels = np.array([0, 0, 1])
    assert confident.class_thresholds(p, labels)[2] == np.inf
    counts, joint = joint_of(p, labels)
    assert counts[:2, 2].tolist() == [0, 0]
    assert np.isfinite(confident.transition_of(joint)).all()
