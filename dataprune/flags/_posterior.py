"""The probability that a given label is wrong, by Bayes from calibrated votes and noise.

Held-out probabilities p are those of the *given* label, noise included. Twenty steps of EM find
the distribution pi over true labels with T pi close to p; then, for given label y,
q = 1 - T[y, y] pi[y] / (T pi)[y], and the suggested label is argmax over k of T[y, k] pi[k].

Beyond 32 classes a row's p is kept for its 32 most probable classes and the given one, and taken
as 0 for the others, whose pi is then 0 as well: n C^2 becomes n 33^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.flags._blocks import over_blocks
from dataprune.flags._votes import Labels, Values

STEPS = 20
TOP = 32


def posterior(
    mean_nC: npt.NDArray[Any], labels: Labels, transition: Values
) -> tuple[Values, npt.NDArray[np.int32]]:
    """Give q float64 (n,) in [0, 1] and the suggested label int32 (n,).

    mean_nC: calibrated probabilities, each above 0. transition: T[given, true], (C, C).
    """
    n, num_classes = mean_nC.shape
    q, suggested = np.empty(n), np.empty(n, dtype=np.int32)

    def whole(rows: slice) -> None:
        p_bC = mean_nC[rows].astype(np.float64)
        pi_bC = p_bC.copy()
        for _ in range(STEPS):
            pi_bC *= _ratio(p_bC, pi_bC @ transition.T) @ transition
            _normalise(pi_bC, p_bC)
        joint_bC = transition[labels[rows]] * pi_bC
        q[rows] = _wrong(joint_bC, labels[rows])
        suggested[rows] = joint_bC.argmax(axis=1)

    def restricted(rows: slice) -> None:
        p_bC = mean_nC[rows]
        own = labels[rows]
        classes_bR, p_bR, place = _candidates(p_bC, own)
        t_bRR = transition[classes_bR[:, :, None], classes_bR[:, None, :]]
        pi_bR = p_bR.copy()
        for _ in range(STEPS):
            given_bR = np.matmul(t_bRR, pi_bR[:, :, None])[:, :, 0]
            pi_bR *= np.matmul(_ratio(p_bR, given_bR)[:, None, :], t_bRR)[:, 0, :]
            _normalise(pi_bR, p_bR)
        joint_bR = t_bRR[np.arange(len(own)), place] * pi_bR
        q[rows] = _wrong(joint_bR, place)
        suggested[rows] = classes_bR[np.arange(len(own)), joint_bR.argmax(axis=1)]

    if num_classes <= TOP:
        over_blocks(whole, n, num_classes)
    else:
        over_blocks(restricted, n, max(num_classes, (TOP + 1) ** 2))
    return q, suggested


def _candidates(p_bC: npt.NDArray[Any], own: Labels) -> tuple[Labels, Values, Labels]:
    """Classes (b, 33), their p, and where the given one is; one that is there twice has p = 0."""
    top_bR = np.argpartition(p_bC, -TOP, axis=1)[:, -TOP:]
    among = top_bR == own[:, None]
    classes_bR = np.concatenate([top_bR, own[:, None]], axis=1)
    p_bR = np.take_along_axis(p_bC, classes_bR, axis=1).astype(np.float64)
    present = among.any(axis=1)
    p_bR[present, TOP] = 0
    place = np.where(present, among.argmax(axis=1), TOP)
    return classes_bR, p_bR, place


def _ratio(p: Values, expected: Values) -> Values:
    return np.divide(p, expected, out=np.zeros_like(p), where=expected > 0)


def _normalise(pi: Values, p: Values) -> None:
    """Make rows sum to 1, in place; one that T explains by no true label goes back to p."""
    sums = pi.sum(axis=1, keepdims=True)
    lost = sums[:, 0] <= 0
    pi /= np.where(sums > 0, sums, 1)
    pi[lost] = p[lost]


def _wrong(joint: Values, place: Labels) -> Values:
    sums = joint.sum(axis=1)
    right = joint[np.arange(len(joint)), place]
    wrong: Values = 1 - np.divide(right, sums, out=np.zeros_like(sums), where=sums > 0)
    return np.clip(wrong, 0, 1)
