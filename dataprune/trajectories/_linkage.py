"""Clusters of distinct answers by complete linkage: in one cluster every pair is equivalent.

Chains cannot merge: where a is near b and b near c, a and c share a cluster only if they are near
each other too. The nearest clusters merge first, ties go to the answers that sort first, so the
order of an input changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataprune.trajectories.equivalence import Answer, equivalent, size, spread
from dataprune.trajectories.equivalence.values import Number, Text, Unit

MOST_DISTINCT = 1000  # answers of a query that are compared with each other
_MOST_WORK = 200_000  # single values in all pairs of a query, where answers have several
_UNKNOWN = np.inf


@dataclass(frozen=True)
class Relations:
    """Of m distinct answers, all (m, m) and symmetric.

    same: whether a pair is equivalent. open: whether it is undecided. far: relative difference of
    numbers.
    """

    same: NDArray[np.bool_]
    open: NDArray[np.bool_]
    far: NDArray[np.float64]


def most_compared(answers: list[Answer]) -> int:
    """How many distinct answers of a query are compared: fewer where they are large."""
    largest = max((size(answer.value) for answer in answers), default=1)
    if largest == 1:
        return MOST_DISTINCT
    return min(MOST_DISTINCT, max(2, int((_MOST_WORK / largest) ** 0.5)))


def relate(answers: list[Answer], tolerance: float) -> Relations:
    """Compare distinct answers pairwise."""
    m = len(answers)
    same = np.eye(m, dtype=bool)
    unsure = ~same  # words that differ stay so
    far = np.zeros((m, m))
    done = _numbers_at_once(answers, tolerance, same, unsure, far)
    for i in range(m):
        for j in range(i):
            if done[i] >= 0 and done[i] == done[j]:
                continue
            verdict = equivalent(answers[i], answers[j], tolerance)
            same[i, j] = same[j, i] = verdict is True
            unsure[i, j] = unsure[j, i] = verdict is None
            if verdict:
                far[i, j] = far[j, i] = spread(answers[i], answers[j])
    return Relations(same, unsure, far)


def _numbers_at_once(
    answers: list[Answer],
    tolerance: float,
    same: NDArray[np.bool_],
    unsure: NDArray[np.bool_],
    far: NDArray[np.float64],
) -> list[int]:
    """Fill in pairs of numbers of one unit, as `equivalent` would; the kind of each answer.

    Pairs of one kind from 0 on are done: 0 is words, which differ and stay undecided. -1: the rest.
    """
    kinds = [0 if isinstance(answer.value, Text) else -1 for answer in answers]
    units: dict[Unit | None, list[int]] = {}
    for at, answer in enumerate(answers):
        if isinstance(answer.value, Number):
            units.setdefault(answer.value.unit, []).append(at)
    for kind, places in enumerate(units.values(), start=1):
        numbers = [v for at in places if isinstance(v := answers[at].value, Number)]
        values = np.array([float(number.value) for number in numbers])
        whole = np.array([number.is_whole for number in numbers])
        largest = np.maximum.outer(abs(values), abs(values))
        apart = abs(np.subtract.outer(values, values))
        # Distinct whole numbers are different even where float64 cannot tell them apart.
        near = (apart <= tolerance * largest) & ~np.logical_and.outer(whole, whole)
        np.fill_diagonal(near, val=True)
        block = np.ix_(places, places)
        same[block], unsure[block] = near, False
        far[block] = np.where(near, apart / np.where(largest > 0, largest, 1), 0)
        for at in places:
            kinds[at] = kind
    return kinds


def clusters(same: NDArray[np.bool_], far: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cluster of each answer, (m,): the lowest place among its members.

    same, far: (m, m). Clusters are as far apart as their members that are farthest apart; two that
    have a pair that is not the same never merge.
    """
    apart = np.where(same, far, _UNKNOWN)
    np.fill_diagonal(apart, _UNKNOWN)
    cluster = np.arange(len(same))
    while len(same) > 1:
        first, second = sorted(divmod(int(apart.argmin()), len(same)))
        if apart[first, second] == _UNKNOWN:
            break
        cluster[cluster == second] = first
        merged = np.maximum(apart[first], apart[second])
        apart[first, :] = apart[:, first] = merged
        apart[second, :] = apart[:, second] = _UNKNOWN
        apart[first, first] = _UNKNOWN
    return cluster
