"""The pilot of `auto` without its trainings: how long each round is, and who wins.

Successive halving (Jamieson & Talwalkar 2016) in two rounds: half of the budget goes to a short
look at all candidates, the other half to a longer one at the best of them. All in pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dataprune.evaluation.priors import RANDOM
from dataprune.evaluation.statistics import difference_error

FINALISTS = 3
SEEDS = (2, 3)  # of the first round and the last
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

    leader: has the best mean. chosen: the leader, or one as good that was expected to be better.
    error: standard error of a difference; None with one seed, or with nothing to differ from.
    """

    chosen: str
    leader: str
    error: float | None
    over: list[Difference]


def plan_rounds(num_candidates: int, own_steps: int, budget: int) -> list[Round]:
    """Rounds that take `budget` steps at most, where that is a step for each training at least.

    own_steps: of a training on the kept rows, which no round goes beyond. What the first round
    leaves goes to the last. There is one round where a second one would be no longer.
    """
    last, rounds = num_candidates, []
    if num_candidates * SEEDS[0] > FINALISTS * SEEDS[1]:
        last = FINALISTS
        each = budget // 2 // (num_candidates * SEEDS[0])
        rounds.append(Round(num_candidates, SEEDS[0], max(1, min(each, own_steps))))
    rest = budget - sum(round_.total for round_ in rounds)
    each = rest // (last * SEEDS[1])
    return [*rounds, Round(last, SEEDS[1], max(1, min(each, own_steps)))]


def finalists(values: Mapping[str, Mapping[int, float]], order: Sequence[str]) -> list[str]:
    """Who goes on: the best means, and random rows, which the last round is measured against."""
    ranked = sorted((n for n in order if n in values), key=lambda n: -_mean(values[n]))
    best = [name for name in ranked if name != RANDOM][: FINALISTS - (RANDOM in values)]
    return [name for name in order if name in best or (name == RANDOM and name in values)]


def verdict(values: Mapping[str, Mapping[int, float]], order: Sequence[str]) -> Verdict:
    """The first of `order` that is within one standard error of the best mean.

    The rule of Breiman et al. 1984 for trees: a lead that seeds alone may give does not speak
    against what is expected. Random rows come last in the order, so they win only by a lead.
    """
    names = [name for name in order if name in values]
    means = {name: _mean(values[name]) for name in names}
    leader = max(names, key=lambda name: means[name])
    found = difference_error([values[name] for name in names])
    error = found[0] if found else 0.0
    chosen = next(name for name in names if means[leader] - means[name] <= error)
    half = None
    if found:
        from scipy import stats

        half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, found[1]) * error)
    over = [Difference(n, means[chosen] - means[n], half) for n in names if n != chosen]
    return Verdict(chosen, leader, found[0] if found else None, over)


def _mean(values: Mapping[int, float]) -> float:
    return float(np.mean(list(values.values())))
