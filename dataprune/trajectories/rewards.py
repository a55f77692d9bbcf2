"""How often each query is solved: pass rates, their bands, and an order from easy to hard.

A pass rate of few attempts says little, so each comes with Wilson's 95 % interval (Wilson 1927),
and queries with fewer than four attempts are marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from dataprune.trajectories.keys import draws, group_numbers, text_keys

Band = Literal["unsolved", "hard", "medium", "easy", "trivial"]
BANDS: tuple[Band, ...] = get_args(Band)
Values = npt.NDArray[np.float64]

_HARD, _MEDIUM = 0.3, 0.7  # the upper ends of these bands
_ROUNDING = 1e-9  # 7 of 10 is in the band that ends at 0.7
_ENOUGH = 4  # attempts
_Z = 1.959963984540054  # of 95 %


@dataclass(frozen=True)
class PassRates:
    """One entry a query, in the order of their ids.

    name: `pass_rate` of outcomes, `difficulty_proxy` of vote shares.
    attempts, successes: int64 (q,); runs with a known outcome, and those that succeeded; of vote
        shares, the runs and those of the largest class.
    rate, low, high: float64 (q,), with Wilson's 95 % interval; NaN without an attempt.
    bands: None without an attempt.
    low_n: bool (q,), fewer than four attempts.
    """

    name: Literal["pass_rate", "difficulty_proxy"]
    query_ids: tuple[str, ...]
    attempts: npt.NDArray[np.int64]
    successes: npt.NDArray[np.int64]
    rate: Values
    low: Values
    high: Values
    bands: tuple[Band | None, ...]
    low_n: npt.NDArray[np.bool_]

    def of_rows(self, query_ids: Sequence[str]) -> list[Band | None]:
        """The band of each row's query; None for a query that is not here."""
        bands = dict(zip(self.query_ids, self.bands, strict=True))
        return [bands.get(query_id) for query_id in query_ids]


def outcomes(
    rewards: Sequence[float | None],
    successes: Sequence[bool | None],
    threshold: float | None = None,
) -> Values:
    """Whether each run succeeded: 1, 0, or NaN where nothing says so, float64 (n,).

    threshold: the least reward of a success. None: the run's own `success` where it has one, else
        a reward of at least 1. A reward that is no number says nothing.
    """
    reward = np.array([np.nan if r is None else r for r in rewards], dtype=np.float64)
    least = 1.0 if threshold is None else threshold
    passed = np.where(np.isnan(reward), np.nan, reward >= least - _ROUNDING)
    said = np.array([np.nan if s is None else float(s) for s in successes], dtype=np.float64)
    first, second = (said, passed) if threshold is None else (passed, said)
    return np.where(np.isnan(first), second, first)


def pass_rates(query_ids: Sequence[str], outcome: Values) -> PassRates:
    """Pass rates of the runs of each query.

    outcome: 1, 0, or NaN for unknown, float64 (n,), as `outcomes` gives it.
    """
    names, groups = group_numbers(query_ids)
    known = ~np.isnan(outcome)
    attempts = np.bincount(groups[known], minlength=len(names))
    passed = np.bincount(groups[known & (outcome == 1)], minlength=len(names))
    return _rates("pass_rate", names, attempts, passed)


def difficulty_proxy(query_ids: Sequence[str], in_largest: Sequence[bool]) -> PassRates:
    """Without rewards: the vote share of each query's largest class of answers.

    It is no pass rate: agreement is not correctness, and a query can be trivial to get wrong.

    in_largest: whether each run is in the largest class of its query.
    """
    names, groups = group_numbers(query_ids)
    attempts = np.bincount(groups, minlength=len(names))
    votes = np.bincount(groups[np.asarray(in_largest, dtype=np.bool_)], minlength=len(names))
    return _rates("difficulty_proxy", names, attempts, votes)


def _rates(
    name: Literal["pass_rate", "difficulty_proxy"],
    names: list[str],
    attempts: npt.NDArray[np.int64],
    successes: npt.NDArray[np.int64],
) -> PassRates:
    rate = np.full(len(names), np.nan)
    np.divide(successes, attempts, out=rate, where=attempts > 0)
    low, high = wilson(successes, attempts)
    bands = tuple(band_of(value) for value in rate.tolist())
    return PassRates(
        name, tuple(names), attempts, successes, rate, low, high, bands, attempts < _ENOUGH
    )


def wilson(
    successes: npt.NDArray[np.int64], attempts: npt.NDArray[np.int64]
) -> tuple[Values, Values]:
    """Wilson's score interval at 95 % (Wilson 1927), float64; NaN without an attempt."""
    n = np.where(attempts > 0, attempts, np.nan).astype(np.float64)
    p = successes / n
    centre = p + _Z**2 / (2 * n)
    half = _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    whole = 1 + _Z**2 / n
    # Without a success, or without a failure, one end is exact; rounding must not hide it.
    low = np.where(successes == 0, 0 * n, (centre - half) / whole)
    high = np.where(successes == attempts, 1 + 0 * n, (centre + half) / whole)
    return low, high


def band_of(rate: float) -> Band | None:
    """Unsolved 0, hard up to 0.3, medium up to 0.7, easy below 1, trivial 1; None for NaN."""
    if np.isnan(rate):
        return None
    if rate <= 0:
        return "unsolved"
    if rate >= 1:
        return "trivial"
    if rate <= _HARD + _ROUNDING:
        return "hard"
    return "medium" if rate <= _MEDIUM + _ROUNDING else "easy"


def curriculum_rank(
    traj_ids: Sequence[str],
    bands: Sequence[Band | None],
    hops: Sequence[int | None],
    turns: Sequence[int],
    seed: int,
) -> npt.NDArray[np.int64]:
    """Each row's place in a curriculum, easiest 0, int64 (n,).

    Sorted by band, then hops, then turns, ties by a seeded hash of the id. What has no band, or no
    hops among equals, comes last.
    """
    steps: dict[Band | None, int] = {band: -place for place, band in enumerate(BANDS)}
    band = np.array([steps.get(b, 1) for b in bands], dtype=np.int64)
    last = np.iinfo(np.int64).max
    hop = np.array([last if h is None else h for h in hops], dtype=np.int64)
    tie = draws(text_keys(traj_ids), seed, "curriculum")
    order = np.lexsort((tie, np.asarray(turns, dtype=np.int64), hop, band))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks
