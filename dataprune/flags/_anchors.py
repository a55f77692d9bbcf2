"""The noise itself: how often rows of each true class are given each label.

Anchors are the rows that votes are surest of, class by class (Patrini et al. 2017, section 4.1,
who read the noise off the model's probabilities there). Here the given labels of anchors are
counted: no vote saw its row's label, so the counts owe nothing to how well votes are calibrated.
Counts of errors are few, so they are shrunk by empirical Bayes: towards symmetric noise as far as
the counts themselves look symmetric.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dataprune.flags._means import Means
from dataprune.flags._votes import Labels, Values

_SHARE = 0.05  # of the rows of a class, anchors
_LEAST = 100  # rows, if they are no more than half of the class
_PRIOR_ROWS = 5.0  # per class, at the common rate
_CONCENTRATIONS = 10.0 ** np.linspace(-1, 3, 21)


def anchor_counts(means: Means, labels: Labels) -> npt.NDArray[np.int64]:
    """C[given, best]: given labels of each class's anchors, (C, C).

    A class's anchors are the surest of the rows whose most probable class it is: a twentieth of
    them, or 100 if that is more, but no more than about half. Rows as sure as the last count too.
    """
    num_classes = means.num_classes
    best = means.best()
    sure = means.p_nR.max(axis=1)
    order = np.lexsort((-sure, best))
    sizes = np.bincount(best, minlength=num_classes)
    wanted = np.maximum(np.rint(_SHARE * sizes), np.minimum(_LEAST, np.rint(0.5 * sizes))).astype(
        np.int64
    )
    ends = np.cumsum(sizes)
    last = np.minimum(ends - sizes + np.maximum(wanted, 1), ends) - 1
    limits = np.full(num_classes, np.inf)
    there = sizes > 0
    limits[there] = sure[order[last[there]]]
    anchors = np.flatnonzero(sure >= limits[best])
    pairs = labels[anchors] * num_classes + best[anchors]
    counts = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts.astype(np.int64)


def transition_of(counts: npt.NDArray[np.int64]) -> tuple[Values, float]:
    """Anchor counts -> T[j, k] = P(given j | true k), float64 (C, C), and the concentration.

    A class's rate of errors is shrunk towards the common one by 5 rows. Which label an error gets
    is Dirichlet with the same weight `a` for each, so that it is known from N errors as
    (count + a) / (N + (C - 1) a); `a` is the one that makes the counts most likely, 0.1 to 1000.
    Columns sum to 1, and nothing is impossible.
    """
    num_classes = len(counts)
    off = counts.astype(np.float64)
    np.fill_diagonal(off, 0)
    errors, rows = off.sum(axis=0), counts.sum(axis=0)
    common = (errors.sum() + 0.5) / (rows.sum() + 1)
    rate = (errors + _PRIOR_ROWS * common) / (rows + _PRIOR_ROWS)
    a = _concentration(off, errors, num_classes)
    transition: Values = rate * (off + a) / (errors + (num_classes - 1) * a)
    np.fill_diagonal(transition, 1 - rate)
    return transition, a


def _concentration(off: Values, errors: Values, num_classes: int) -> float:
    """The `a` of the greatest Dirichlet-multinomial likelihood, the largest of equal ones."""
    cells, sums = (
        list(zip(*np.unique(counts[counts > 0], return_counts=True), strict=True))
        for counts in (off, errors)
    )

    def log_likelihood(a: float) -> float:
        whole = (num_classes - 1) * a
        gained = [t * (math.lgamma(a + m) - math.lgamma(a)) for m, t in cells]
        lost = [t * (math.lgamma(whole + m) - math.lgamma(whole)) for m, t in sums]
        return math.fsum(gained) - math.fsum(lost)

    found = [log_likelihood(a) for a in _CONCENTRATIONS]
    near = np.flatnonzero(np.asarray(found) >= max(found) - 1e-9)
    return float(_CONCENTRATIONS[near[-1]])
