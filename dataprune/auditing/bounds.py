"""How many flags may be wrong: Clopper-Pearson bounds of prefixes, the most suspicious rows first.

All four bounds hold at once (Bonferroni), so the share to accept may be chosen after seeing them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHARES = (0.25, 0.5, 0.75, 1.0)
_BISECTIONS = 60  # 2 ** -60 is below the spacing of floats near any bound that matters


@dataclass(frozen=True)
class Prefix:
    """The most suspicious part of the audited flags, and what its judged rows say.

    rows: how many flags it holds. judged: how many of them were judged; wrong_flags: of these, how
    many have a label that is right, or that the person was unsure of.
    estimate: wrong_flags / judged; None if none was judged.
    bound: the share of wrong flags is at most this, at the confidence that was asked for; exact
        where every row was judged.
    """

    share: float
    rows: int
    judged: int
    wrong_flags: int
    estimate: float | None
    bound: float

    @property
    def is_census(self) -> bool:
        """Whether each of its rows was judged, so that nothing is estimated."""
        return self.judged == self.rows


def upper_bound(hits: int, trials: int, delta: float) -> float:
    """Clopper-Pearson: what a share is at most with confidence 1 - delta, after hits in trials.

    It is the share at which `hits` or fewer of `trials` have probability delta. For rows drawn
    without replacement it is on the safe side (Uhlmann 1966).
    """
    assert 0 <= hits <= trials
    assert 0 < delta < 1
    if hits == trials:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _log_tail(hits, trials, middle) > math.log(delta):
            low = middle
        else:
            high = middle
    return high


def _log_tail(hits: int, trials: int, p: float) -> float:
    """Logarithm of P(X <= hits) of a binomial with 0 <= p < 1 in at least one trial."""
    if p <= 0:
        return 0.0
    yes, no = math.log(p), math.log1p(-p)
    choices = math.lgamma(trials + 1)
    logs = [
        choices - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * yes + (trials - k) * no
        for k in range(hits + 1)
    ]
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(value - largest) for value in logs))


def prefixes(
    ranked: npt.NDArray[np.int64], judged: Iterable[int], wrong_flags: Iterable[int], delta: float
) -> list[Prefix]:
    """What is known of the first 25, 50, 75 and 100 % of the audited flags.

    ranked: rows (n,), the most suspicious first. judged: rows that count as judged.
    wrong_flags: those of them whose flag counts as wrong.
    delta: the bounds are all true with probability 1 - delta.
    """
    is_judged = np.isin(ranked, list(judged))
    is_wrong = np.isin(ranked, list(wrong_flags))
    assert not (is_wrong & ~is_judged).any(), "only judged flags are known to be wrong"
    found = []
    for share in SHARES:
        rows = math.ceil(share * len(ranked))
        num_judged, num_wrong = int(is_judged[:rows].sum()), int(is_wrong[:rows].sum())
        estimate = num_wrong / num_judged if num_judged else None
        known = num_judged == rows and estimate is not None
        bound = estimate if known else upper_bound(num_wrong, num_judged, delta / len(SHARES))
        assert bound is not None
        found.append(Prefix(share, rows, num_judged, num_wrong, estimate, bound))
    return found


def largest_within(found: Iterable[Prefix], alpha: float) -> Prefix | None:
    """The largest prefix with at most a share `alpha` of wrong flags; None if there is none."""
    within = [prefix for prefix in found if prefix.bound <= alpha]
    return max(within, key=lambda prefix: prefix.rows, default=None)
