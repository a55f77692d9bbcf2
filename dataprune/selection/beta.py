"""Beta sampling of DUAL: uncertain rows, and the easier ones among them the less is kept.

Cho et al. 2025 (arXiv 2502.06905), section 3.3. A row is drawn with a probability in proportion to
its score times the density of a Beta distribution at its mean prediction p, one by one without
replacement. With mu the mean of p over the ten highest scores and r the share that is pruned,

    b = c * (1 - mu) * (1 - r ** c_d),    a = c + 1 - b,

so that the density's mode is where the highest scores are while little is pruned, and moves towards
1, the easy rows, as more is. The authors use c = 15, and a c_d for each data set, which says how
late the mode moves: 4 is their code's default (CIFAR-100); it is the harder the data, the larger.

r is of the pool that competes, a class of its own with class quotas. The draw follows from the row,
the seed and r: at another budget the weights are others, so budgets do not nest. p is clipped to
2 ** -24 from 0 and 1, where the density is 0 or has no bound.
"""

from __future__ import annotations

import math
from typing import SupportsFloat

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Strategy, Values
from dataprune.selection._sampling import drawn_order

_TOP = 10  # rows whose mean prediction is mu
_CLIP = 2.0**-24


def _order(
    pool: Pool, *, by_mean: str = "confidence", c: object = 15.0, c_d: object = 4.0
) -> Order:
    """by_mean: a score that is the mean of p_label over epochs, or minus that, as `confidence` is.

    c: concentration of the distribution. c_d: how late its mode moves to the easy rows.

    Raises:
        UsageError: a parameter is not above 0, a score below 0, or a mean no probability.
    """
    concentration, lateness = _positive("c", c), _positive("c_d", c_d)
    if pool.scores.min() < 0:
        raise UsageError(
            f"beta weighs rows by their score, and the lowest is {pool.scores.min():.4g}",
            hint="choose a score that is not below 0, such as --by dual",
        )
    mean_p = _probability(pool, by_mean)
    highest = np.lexsort((pool.ties, -pool.scores))[:_TOP]
    pruned = 1 - pool.budget / len(pool.scores)
    b = concentration * (1 - float(mean_p[highest].mean())) * (1 - pruned**lateness)
    a = concentration + 1 - b
    clipped = np.clip(mean_p, _CLIP, 1 - _CLIP)
    with np.errstate(divide="ignore"):  # a score of 0 is never drawn before others
        weights = np.log(pool.scores)
    weights += (a - 1) * np.log(clipped) + (b - 1) * np.log1p(-clipped)
    places = drawn_order(weights, pool.ties)
    return Order(places, np.full(len(places), "not_drawn"))


def _probability(pool: Pool, by_mean: str) -> Values:
    mean_p = -pool.score(by_mean).hardness  # as stored, high confidence is low
    bad = np.flatnonzero((mean_p < 0) | (mean_p > 1))
    if len(bad):
        raise UsageError(
            f"{by_mean} is no mean of p_label or minus one: it is {-mean_p[bad[0]]:.4g} somewhere",
            hint="name a score that is one with by_mean, such as confidence at the same epoch",
        )
    return mean_p


def _positive(name: str, value: object) -> float:
    number = float(value) if isinstance(value, SupportsFloat) and not isinstance(value, bool) else 0
    if not 0 < number < math.inf:
        raise UsageError(f"{name} is {value!r}", hint="give a number above 0")
    return number


STRATEGY = Strategy(
    "beta",
    _order,
    reads=("by_mean",),
    draws=True,
    says="drew rows at random by {by} and by how easy they are, easier ones where little is kept",
    meanings={"not_drawn": "The random draw did not choose it."},
)
