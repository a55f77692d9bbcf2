"""The confident joint: how often each given label stands where each true one should.

Northcutt, Jiang, Chuang 2021 (Confident Learning), section 3.1, equations 1 to 3, shrunk towards
symmetric noise where rows per pair of classes are few.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._votes import Labels, Values

_ROUNDING = 1e-6  # a mean of equal numbers may exceed them
_PRIOR_ROWS = 50  # per pair of classes


def class_thresholds(mean_nC: npt.NDArray[Any], labels: Labels) -> Values:
    """t_k = mean of p(k) over the rows that are given k, float64 (C,); inf for a class without."""
    num_classes = mean_nC.shape[1]
    own = mean_nC[np.arange(len(labels)), labels].astype(np.float64)
    sums = np.bincount(labels, weights=own, minlength=num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    thresholds = np.full(num_classes, np.inf)
    np.divide(sums, counts, out=thresholds, where=counts > 0)
    return thresholds


def confident_counts(
    mean_nC: npt.NDArray[Any], labels: Labels, thresholds: Values
) -> npt.NDArray[np.int64]:
    """C[j, k]: rows given j whose most probable class at or above its threshold is k, (C, C).

    Rows with no such class count nowhere. The diagonal is at least 1: no label is always wrong.
    """
    n, num_classes = mean_nC.shape

    def work(rows: slice) -> npt.NDArray[np.int64]:
        p_bC = mean_nC[rows].astype(np.float64)
        p_bC[p_bC < thresholds - _ROUNDING] = -1
        best = p_bC.argmax(axis=1)
        sure = p_bC[np.arange(len(best)), best] >= 0
        pairs: npt.NDArray[np.int64] = (labels[rows] * num_classes + best)[sure]
        return pairs

    pairs = np.concatenate(over_blocks(work, n, num_classes))
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    return counts.astype(np.int64)


def calibrated_joint(counts: npt.NDArray[np.int64], labels: Labels) -> Values:
    """Counts -> joint of (given, true), float64 (C, C): rows sum to the given labels' shares."""
    given = np.bincount(labels, minlength=len(counts)) / len(labels)
    joint: Values = counts / counts.sum(axis=1, keepdims=True) * given[:, None]
    return joint


def noise_rate(joint: Values) -> float:
    """The share of rows off the diagonal."""
    return float(1 - np.trace(joint))


def shrinkage(num_rows: int, num_classes: int) -> float:
    """Lambda, the weight of the joint against a symmetric one: n / (n + 50 C^2)."""
    return num_rows / (num_rows + _PRIOR_ROWS * num_classes**2)


def shrunk(joint: Values, weight: float) -> Values:
    """Mix a joint, by its weight, with that of the same labels and rate under symmetric noise."""
    num_classes = len(joint)
    rate = noise_rate(joint)
    symmetric = np.full_like(joint, rate / (num_classes - 1))
    np.fill_diagonal(symmetric, 1 - rate)
    mixed: Values = weight * joint + (1 - weight) * symmetric * joint.sum(axis=1, keepdims=True)
    return mixed


def transition_of(joint: Values) -> Values:
    """T[j, k] = P(given j | true k), float64 (C, C): columns sum to 1."""
    sums = joint.sum(axis=0)
    transition = np.eye(len(joint))
    np.divide(joint, sums, out=transition, where=sums > 0)
    return transition
