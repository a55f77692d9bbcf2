"""Which runs to keep of those that nothing speaks against: by policy, per query, per category.

The steps, in this order: bands of pass rate, least reward, the policy among a query's runs, then
balance of categories. A run has the code of the step that dropped it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.recipe_curate import SelectRecipe
from dataprune.trajectories.bradley_terry import select
from dataprune.trajectories.keys import draws, group_numbers, places_in_groups, text_keys
from dataprune.trajectories.rewards import Band
from dataprune.trajectories.rules import Code

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

Q_BAND, Q_MIN_REWARD, Q_CAP = "Q_BAND", "Q_MIN_REWARD", "Q_CAP"
Q_NOT_SELECTED, B_CATEGORY_CAP = "Q_NOT_SELECTED", "B_CATEGORY_CAP"
CODES: dict[str, Code] = {
    Q_BAND: Code("selection", "reject", "the query's pass rate is in no band asked for"),
    Q_MIN_REWARD: Code("selection", "reject", "a reward below the least asked for, or none"),
    Q_CAP: Code("selection", "reject", "more runs of the query than asked for"),
    Q_NOT_SELECTED: Code("selection", "reject", "the policy chose other runs of the query"),
    B_CATEGORY_CAP: Code("balance", "reject", "more runs of the category than its share"),
}
_NEED_REWARD = {"best", "top_m", "bt"}
_TOP_M = 3  # of top_m unless the recipe says otherwise: SWE-smith's number a task
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Runs:
    """n runs to choose from, in any order.

    is_candidate: bool (n,), those that no rule, vote or judge rejected.
    lengths: int64 (n,), what the shortest is found by. rewards, judge_scores: float64 (n,), NaN
    where there is none. bands: of the runs' queries; categories; None where unknown.
    """

    query_ids: Sequence[str]
    traj_ids: Sequence[str]
    is_candidate: Mask
    lengths: npt.NDArray[np.int64]
    rewards: Values
    judge_scores: Values
    bands: Sequence[Band | None]
    categories: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.query_ids)


@dataclass(frozen=True)
class Chosen:
    """keep: bool (n,). codes: why not, None for runs kept and for those that were no candidates.

    weight: float64 (n,), of policy bt for the runs drawn (`bradley_terry.Selection.weight`), NaN
    elsewhere.
    """

    keep: Mask
    codes: tuple[str | None, ...]
    weight: Values


def choose(runs: Runs, recipe: SelectRecipe, seed: int) -> Chosen:
    """Apply the recipe.

    How many runs of a query stay is `max_per_query`; where unset, all for policy all, 3 for top_m
    and 1 for the others. Among equals the shortest stays; among those, and for policies random
    and all, a seeded hash of the trajectory's id decides, so the order of rows never does.

    Raises:
        UsageError: the policy needs rewards, judge scores, pass rates or categories that no
            candidate has, or settings that cannot be met together.
    """
    _check(runs, recipe)
    codes: list[str | None] = [None] * len(runs)
    keep = runs.is_candidate.copy()
    if recipe.bands:
        asked = set(recipe.bands)
        _drop(keep, codes, np.array([b not in asked for b in runs.bands], dtype=np.bool_), Q_BAND)
    if recipe.min_reward is not None:
        _drop(keep, codes, ~(runs.rewards >= recipe.min_reward), Q_MIN_REWARD)
    stays, weight = _by_policy(runs, keep, recipe, seed)
    _drop(keep, codes, ~stays, Q_CAP if recipe.policy == "all" else Q_NOT_SELECTED)
    limits = _limits(runs, keep, recipe)
    _drop(keep, codes, _beyond(runs, keep, limits, seed), B_CATEGORY_CAP)
    return Chosen(keep, tuple(codes), weight)


def _drop(keep: Mask, codes: list[str | None], which: Mask, code: str) -> None:
    for row in np.flatnonzero(keep & which).tolist():
        codes[row] = code
    keep &= ~which


def _check(runs: Runs, recipe: SelectRecipe) -> None:
    candidates = runs.is_candidate
    if np.isinf(runs.rewards).any() or np.isinf(runs.judge_scores).any():
        row = int(np.flatnonzero(np.isinf(runs.rewards) | np.isinf(runs.judge_scores))[0])
        raise UsageError(
            f"trajectory {runs.traj_ids[row]} has an infinite reward or score",
            hint="give it a finite one, or leave it out",
        )
    if recipe.policy == "best" and (recipe.max_per_query or 1) > 1:
        raise UsageError(
            f"policy best keeps one run a query, max_per_query is {recipe.max_per_query}",
            hint="use policy top_m to keep several",
        )
    if recipe.max_share is not None and recipe.balance is not None:
        raise UsageError(
            "max_share and balance both limit categories", hint="set one of the two to null"
        )
    if recipe.pairs_margin is not None and np.isnan(runs.rewards).all():
        raise UsageError(
            "pairs_margin needs rewards, and no trajectory has one",
            hint="add a `reward` number to the rows, or leave it out",
        )
    if not candidates.any():
        return
    needs_reward = recipe.policy in _NEED_REWARD or recipe.min_reward is not None
    if needs_reward and np.isnan(runs.rewards[candidates]).all():
        what = f"policy {recipe.policy}" if recipe.policy in _NEED_REWARD else "min_reward"
        raise UsageError(
            f"{what} needs rewards, and no trajectory has one",
            hint="add a `reward` number to the rows, or use policy all, shortest or random",
        )
    if recipe.policy == "judge_best" and np.isnan(runs.judge_scores[candidates]).all():
        raise UsageError(
            "policy judge_best needs a judge's scores, and no trajectory has one",
            hint="set judge.base_url and judge.task: quality, or use policy shortest",
        )
    if recipe.bands and all(band is None for band in runs.bands):
        raise UsageError(
            "bands need pass rates, and no query has one",
            hint="add `reward` or `success` to the rows, or vote with a groups policy",
        )
    limits_categories = recipe.max_share is not None or recipe.balance is not None
    if limits_categories and all(category is None for category in runs.categories):
        raise UsageError(
            "max_share and balance need categories, and no trajectory has one",
            hint="add a `category` to the rows, or give keywords",
        )


def _by_policy(runs: Runs, keep: Mask, recipe: SelectRecipe, seed: int) -> tuple[Mask, Values]:
    """Which runs stay, bool (n,), and the weights of policy bt."""
    stays = np.zeros(len(runs), dtype=np.bool_)
    weight = np.full(len(runs), np.nan)
    usual = {"all": None, "top_m": _TOP_M}.get(recipe.policy, 1)
    m = recipe.max_per_query or usual
    if m is None:
        return np.ones(len(runs), dtype=np.bool_), weight
    value = {"judge_best": runs.judge_scores}.get(recipe.policy, runs.rewards)
    is_ranked = recipe.policy in _NEED_REWARD or recipe.policy == "judge_best"
    rows = np.flatnonzero(keep & ~np.isnan(value) if is_ranked else keep)
    query_ids = [runs.query_ids[row] for row in rows.tolist()]
    traj_ids = [runs.traj_ids[row] for row in rows.tolist()]
    if recipe.policy == "bt":
        found = select(
            query_ids, traj_ids, value[rows], k=recipe.k, beta=recipe.beta, m=m, seed=seed
        )
        stays[rows], weight[rows] = found.keep, found.weight
        return stays, weight
    tie = draws(text_keys(traj_ids), seed, "policy")
    lengths = runs.lengths[rows]
    _, groups = group_numbers(query_ids)
    if recipe.policy in {"all", "random"}:
        places = places_in_groups(groups, tie)
    elif recipe.policy == "shortest":
        places = places_in_groups(groups, lengths, tie)
    else:
        places = places_in_groups(groups, -value[rows], lengths, tie)
    stays[rows] = places < m
    return stays, weight


def _limits(runs: Runs, keep: Mask, recipe: SelectRecipe) -> Mapping[str, int]:
    """How many runs of each category may stay; runs without a category are not limited."""
    counts = Counter(runs.categories[row] for row in np.flatnonzero(keep).tolist())
    uncounted = counts.pop(None, 0)
    named = {name: count for name, count in counts.items() if name is not None}
    if not named:
        return {}
    if recipe.max_share is not None:
        cap = share_cap(list(named.values()), uncounted, recipe.max_share)
        return dict.fromkeys(named, cap)
    if recipe.balance is not None:
        return balanced(named, recipe.balance)
    return named


def share_cap(counts: Sequence[int], uncounted: int, max_share: float) -> int:
    """The largest cap under which no category has more than its share of what is left.

    counts: runs of each category. uncounted: runs without one, which count in the whole.

    Raises:
        UsageError: there are too few categories to keep any run.
    """
    low, high = 0, max(counts)
    while low < high:  # share * kept(cap) - cap is concave and not below 0 at 0: one crossing
        cap = (low + high + 1) // 2
        kept = uncounted + sum(min(count, cap) for count in counts)
        low, high = (cap, high) if cap <= max_share * kept + _ROUNDING else (low, cap - 1)
    if low == 0:
        raise UsageError(
            f"max_share {max_share:g} cannot be met with {len(counts)} categories",
            hint=f"set it to at least {1 / len(counts):.2g}, or name more categories",
        )
    return low


def balanced(counts: Mapping[str, int], power: float) -> dict[str, int]:
    """Quotas in proportion to n^power, as large as the runs at hand allow, at least 1 each.

    power: 1 keeps all, 0 as many of each category as the smallest has (temperature sampling). What
    is balanced is not to be balanced again: with a power in between it would shrink further.
    """
    scale = min(count ** (1 - power) for count in counts.values())
    return {
        name: max(1, min(count, int(scale * count**power + _ROUNDING)))
        for name, count in counts.items()
    }


def _beyond(runs: Runs, keep: Mask, limits: Mapping[str, int], seed: int) -> Mask:
    """Runs over their category's limit; whose go is drawn by a seeded hash of their ids."""
    beyond = np.zeros(len(runs), dtype=np.bool_)
    rows = [row for row in np.flatnonzero(keep).tolist() if runs.categories[row] is not None]
    if not rows or not limits:
        return beyond
    names = [str(runs.categories[row]) for row in rows]
    _, groups = group_numbers(names)
    tie = draws(text_keys([runs.traj_ids[row] for row in rows]), seed, "balance")
    limit = np.array([limits[name] for name in names], dtype=np.int64)
    beyond[rows] = places_in_groups(groups, tie) >= limit
    return beyond
