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


def joint_of(means: Any, labels: Any) -> tuple[Any, Any]:
    counts = confident.confident_counts(means, labels, confident.class_thresholds(means, labels))
    return counts, confident.calibrated_joint(counts, labels)


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_counts_equal_a_slow_reference(
    noisy: Callable[..., Any], means: Callable[..., Any], num_classes: int
) -> None:
    data = noisy(n=500, num_classes=num_classes, noise=0.3, sharpness=1.5)
    counts, _ = joint_of(means(data.votes[0], data.given), data.given)
    assert counts.tolist() == slow_counts(
        data.votes[0].astype(np.float64).tolist(), data.given.tolist()
    )


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("pairwise", [False, True])
def test_the_calibrated_joint_is_cleanlabs_before_it_rounds_to_integers(
    noisy: Callable[..., Any], means: Callable[..., Any], num_classes: int, *, pairwise: bool
) -> None:
    data = noisy(n=2000, num_classes=num_classes, noise=0.3, pairwise=pairwise)
    p = data.votes[0].astype(np.float64)
    able = p >= confident.class_thresholds(means(p, data.given), data.given) - 1e-6
    best_is_able = able[np.arange(len(p)), p.argmax(axis=1)]
    keep = best_is_able | (able.sum(axis=1) < 2)  # else cleanlab takes a class below its threshold
    p, given = p[keep], data.given[keep]
    theirs = compute_confident_joint(given, p, calibrate=True)
    _, joint = joint_of(means(p, given), given)
    assert np.abs(joint * len(given) - theirs).max() < 1
    assert theirs.sum() == len(given)
    counts, _ = joint_of(means(p, given), given)
    assert np.array_equal(counts, compute_confident_joint(given, p, calibrate=False))


def test_a_joint_has_the_given_labels_as_its_rows(
    noisy: Callable[..., Any], means: Callable[..., Any]
) -> None:
    data = noisy(noise=0.3)
    _, joint = joint_of(means(data.votes[0], data.given), data.given)
    assert joint.sum(axis=1) == pytest.approx(np.bincount(data.given) / len(data.given))
    assert confident.noise_rate(joint) == pytest.approx(1 - np.diag(joint).sum())


def test_many_classes_count_as_few_do_where_the_top_32_hold_it_all(
    noisy: Callable[..., Any], means: Callable[..., Any]
) -> None:
    data = noisy(n=3000, num_classes=60, noise=0.3, sharpness=3.0)
    counts, _ = joint_of(means(data.votes[0], data.given), data.given)
    slow = slow_counts(data.votes[0].astype(np.float64).tolist(), data.given.tolist())
    assert np.abs(counts - np.array(slow)).sum() <= 0.01 * len(data.given)


def test_a_class_without_labels_has_no_threshold_to_reach(means: Callable[..., Any]) -> None:
    p = np.array([[0.2, 0.1, 0.7], [0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
    labels = np.array([0, 0, 1])
    assert confident.class_thresholds(means(p, labels), labels)[2] == np.inf
    counts, joint = joint_of(means(p, labels), labels)
    assert counts[:2, 2].tolist() == [0, 0]
    assert np.isfinite(joint[:2]).all()
