"""Small-sample statistics of retrainings: intervals over seeds, paired tests, Holm's correction.

What varies between seeds is weights, order, augmentation and a control's own draw. Chance in which
rows are tested is the same for all arms and is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_CONFIDENCE = 0.95
# Differences of shares of the same test rows that are equal differ by rounding, and would else be
# differences beyond all doubt.
_SAME = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    half_width: of its 95 % interval by Student's t; None with one seed.
    p: two-sided, of the mean being zero; None with one seed, or where all values are the same and
        not zero: seeds then tell nothing of the spread.
    """

    mean: float
    half_width: float | None
    p: float | None

    @property
    def tells(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.p is not None and self.p < 1 - _CONFIDENCE


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value, its interval, and how likely chance makes it that large."""
    from scipy import stats

    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None, None)
    error = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    degrees = len(values) - 1
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, degrees) * error)
    if max(values) - min(values) < _SAME:
        return Estimate(mean, 0.0, 1.0 if abs(mean) < _SAME else None)
    return Estimate(mean, half, float(2 * stats.t.sf(abs(mean) / error, degrees)))


def paired(values: Mapping[int, float], others: Mapping[int, float]) -> Estimate | None:
    """How much more one arm gives than another, paired by seed; None without a common seed."""
    gains = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    return estimate(gains) if gains else None


def difference_error(values: Sequence[Mapping[int, float]]) -> tuple[float, int] | None:
    """Standard error of the difference of two arms' means over seeds, and its degrees of freedom.

    Pooled over the arms: the spread that is left once each arm's and each seed's mean is taken out
    (two-way layout), so that few seeds tell more than one pair of arms would. None where fewer than
    two arms have fewer than two seeds in common.
    """
    seeds = sorted(set.intersection(*(set(own) for own in values))) if values else []
    if len(values) < 2 or len(seeds) < 2:
        return None
    table = np.asarray([[own[seed] for seed in seeds] for own in values])
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    degrees = (len(values) - 1) * (len(seeds) - 1)
    return float(np.sqrt(2 * (rest**2).sum() / degrees / len(seeds))), degrees


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P values corrected for as many tests, by Holm's step-down; None is no test."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for place, (p, i) in enumerate(order):
        worst = max(worst, min(1.0, p * (len(order) - place)))
        corrected[i] = worst
    return corrected
