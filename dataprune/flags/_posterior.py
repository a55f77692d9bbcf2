"""The probability that a given label is wrong, by Bayes from calibrated votes and noise.

Held-out probabilities p are those of the *given* label, noise included.

1. Twenty steps of EM find the distribution pi over true labels with T pi close to p.
2. pi is sharpened: pi^beta, normalised, with the beta under which the given labels are most
   likely, sum over rows of -log (T pi^beta)[given]. A model that was fitted to noisy labels is
   less sure of the truth than of what the noise does, and one number undoes most of that.
3. For given label y, q = 1 - T[y, y] pi[y] / (T pi)[y]. The most probable true label is argmax over
   k of T[y, k] pi[k]; the best other one leaves y out, because with three classes and more several
   rivals may make y improbable though none of them is ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._means import Means, some
from dataprune.flags._scale import best_scale, softmax
from dataprune.flags._votes import Labels, Values

STEPS = 20
_FLOOR = 1e-12
_NEVER = -1e4  # logarithm of a column that is no class
_COUNTED = 1e-4  # of a row, for the joint


@dataclass(frozen=True)
class Posterior:
    """What is believed of n rows.

    q: float64 (n,) in [0, 1]. best, other: int32 (n,), the most probable true label, and that of
        the classes other than the given one.
    joint: rows given j that are truly k, float64 (C, C), without rows of less than 1 in 10,000.
    """

    q: Values
    best: npt.NDArray[np.int32]
    other: npt.NDArray[np.int32]
    joint: Values


def log_truth(means: Means, transition: Values) -> npt.NDArray[np.float32]:
    """Step 1: log pi, float32 (n, R)."""
    log_pi_nR = np.empty(means.p_nR.shape, dtype=np.float32)
    transposed = np.ascontiguousarray(transition.T)

    def whole(rows: slice) -> None:
        p_bC = means.p_nR[rows].astype(np.float64)
        pi_bC = p_bC.copy()
        for _ in range(STEPS):
            pi_bC *= _ratio(p_bC, pi_bC @ transposed) @ transition
            _normalise(pi_bC, p_bC)
        log_pi_nR[rows] = np.log(pi_bC + _FLOOR)

    def restricted(rows: slice) -> None:
        p_bR = means.p_nR[rows].astype(np.float64)
        classes_bR = means.classes(rows)
        t_bRR = transition[classes_bR[:, :, None], classes_bR[:, None, :]]
        pi_bR = p_bR.copy()
        for _ in range(STEPS):
            given_bR = np.matmul(t_bRR, pi_bR[:, :, None])[:, :, 0]
            pi_bR *= np.matmul(_ratio(p_bR, given_bR)[:, None, :], t_bRR)[:, 0, :]
            _normalise(pi_bR, p_bR)
        log_pi_bR = np.log(pi_bR + _FLOOR)
        log_pi_bR[means.twice(rows), -1] = _NEVER
        log_pi_nR[rows] = log_pi_bR

    if means.classes_nR is None:
        over_blocks(whole, len(means), means.num_classes)
    else:
        over_blocks(restricted, len(means), means.p_nR.shape[1] ** 2)
    return log_pi_nR


def fit_sharpness(
    log_pi_nR: npt.NDArray[np.float32],
    means: Means,
    labels: Labels,
    transition: Values,
    *,
    seed: int,
) -> float:
    """Step 2: beta, in 0.01..100.

    The loss's slope is E[log pi] under pi^beta less E[log pi] under T[given, .] pi^beta, and its
    curvature the difference of the two variances.
    """
    chosen = some(np.arange(len(means)), means.p_nR.shape[1], (seed, 1 << 22))
    z_mR = log_pi_nR[chosen]
    t_mR = np.empty(z_mR.shape)
    for rows in _slices(len(chosen)):
        t_mR[rows] = _given_rows(means, chosen[rows], labels[chosen[rows]], transition)

    def slope_and_curvature(beta: float) -> tuple[float, float]:
        def work(rows: slice) -> tuple[float, float]:
            z_bR = z_mR[rows].astype(np.float64)
            pi_bR = softmax(z_bR * beta)
            mean = np.einsum("br,br->b", pi_bR, z_bR)
            variance = np.einsum("br,br->b", pi_bR, (z_bR - mean[:, None]) ** 2)
            pi_bR *= t_mR[rows]
            pi_bR /= pi_bR.sum(axis=1, keepdims=True)
            after = np.einsum("br,br->b", pi_bR, z_bR)
            variance -= np.einsum("br,br->b", pi_bR, (z_bR - after[:, None]) ** 2)
            return float((mean - after).sum()), float(variance.sum())

        parts = over_blocks(work, len(chosen), z_mR.shape[1])
        return sum(a for a, _ in parts) / len(chosen), sum(b for _, b in parts) / len(chosen)

    return best_scale(slope_and_curvature)


def judge(
    log_pi_nR: npt.NDArray[np.float32],
    means: Means,
    labels: Labels,
    transition: Values,
    sharpness: float,
) -> Posterior:
    """Step 3."""
    n, num_classes = len(means), means.num_classes
    q, (best, other) = np.empty(n), np.empty((2, n), dtype=np.int32)

    def work(rows: slice) -> tuple[Labels, Values]:
        own, place = labels[rows], means.place[rows]
        classes_bR = means.classes(rows)
        joint_bR = softmax(log_pi_nR[rows] * np.float64(sharpness))
        joint_bR *= transition[own[:, None], classes_bR]
        joint_bR /= joint_bR.sum(axis=1, keepdims=True)
        every = np.arange(len(own))
        q[rows] = np.clip(1 - joint_bR[every, place], 0, 1)
        best[rows] = classes_bR[every, joint_bR.argmax(axis=1)]
        rivals_bR = np.where(classes_bR == own[:, None], -1.0, joint_bR)
        other[rows] = classes_bR[every, rivals_bR.argmax(axis=1)]
        counted = joint_bR > _COUNTED
        pairs = (own[:, None] * num_classes + classes_bR)[counted]
        return pairs, joint_bR[counted]

    parts = over_blocks(work, n, means.p_nR.shape[1])
    pairs, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    joint: Values = np.bincount(pairs, weights, minlength=num_classes**2).astype(np.float64)
    return Posterior(q, best, other, joint.reshape(num_classes, num_classes))


def _slices(n: int, rows: int = 1 << 16) -> list[slice]:
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def _given_rows(means: Means, rows: Labels, own: Labels, transition: Values) -> Values:
    """T[given, k] of each kept class k, (m, R)."""
    if means.classes_nR is None:
        return transition[own]
    return transition[own[:, None], means.classes_nR[rows]]


def _ratio(p: Values, expected: Values) -> Values:
    return np.divide(p, expected, out=np.zeros_like(p), where=expected > 0)


def _normalise(pi: Values, p: Values) -> None:
    """Make rows sum to 1, in place; one that T explains by no true label goes back to p."""
    sums = pi.sum(axis=1, keepdims=True)
    lost = sums[:, 0] <= 0
    pi /= np.where(sums > 0, sums, 1)
    pi[lost] = p[lost]
