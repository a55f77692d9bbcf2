"""K-choice Bradley-Terry selection: of K runs drawn of a query, the better ones likely stay.

Ferbach, Bertrand, Bose, Gidel (NeurIPS 2024, arXiv 2407.09499): of K candidates x_1..x_K keep x
with probability e^{r(x)/beta} / sum_j e^{r(x_j)/beta}. Small beta keeps the best of K, large beta
any of them. To keep m of K is Plackett-Luce without replacement, which adding Gumbel noise to
r/beta and taking the m largest does exactly (Yellott 1977).

Draws depend on the seed, the query's id and the runs' ids alone: other rows, or another order,
change nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64
from dataprune.trajectories.keys import Rows, draws, group_numbers, places_in_groups, text_keys

Draw = Literal["iid", "distinct"]
Values = npt.NDArray[np.float64]

_ONE_SHOT = (
    "This is one-shot pruning of the runs at hand: a bound is on the average over draws from each "
    "query's runs, not on this draw and not on a model trained on it."
)
_LEAST = -1e300  # a log-weight that is as good as none and still a number
_MOST_EXACT = 12  # candidates whose inclusion among m > 1 is found subset by subset
_MOST_CASES = 50_000  # ways of drawing K that are summed over


@dataclass(frozen=True)
class Selection:
    """What was kept.

    keep: bool (n,).
    weight: float64 (n,), of the runs drawn, NaN for the others: w such that the sum of f / w over
        a query's kept runs is, on average over draws, the sum of f over all its runs (Hansen and
        Hurwitz 1943 for the draw, Horvitz and Thompson 1952 for the choice). Where all runs of a
        query are drawn, once each, it is the probability to be kept. NaN too for m > 1 among more
        than 12 drawn runs.
    """

    keep: npt.NDArray[np.bool_]
    weight: Values


def select(
    query_ids: Sequence[str],
    traj_ids: Sequence[str],
    rewards: Values,
    *,
    k: int,
    beta: float,
    m: int,
    seed: int,
    draw: Draw = "iid",
) -> Selection:
    """Draw k runs of each query and keep m of them.

    rewards: finite, float64 (n,).
    draw: "iid" draws with replacement, as the theorems do, so that k may exceed the number of
        runs; a run drawn c times counts c-fold and is kept once. "distinct" draws without, all
        runs where a query has no more than k.
    m: fewer are kept where fewer different runs were drawn; a query with no more than m runs
        keeps all, with weight 1, so that to select again changes nothing.
    """
    names, groups = group_numbers(query_ids)
    keys = text_keys(traj_ids)
    num_runs = np.bincount(groups, minlength=len(names))
    if draw == "iid":
        times = _with_replacement(text_keys(names), groups, keys, k, seed)
        num_drawn = np.full(len(names), k)
    else:
        times = (places_in_groups(groups, draws(keys, seed, "draw"), keys) < k).astype(np.int64)
        num_drawn = np.minimum(num_runs, k)
    drawn = np.flatnonzero(times)
    logits = _logits(rewards[drawn], groups[drawn], beta, len(names)) + np.log(times[drawn])
    noise = -np.log(-np.log(draws(keys[drawn], seed, "gumbel")))
    place = places_in_groups(groups[drawn], -(logits + noise), keys[drawn])
    keep = np.zeros(len(groups), dtype=np.bool_)
    keep[drawn[place < m]] = True
    weight = np.full(len(groups), np.nan)
    share = (num_drawn / np.maximum(num_runs, 1))[groups[drawn]] / times[drawn]
    weight[drawn] = share * _inclusions(logits, groups[drawn], keys[drawn], m)
    has_few = num_runs[groups] <= m
    return Selection(keep | has_few, np.where(has_few, 1.0, weight))


def _with_replacement(query_keys: UInt64, groups: Rows, keys: UInt64, k: int, seed: int) -> Rows:
    """How often each run is drawn, int64 (n,); a query's draws fall on its runs by key."""
    order = np.lexsort((keys, groups))
    num_runs = np.bincount(groups, minlength=len(query_keys))
    first = np.cumsum(num_runs) - num_runs
    times = np.zeros(len(groups), dtype=np.int64)
    for number in range(k):
        place = (draws(query_keys, seed, "draw", number) * num_runs).astype(np.int64)
        np.add.at(times, order[first + np.minimum(place, num_runs - 1)], 1)
    return times


def _logits(rewards: Values, groups: Rows, beta: float, num_groups: int) -> Values:
    """(r - largest r of the group) / beta: never above 0, so that nothing overflows."""
    largest = np.full(num_groups, -np.inf)
    np.maximum.at(largest, groups, rewards)
    with np.errstate(over="ignore"):
        logits: Values = np.maximum((rewards - largest[groups]) / beta, _LEAST)
    return logits


def _inclusions(logits: Values, groups: Rows, keys: UInt64, m: int) -> Values:
    """The probability of each drawn run to be among the m kept of its group."""
    order = np.lexsort((keys, groups))
    _, first, counts = np.unique(groups[order], return_index=True, return_counts=True)
    chance = np.empty(len(logits))
    for count in np.unique(counts).tolist():
        rows = order[first[counts == count][:, None] + np.arange(count)]
        chance[rows] = inclusion_probabilities(logits[rows], m)
    return chance


def inclusion_probabilities(logits: Values, m: int) -> Values:
    """Plackett-Luce: the probability of each of k items to be among the first m, (q, k).

    logits: (q, k), r/beta. Sums over the sets that may come first: exact, 2^k steps. NaN for
    1 < m < k where k is above 12.
    """
    num_items = logits.shape[1]
    if m >= num_items:
        return np.ones_like(logits)
    if m == 1:
        return _softmax(logits)
    if num_items > _MOST_EXACT:
        return np.full_like(logits, np.nan)
    reached = {0: np.ones(len(logits))}  # probability that this set comes first
    chance = np.zeros_like(logits)
    for _ in range(m):
        larger: dict[int, Values] = {}
        for chosen, probability in reached.items():
            rest = [item for item in range(num_items) if not chosen >> item & 1]
            steps = _softmax(logits[:, rest]) * probability[:, None]
            for column, item in enumerate(rest):
                whole = chosen | 1 << item
                larger[whole] = larger.get(whole, 0.0) + steps[:, column]
        reached = larger
    for chosen, probability in reached.items():
        for item in range(num_items):
            if chosen >> item & 1:
                chance[:, item] += probability
    return chance


def _softmax(logits: Values) -> Values:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Values = powers / powers.sum(axis=1, keepdims=True)
    return shares


def selection_probabilities(
    rewards: Values, *, k: int, beta: float, draw: Draw = "iid"
) -> Values | None:
    """Probability of each of a query's runs to be the one kept (m = 1), draws included, (n,).

    Runs of equal reward are alike, so the sum goes over how many of the other draws fall on each
    reward. None where that is too many cases (more than 50,000).
    """
    levels, level_of, counts = np.unique(rewards, return_inverse=True, return_counts=True)
    total, others = len(rewards), (k if draw == "iid" else min(k, len(rewards))) - 1
    if math.comb(others + len(levels) - 1, others) > _MOST_CASES:
        return None
    ways = itertools.combinations_with_replacement(range(len(levels)), others)
    cases = np.array([np.bincount(way, minlength=len(levels)) for way in ways], dtype=np.int64)
    logits = _logits(levels, np.zeros(len(levels), dtype=np.int64), beta, 1)
    chance = np.empty(len(levels))
    for level in range(len(levels)):
        if draw == "iid":
            likely = _multinomial(cases, counts / total)
        else:
            likely = _hypergeometric(cases, counts - (np.arange(len(levels)) == level))
        with np.errstate(over="ignore", invalid="ignore"):
            rivals = np.where(cases > 0, cases * np.exp(logits - logits[level]), 0).sum(axis=1)
        chance[level] = (others + 1) / total * (likely / (1 + rivals)).sum()
    return chance[level_of]


def _multinomial(cases: Rows, shares: Values) -> Values:
    draws_each = int(cases[0].sum())
    return np.array(
        [
            math.factorial(draws_each)
            * math.prod(
                share**times / math.factorial(times)
                for share, times in zip(shares.tolist(), case, strict=True)
            )
            for case in cases.tolist()
        ]
    )


def _hypergeometric(cases: Rows, counts: Rows) -> Values:
    ways = math.comb(int(counts.sum()), int(cases[0].sum()))
    return np.array(
        [math.prod(map(math.comb, counts.tolist(), case)) / ways for case in cases.tolist()]
    )


@dataclass(frozen=True)
class Bounds:
    """What theory says of a selection, and in words where it says nothing.

    In units of e^{(r - r_max) / beta}, r_max the best reward of the query: 1 is a query all of
    whose runs are as good as its best; each query counts alike.

    reward_before: mean over all runs. reward_bound: what the mean over the kept runs is at least,
        on average over draws; None where the theorem does not hold.
    kl_bound: of the mixture of real and curated runs from the real ones, in nats, after any number
        of rounds; None where it does not hold.
    why_not: sentences; what no bound covers.
    """

    reward_before: float
    reward_bound: float | None
    kl_bound: float | None
    why_not: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people, a line each."""
        lines = [f"mean of e^((r - r_max)/beta) over all runs: {self.reward_before:.4f}"]
        if self.reward_bound is not None:
            lines.append(
                f"over the kept runs, on average over draws: at least {self.reward_bound:.4f}"
            )
        if self.kl_bound is not None:
            lines.append(
                f"KL divergence of the mixture from the real runs: at most {self.kl_bound:.4f}"
            )
        return [*lines, *self.why_not]


def bounds(
    query_ids: Sequence[str],
    rewards: Values,
    *,
    k: int,
    beta: float,
    mix: float,
    m: int,
    is_learned: bool,
    draw: Draw = "iid",
) -> Bounds:
    """The bounds of Ferbach et al. for these pools of runs, one pool a query.

    E_p'[a] >= E_p[a] + ((k-1)/k) Var_p[a] / a_max with a = e^{r/beta}: the kept one of k draws
    has the mean mean(a) + var(a)/mean(a) of the draws, mean(a) is at most a_max, and the expected
    variance of k draws is (k-1)/k of the pool's, or more if they are distinct. With lambda curated
    runs to a real one, KL(p'||p_ref) <= -log(1 - lambda (k-1)) if lambda < 1/(k-1).

    rewards: finite, float64 (n,), at least one. mix: lambda. is_learned: a reward model gave them.
    """
    names, groups = group_numbers(query_ids)
    num_runs = np.bincount(groups, minlength=len(names))
    scaled = np.exp(_logits(rewards, groups, beta, len(names)))
    mean = np.bincount(groups, weights=scaled) / num_runs
    variance = np.bincount(groups, weights=(scaled - mean[groups]) ** 2) / num_runs
    drawn = np.full(len(names), k) if draw == "iid" else np.minimum(num_runs, k)
    bound = float((mean + (drawn - 1) / drawn * variance).mean()) if m == 1 else None
    kl_bound = -math.log1p(-mix * (k - 1)) if m == 1 and 0 < mix * (k - 1) < 1 else None
    return Bounds(
        float(mean.mean()), bound, kl_bound, tuple(_limits(k, mix, m, is_learned=is_learned))
    )


def _limits(k: int, mix: float, m: int, *, is_learned: bool) -> list[str]:
    """What the theorems do not cover here."""
    limits = [_ONE_SHOT]
    if is_learned:
        limits.append(
            "The reward is a learned model's: the bounds are on what it says, and runs that fool "
            "it are kept like good ones."
        )
    if m > 1:
        limits.append(f"The bounds are for one run a query; {m} are kept, so none is given.")
    if mix == 0:
        limits.append(
            "No real runs are mixed in (mix is 0): if models are trained on their own curated "
            "runs again and again, diversity is lost, and no bound limits it."
        )
    elif mix * (k - 1) >= 1:
        limits.append(
            f"mix is {mix:g}, not below 1/(k-1) = {1 / (k - 1):.4g}: the divergence from the real "
            "runs has no bound."
        )
    return limits
