"""Decisions for every row: a strategy, an exact budget, class quotas and floors, reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import mix64
from dataprune.selection import Column, Order, Pool, Rows, Strategy
from dataprune.selection._choice import Choice, check_strategy
from dataprune.selection._excluded import Excluded, excluded_rows, without
from dataprune.selection._quotas import budget_rows, check_floor, class_quotas
from dataprune.selection._steps import part_of, without_dropped
from dataprune.tables import decisions
from dataprune.tables.examples import GROUP, NO_CLASSES, occurrences, with_label_type

TIE_BREAK = "splitmix64 of the row, seeded"
Part = tuple[Rows, npt.NDArray[np.bool_], Any, Any]


def decide(
    examples: pa.Table,
    scores: npt.NDArray[np.float64],
    class_names: list[str],
    choice: Choice,
    *,
    easier: bool = False,
    columns: Mapping[str, Column] | None = None,
    features: npt.NDArray[np.float32] | None = None,
) -> pa.Table:
    """A decision for every example: exactly `budget_rows(choice.keep, n)` of all are kept.

    What a curation rejected is dropped first, and likely label issues, if that is chosen; then come
    the filters; then groups give up what is too many; quotas and floors share out what is left.

    examples: the examples table, any order; a row's decision does not depend on its place. With
        flags beside it, for `drop_likely` and filters; or a ledger.
    scores: float64 (n,), finite, beside it. easier: whether higher ones are of easier rows.
    columns: further scores that parameters name. features: float32 (n, D), finite, if need be.

    Raises:
        UsageError: the budget, quotas, floors or parameters cannot be met.
    """
    strategy = check_strategy(choice.strategy, choice.params)
    labels, names = strata(examples, class_names, choice, strategy)
    ties = mix64(examples.column("row").to_numpy(), "ties", strategy.name, choice.seed)
    of_class = None if names == [NO_CLASSES] else labels
    everything = Pool(scores, ties, len(labels), easier, columns or {}, of_class, features)
    out = excluded_rows(examples, ties, drop_likely=choice.drop_likely)
    left, out = without_dropped(examples, everything, choice, out)
    budget = check_budget(choice, len(labels), len(left), out.why)
    allowed = _within_groups(strategy, examples, replace(everything, budget=budget), left, choice)
    if choice.keep is None:
        budget = len(allowed)
    pools, quotas, floor = _shared_out(choice, labels, names, allowed, budget)
    parts = []
    for name, rows, quota in zip(_pool_names(names, choice), pools, quotas.tolist(), strict=True):
        if quota > len(rows):
            raise UsageError(
                f"{quota} rows of class {name} are to be kept, and {len(rows)} may be",
                hint="allow more rows per group, or keep fewer",
            )
        if len(rows):
            pool = replace(part_of(everything, rows), budget=quota)
            parts.append(_taken(rows, _ordered(strategy, pool, choice), quota, labels, floor))
    left_out = without(left, allowed)
    if len(left_out):
        parts.append((left_out, np.zeros(len(left_out), dtype=np.bool_), "group_is_full", ""))
    table = _assemble(examples, scores, parts, out, strategy.name)
    assert int(np.sum(table.column("keep").to_numpy(zero_copy_only=False))) == budget
    return table


def _ordered(strategy: Strategy, pool: Pool, choice: Choice) -> Order:
    assert strategy.order is not None, "make_choice lets a ranker alone come last"
    return strategy.order(pool, **choice.params)


def _shared_out(
    choice: Choice, labels: Rows, names: list[str], allowed: Rows, budget: int
) -> tuple[list[Rows], Rows, int]:
    """The pools, the quota of each, and the floor that is left to hold within a pool."""
    sizes = np.bincount(labels[allowed], minlength=len(names))
    if choice.balance == "none":
        if choice.min_per_class:
            check_floor(budget, sizes, choice.min_per_class, names)
        return [allowed], np.asarray([budget]), choice.min_per_class
    quotas = np.asarray(choice.quotas or (), dtype=np.int64)
    if choice.quotas is None:
        quotas = class_quotas(choice.balance, budget, sizes, choice.min_per_class, names)
    return [allowed[labels[allowed] == label] for label in range(len(names))], quotas, 0


def _pool_names(names: list[str], choice: Choice) -> list[str]:
    return [NO_CLASSES] if choice.balance == "none" else names


def strata(
    examples: pa.Table, class_names: list[str], choice: Choice, strategy: Strategy
) -> tuple[Rows, list[str]]:
    """What quotas and floors are counted by: classes; one stratum where rows are of no one class.

    Raises:
        UsageError: a balance or floor is asked for, and there are no classes to count by; or a
            balance beside a strategy that shares the budget among classes itself.
    """
    label = examples.column("label")
    if strategy.own_quotas and choice.balance != "none":
        raise UsageError(
            f"class balance ({choice.balance}) has no effect with {strategy.name}, which shares "
            "the budget among the classes itself",
            hint="leave --class-balance out, or say none",
        )
    if pa.types.is_integer(label.type):
        return label.to_numpy().astype(np.int64), class_names
    asked = choice.balance if choice.balance != "none" else None
    asked = asked or (strategy.name if strategy.own_quotas else None)
    asked = asked or (f"a floor of {choice.min_per_class}" if choice.min_per_class else None)
    if asked:
        raise UsageError(
            f"class balance ({asked}) wants one class per row, and labels here are {label.type}",
            hint="leave --class-balance and --min-per-class out",
        )
    return np.zeros(len(examples), dtype=np.int64), [NO_CLASSES]


def check_budget(choice: Choice, num_rows: int, num_left: int, why: str) -> int:
    """How many rows to keep; not more than are left when some are dropped first.

    A share is one of all rows. why: what those are that are dropped.

    Raises:
        UsageError: too few are left, or none.
    """
    if not num_left:
        raise UsageError(
            f"all {num_rows} rows are {why}, so that none would be left",
            hint="look at the reasons: they cannot be right",
        )
    budget = num_left if choice.keep is None else budget_rows(choice.keep, num_rows)
    if budget > num_left:
        raise UsageError(
            f"{num_left} of {num_rows} rows are left without the {why}, and {budget} are to be "
            "kept",
            hint="keep fewer, or leave --keep out to keep all that are left",
        )
    return budget


def _within_groups(
    strategy: Strategy, examples: pa.Table, pool: Pool, left: Rows, choice: Choice
) -> Rows:
    """Rows that may be kept, ascending: of each group the first few in the strategy's own order.

    pool: all rows. left: those of them that are not dropped already.

    Raises:
        UsageError: there are no groups, or too few rows are left for the budget.
    """
    limit = choice.max_per_group
    if limit is None:
        return left
    if GROUP.name not in examples.schema.names:
        raise UsageError(
            f"max_per_group is {limit}, and the score table has no group column",
            hint="score again with this dataprune: groups are found then",
        )
    pool = replace(part_of(pool, left), budget=pool.budget)
    places = left[_ordered(strategy, pool, choice).places]
    groups = examples.column(GROUP.name).to_numpy()[places]
    allowed = np.sort(places[occurrences(groups) < limit])
    if choice.keep is not None and len(allowed) < pool.budget:
        raise UsageError(
            f"{len(allowed)} rows are left with {limit} of each group, and {pool.budget} are to be "
            "kept",
            hint="keep fewer, or allow more per group",
        )
    return allowed


def _taken(rows: Rows, order: Order, quota: int, labels: Rows, floor: int) -> Part:
    """One pool; each class's floor is kept first, then the strategy's order fills the quota."""
    places = rows[order.places]
    dropped = order.dropped[order.places]
    within = np.arange(len(places)) < quota
    if floor == 0:
        return places, within, dropped, "kept"
    by_floor = occurrences(labels[places]) < floor
    rest = np.flatnonzero(~by_floor)[: quota - int(by_floor.sum())]
    kept = by_floor.copy()
    kept[rest] = True
    reasons = np.where(by_floor & ~within, "kept_for_floor", "kept")
    return places, kept, np.where(within, "displaced_by_floor", dropped), reasons


def _assemble(
    examples: pa.Table,
    scores: npt.NDArray[np.float64],
    parts: list[Part],
    out: Excluded,
    rule: str,
) -> pa.Table:
    """The decisions table; what never competed is ranked after all other rows, in its order."""
    n = len(examples)
    keep = np.zeros(n, dtype=np.bool_)
    rank = np.zeros(n, dtype=np.int64)
    reason = np.empty(n, dtype=object)
    for rows, kept, dropped, why_kept in parts:
        keep[rows] = kept
        rank[rows] = np.arange(len(rows))
        reason[rows] = np.where(kept, why_kept, dropped)
    rules = np.full(n, rule, dtype=object)
    rank[out.rows] = np.arange(n - len(out.rows), n)
    reason[out.rows], rules[out.rows] = out.reasons, out.rules
    columns = [examples.column(name) for name in examples.schema.names[:4]]
    added = [
        pa.array(keep),
        pa.array(reason, pa.string()),
        pa.array(rules, pa.string()),
        pa.array(rank),
        pa.array(scores.astype(np.float32)),
    ]
    schema = with_label_type(decisions.SCHEMA, examples.column("label").type)
    return pa.table([*columns, *added], schema=schema)
