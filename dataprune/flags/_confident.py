"""The confident joint: how often each given label stands where each true one should.

Northcutt, Jiang, Chuang 2021 (Confident Learning), section 3.1, equations 1 to 3: one of the
estimates of how much noise there is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._means import Means
from dataprune.flags._votes import Labels, Values

_ROUNDING = 1e-6  # a mean of equal numbers may exceed them


def class_thresholds(means: Means, labels: Labels) -> Values:
    """t_k = mean of p(k) over the rows that are given k, float64 (C,); inf for a class without."""
    sums = np.bincount(labels, weights=means.own(), minlength=means.num_classes)
    counts = np.bincount(labels, minlength=means.num_classes)
    thresholds = np.full(means.num_classes, np.inf)
    np.divide(sums, counts, out=thresholds, where=counts > 0)
    return thresholds


def confident_counts(means: Means, labels: Labels, thresholds: Values) -> npt.NDArray[np.int64]:
    """C[j, k]: rows given j whose most probable class at or above its threshold is k, (C, C).

    Rows with no such class among those kept count nowhere. The diagonal is at least 1: no label is
    always wrong.
    """
    num_classes = means.num_classes

    def work(rows: slice) -> npt.NDArray[np.int64]:
        p_bR = means.p_nR[rows].astype(np.float64)
        classes_bR = means.classes(rows)
        p_bR[p_bR < thresholds[classes_bR] - _ROUNDING] = -1
        best = p_bR.argmax(axis=1)
        every = np.arange(len(best))
        sure = p_bR[every, best] >= 0
        pairs: npt.NDArray[np.int64] = (labels[rows] * num_classes + classes_bR[every, best])[sure]
        return pairs

    pairs = np.concatenate(over_blocks(work, len(means), means.p_nR.shape[1]))
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
