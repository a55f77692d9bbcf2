"""Selection: from scores to decisions. One strategy a file, each defines `STRATEGY`; all pure.

Strategies are of two kinds. A *ranker* orders the rows of one pool, best to keep first, and names
the reason for what it drops; it comes last, and a budget says how many of its order are kept. A
*filter* drops rows by itself, without a budget; any number of them come before. What a strategy
reads beside the score decided by, it names by parameters, `reads`. Budgets, class quotas, floors
and tie-breaks are the same for all and live in `_decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.fingerprint import UInt64
from dataprune.core.registry import Registry

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One score of the rows of a pool.

    values: float64 (n,), as stored. easier: whether higher means easier; else harder, noisier ...
    """

    values: Values
    easier: bool = False

    @property
    def hardness(self) -> Values:
        """The score with its sign turned, if need be, so that higher is harder."""
        return -self.values if self.easier else self.values

    def at(self, places: Rows) -> Column:
        """The same score of some of the rows."""
        return Column(self.values[places], self.easier)


@dataclass(frozen=True)
class Pool:
    """The rows that compete for one budget.

    scores: float64 (n,), the score decided by, as stored.
    ties: uint64 (n,), distinct, seeded, a function of the row alone: the order of equal scores.
    budget: how many will be kept.
    easier: whether higher scores are of easier rows; else of harder ones.
    columns: further scores, by the names that parameters of `Strategy.reads` have as values.
    labels: int64 (n,), the class of each row; None where rows are of no one class.
    features: float32 (n, D), finite; None where no strategy asks for them.
    """

    scores: Values
    ties: UInt64
    budget: int
    easier: bool = False
    columns: Mapping[str, Column] = field(default_factory=dict)
    labels: Rows | None = None
    features: npt.NDArray[np.float32] | None = None

    def score(self, name: str | None) -> Column:
        """A score that a parameter names; None is the one decided by."""
        return Column(self.scores, self.easier) if name is None else self.columns[name]


@dataclass(frozen=True)
class Order:
    """A ranker's answer.

    places: int64 (n,), positions in the pool, best to keep first.
    dropped: str (n,), the reason each position would be dropped for, by position in the pool.
    """

    places: Rows
    dropped: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Sort:
    """An order that one column alone decides: selection can stream by it, without a sort.

    first: which rows come first: the highest or lowest scores, the hardest, or by the tie-break.
    dropped: the reason that a row is dropped for.
    skip: rows of the pool, budget -> how many of the first are skipped, and come last instead, the
        nearest to the others first. skipped: the reason that those are dropped for.
    """

    first: Literal["high", "low", "hard", "ties"]
    dropped: str
    skip: Callable[[int, int], int] | None = None
    skipped: str = ""

    def is_falling(self, *, easier: bool) -> bool:
        """Whether high scores come first."""
        return self.first == "high" or (self.first == "hard" and not easier)

    def order(self, pool: Pool) -> Order:
        """The order of all rows of a pool, by a sort."""
        if self.first == "ties":
            first = np.argsort(pool.ties, kind="stable")
        else:
            falling = self.is_falling(easier=pool.easier)
            first = np.lexsort((pool.ties, -pool.scores if falling else pool.scores))
        skip = 0 if self.skip is None else self.skip(len(first), pool.budget)
        width = max(len(self.dropped), len(self.skipped))
        dropped = np.full(len(first), self.dropped, dtype=f"U{width}")
        dropped[first[:skip]] = self.skipped
        return Order(np.concatenate([first[skip:], first[:skip][::-1]]), dropped)


@dataclass(frozen=True)
class Left:
    """The rows that no step before a filter has dropped.

    table: their rows of the score table, with every column of scores and flags.
    pool: the same rows; its budget is how many they are.
    """

    table: pa.Table
    pool: Pool


@dataclass(frozen=True)
class Dropped:
    """A filter's answer: positions to drop, int64 (k,), the surest last; and why, str (k,)."""

    places: Rows
    reasons: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Strategy:
    """A registered strategy; keyword-only parameters of `order` or `drop` are the user's.

    order: of a ranker; drop: of a filter. Exactly one of them is given.
    needs_score: whether it reads the score that is decided by.
    reads: names of parameters whose value is the name of a score column.
    draws: whether chance decides among rows of unequal scores, too.
    needs_features: whether it reads the rows' features.
    own_quotas: whether it shares its budget among the classes itself.
    sorts: of a ranker whose order is that of one column alone: parameters -> that order; selection
        can stream then. row_local: of a filter that looks at each row alone; it can stream, too.
    one_of: names of parameters of which exactly one is given.
    says: what it did, for people; {by} stands for the score. meanings: of its reasons.
    """

    name: str
    order: Callable[..., Order] | None = None
    needs_score: bool = True
    drop: Callable[..., Dropped] | None = None
    reads: tuple[str, ...] = ()
    draws: bool = False
    needs_features: bool = False
    own_quotas: bool = False
    sorts: Callable[..., Sort] | None = None
    row_local: bool = False
    one_of: tuple[str, ...] = ()
    says: str = "chose the rows by {by}"
    meanings: Mapping[str, str] = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Order | Dropped]:
        """What takes the user's parameters."""
        function = self.order or self.drop
        assert function is not None
        assert (self.order is None) != (self.drop is None), "a ranker or a filter, and not both"
        return function


STRATEGIES: Registry[Strategy] = Registry("dataprune.selection", "STRATEGY", "strategy")
