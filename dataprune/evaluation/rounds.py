"""The pilot of `auto` without its trainings: how long each round is, and who wins.

Length comes before seeds: short trainings favour easy rows, and rank strategies otherwise than long
ones do, whatever the number of seeds. So every candidate is trained as long as what is kept will
be, where the budget allows; else those that lead after a shorter round are (successive halving,
Jamieson & Talwalkar 2016). All in pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataprune.evaluation.priors import RANDOM
from dataprune.evaluation.statistics import difference_error

FINALISTS = 3
MOST_SEEDS = 10
_SHORTEST = 4  # parts of a whole training: a first round is one of them at least
_USUAL, _MOST_TIMES = 5.0, 12.0  # trainings on everything
_MANY_ROWS = 5000  # to test on
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Round:
    """So many candidates, each trained with as many seeds for as many steps."""

    arms: int
    seeds: int
    steps: int

    @property
    def total(self) -> int:
        """Steps of the whole round."""
        return self.arms * self.seeds * self.steps


@dataclass(frozen=True)
class Difference:
    """How much better the chosen strategy was than another; half_width: of the 95 % interval."""

    other: str
    mean: float
    half_width: float | None

    @property
    def tells(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half_width is not None and abs(self.mean) > self.half_width


@dataclass(frozen=True)
class Verdict:
    """Who won.

    error: standard error of a difference; None with one seed, or with nothing to differ from.
    """

    chosen: str
    error: float | None
    over: list[Difference]


def usual_trainings(num_test_rows: int) -> float:
    """How many trainings on everything the pilot of a budget may take where nobody says so.

    Five, and up to twelve times as many where a share to test on has few rows: a difference between
    two strategies is then within chance of the rows, and more seeds test on more of them.
    """
    return _USUAL * min(_MOST_TIMES, max(1.0, _MANY_ROWS / num_test_rows))


def plan_rounds(num_candidates: int, own_steps: int, budget: int) -> list[Round]:
    """Rounds that take `budget` steps at most, where that is a step for each training at least.

    own_steps: of a training on the kept rows, which no round goes beyond. One round where all
    candidates can be trained so long, or where a budget for finalists alone would leave too little
    to choose them by; else a first one of all, and a whole one of the best.
    """
    whole = budget // (num_candidates * own_steps)
    if whole >= 1:
        return [Round(num_candidates, min(whole, MOST_SEEDS), own_steps)]
    first = (budget - FINALISTS * own_steps) // num_candidates
    if num_candidates > FINALISTS and _SHORTEST * first >= own_steps:
        return [Round(num_candidates, 1, first), Round(FINALISTS, 1, own_steps)]
    return [Round(num_candidates, 1, max(1, budget // num_candidates))]


def finalists(values: Mapping[str, Mapping[int, float]], order: Sequence[str]) -> list[str]:
    """Who goes on: the best means, in the order that is expected."""
    found = [name for name in order if name in values]
    best = sorted(found, key=lambda name: -_mean(values[name]))[:FINALISTS]
    return [name for name in found if name in best]


def verdict(
    values: Mapping[str, Mapping[int, float]],
    order: Sequence[str],
    num_test_rows: int | None = None,
) -> Verdict:
    """The best mean, and of equal ones the first of `order`; by how much, as far as seeds tell.

    Random rows win only if they lead by more than a standard error of the difference.

    num_test_rows: that each seed is tested on, where the metric is a share of them; with one seed
        they bound the standard error, of two independent draws of so many rows.
    """
    names = [name for name in order if name in values]
    means = {name: _mean(values[name]) for name in names}
    chosen = max(names, key=lambda name: means[name])
    found = difference_error([values[name] for name in names])
    others = [name for name in names if name != RANDOM]
    if chosen == RANDOM and others:
        best = max(others, key=lambda name: means[name])
        chance = found[0] if found else _chance(means[RANDOM], num_test_rows)
        chosen = best if means[RANDOM] - means[best] <= chance else RANDOM
    error, half = None, None
    if found:
        from scipy import stats

        error = found[0]
        half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, found[1]) * error)
    over = [Difference(n, means[chosen] - means[n], half) for n in names if n != chosen]
    return Verdict(chosen, error, over)


def _chance(share: float, num_rows: int | None) -> float:
    """Standard error of the difference of two shares of so many rows; 0 where that is not known."""
    return (2 * share * (1 - share) / num_rows) ** 0.5 if num_rows else 0.0


def _mean(values: Mapping[int, float]) -> float:
    return float(np.mean(list(values.values())))
