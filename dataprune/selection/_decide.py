"""Decisions for every row: a strategy, an exact budget, class quotas and floors, reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import mix64
from dataprune.core.params import check_params
from dataprune.core.recipe import PruneRecipe
from dataprune.selection import STRATEGIES, Order, Pool, Strategy
from dataprune.selection._quotas import budget_rows, check_floor, class_quotas
from dataprune.tables import decisions
from dataprune.tables.examples import occurrences

TIE_BREAK = "splitmix64 of the row, seeded"
_CROSSOVER = 0.4


@dataclass(frozen=True)
class Choice:
    """What to keep.

    keep: a float is a fraction in (0, 1], an int a count.
    balance: "none" (one global pool), "proportional" or "equal" (a quota per class), or "matched"
        (the quotas given, as a control copies them from its version).
    min_per_class: floor for every class that has rows.
    """

    strategy: str
    keep: float | int
    params: dict[str, Any]
    balance: str = "none"
    min_per_class: int = 0
    seed: int = 0
    quotas: tuple[int, ...] | None = None


def make_choice(
    defaults: PruneRecipe,
    *,
    keep: float | int | None,
    strategy: str | None,
    params: dict[str, Any] | None,
    balance: str | None,
    min_per_class: int | None,
    seed: int | None,
) -> Choice:
    """What was asked for, and the recipe's defaults for what was not.

    Raises:
        UsageError: neither says how much to keep.
    """
    wanted = defaults.keep if keep is None else keep
    if wanted is None:
        raise UsageError("nothing says how much to keep", hint="give --keep 0.5 or --keep 25000")
    same_strategy = strategy in {None, defaults.strategy}
    return Choice(
        strategy=strategy or defaults.strategy,
        keep=wanted,
        params=params or (defaults.params if same_strategy else {}),
        balance=balance or defaults.class_balance,
        min_per_class=defaults.min_per_class if min_per_class is None else min_per_class,
        seed=defaults.seed if seed is None else seed,
    )


def check_strategy(name: str, params: dict[str, Any]) -> Strategy:
    """The strategy of that name, if it takes these parameters.

    Raises:
        UsageError: no such strategy, or an unknown or missing parameter.
    """
    strategy = STRATEGIES.get(name)
    check_params(strategy.order, params, what=f"strategy {name}")
    return strategy


def decide(
    examples: pa.Table,
    scores: npt.NDArray[np.float64],
    class_names: list[str],
    choice: Choice,
) -> pa.Table:
    """A decision for every example: exactly `budget_rows(choice.keep, n)` are kept.

    examples: the examples table, any order; a row's decision does not depend on its place.
    scores: float64 (n,), finite, beside it.

    Raises:
        UsageError: the budget, quotas, floors or parameters cannot be met.
    """
    strategy = check_strategy(choice.strategy, choice.params)
    labels = examples.column("label").to_numpy().astype(np.int64)
    ties = mix64(examples.column("row").to_numpy(), "ties", strategy.name, choice.seed)
    budget = budget_rows(choice.keep, len(labels))
    if choice.balance == "none":
        parts = [_global(strategy, scores, ties, labels, budget, choice, class_names)]
    else:
        sizes = np.bincount(labels, minlength=len(class_names))
        if choice.quotas is None:
            quotas = class_quotas(choice.balance, budget, sizes, choice.min_per_class, class_names)
        else:
            quotas = np.asarray(choice.quotas, dtype=np.int64)
        parts = []
        for label, quota in enumerate(quotas):
            rows = np.flatnonzero(labels == label)
            if len(rows):
                pool = Pool(scores[rows], ties[rows], int(quota))
                order = strategy.order(pool, **choice.params)
                kept = np.arange(len(rows)) < quota
                parts.append((rows[order.places], kept, order.dropped[order.places], "kept"))
    table = _assemble(examples, scores, parts, strategy.name)
    assert int(np.sum(table.column("keep").to_numpy(zero_copy_only=False))) == budget
    return table


Part = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.str_], Any]


def _global(
    strategy: Strategy,
    scores: npt.NDArray[np.float64],
    ties: npt.NDArray[np.uint64],
    labels: npt.NDArray[np.int64],
    budget: int,
    choice: Choice,
    class_names: list[str],
) -> Part:
    """One pool; each class's floor is kept first, then the strategy's order fills the budget."""
    order: Order = strategy.order(Pool(scores, ties, budget), **choice.params)
    places, floor = order.places, choice.min_per_class
    dropped = order.dropped[places]
    if floor == 0:
        return places, np.arange(len(places)) < budget, dropped, "kept"
    sizes = np.bincount(labels, minlength=len(class_names))
    check_floor(budget, sizes, floor, class_names)
    by_floor = occurrences(labels[places]) < floor
    rest = np.flatnonzero(~by_floor)[: budget - int(by_floor.sum())]
    kept = by_floor.copy()
    kept[rest] = True
    within = np.arange(len(places)) < budget
    reasons = np.where(by_floor & ~within, "kept_for_floor", "kept")
    return places, kept, np.where(within, "displaced_by_floor", dropped), reasons


def _assemble(
    examples: pa.Table, scores: npt.NDArray[np.float64], parts: list[Part], rule: str
) -> pa.Table:
    n = len(examples)
    keep = np.zeros(n, dtype=np.bool_)
    rank = np.zeros(n, dtype=np.int64)
    reason = np.empty(n, dtype=object)
    for rows, kept, dropped, why_kept in parts:
        keep[rows] = kept
        rank[rows] = np.arange(len(rows))
        reason[rows] = np.where(kept, why_kept, dropped)
    columns = [examples.column(name) for name in examples.schema.names[:4]]
    added = [
        pa.array(keep),
        pa.array(reason, pa.string()),
        pa.array([rule] * n, pa.string()),
        pa.array(rank),
        pa.array(scores.astype(np.float32)),
    ]
    return pa.table([*columns, *added], schema=decisions.SCHEMA)


def warnings_for(table: pa.Table, choice: Choice, class_names: list[str]) -> list[str]:
    """What a careful colleague would say about these decisions."""
    found = []
    labels = table.column("label").to_numpy()
    keep = table.column("keep").to_numpy(zero_copy_only=False)
    share = keep.mean()
    if choice.strategy == "hardest" and share < _CROSSOVER:
        found.append(
            f"hardest keeps {share:.0%}: papers find that below about 40 % the hardest rows train "
            "worse than random ones (sooner on data of many classes); compare with --control"
        )
    before = np.bincount(labels, minlength=len(class_names))
    after = np.bincount(labels[keep], minlength=len(class_names))
    gone = [class_names[i] for i in np.flatnonzero((before > 0) & (after == 0))]
    if gone:
        shown = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
        found.append(
            f"no row is kept of {len(gone)} classes: {shown}; set --min-per-class or "
            "--class-balance to keep some"
        )
    return found
