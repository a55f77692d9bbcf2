"""Selection: from scores to decisions. One strategy a file, each defines `STRATEGY`; all pure.

A strategy orders the rows of one pool, best to keep first, and names the reason for what it drops.
Budgets, class quotas, floors and tie-breaks are the same for all and live in `_decide`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64
from dataprune.core.registry import Registry

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The rows that compete for one budget.

    scores: float64 (n,), higher is harder.
    ties: uint64 (n,), distinct, seeded, a function of the row alone: the order of equal scores.
    budget: how many will be kept.
    """

    scores: npt.NDArray[np.float64]
    ties: UInt64
    budget: int


@dataclass(frozen=True)
class Order:
    """A strategy's answer.

    places: int64 (n,), positions in the pool, best to keep first.
    dropped: str (n,), the reason each position would be dropped for, by position in the pool.
    """

    places: Rows
    dropped: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Strategy:
    """A registered strategy; keyword-only parameters of `order` are the user's."""

    name: str
    order: Callable[..., Order]
    needs_score: bool = True


STRATEGIES: Registry[Strategy] = Registry("dataprune.selection", "STRATEGY", "strategy")
