"""Decisions for every row: a strategy, an exact budget, class quotas and floors, reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError, nearest
from dataprune.core.fingerprint import mix64
from dataprune.core.params import check_params
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection import STRATEGIES, Order, Pool, Strategy
from dataprune.selection._excluded import Excluded, excluded_rows
from dataprune.selection._quotas import budget_rows, check_floor, class_quotas
from dataprune.tables import decisions
from dataprune.tables.examples import GROUP, NO_CLASSES, occurrences, with_label_type
from dataprune.tables.ledger import is_ledger
from dataprune.tables.scores import ScoreTable

TIE_BREAK = "splitmix64 of the row, seeded"
_MANY_TIES = 0.1  # of the kept rows
_CROSSOVER = 0.4


@dataclass(frozen=True)
class Choice:
    """What to keep.

    keep: a float is a fraction in (0, 1], an int a count; None for every row that may be kept.
    balance: "none" (one global pool), "proportional" or "equal" (a quota per class), or "matched"
        (the quotas given, as a control copies them from its version).
    min_per_class: floor for every class that has rows.
    max_per_group: rows of one group of near-duplicates that may be kept; None for all.
    drop_likely: drop rows that are flagged likely before the rest competes.
    relabel: give the rows that are flagged likely a suggested label beside their own.
    """

    strategy: str
    keep: float | int | None
    params: dict[str, Any]
    balance: str = "none"
    min_per_class: int = 0
    seed: int = 0
    quotas: tuple[int, ...] | None = None
    max_per_group: int | None = None
    drop_likely: bool = False
    relabel: bool = False


def make_choice(
    defaults: PruneRecipe,
    *,
    keep: float | int | None,
    strategy: str | None,
    params: dict[str, Any] | None,
    balance: str | None,
    min_per_class: int | None,
    seed: int | None,
    max_per_group: int | None = None,
    drop_likely: bool | None = None,
    relabel: bool | None = None,
) -> Choice:
    """What was asked for, and the recipe's defaults for what was not.

    Who asks for `drop_likely` or `relabel` and names no `keep` keeps all the others: the recipe's
    `keep` was made for something else then, unless the recipe asks for that option itself.

    Raises:
        UsageError: neither says how much to keep, or one of the two leaves the other no effect.
    """
    drops = defaults.drop_likely if drop_likely is None else drop_likely
    relabels = defaults.relabel if relabel is None else relabel
    if drops and relabels:
        raise UsageError(
            "relabel has no effect with drop_likely: no row with a suggested label would be kept",
            hint="leave one out; what the recipe asks for goes by --no-relabel or --no-drop-likely",
        )
    anew = (drops and not defaults.drop_likely) or (relabels and not defaults.relabel)
    wanted = defaults.keep if keep is None and not anew else keep
    if wanted is None and not (drops or relabels):
        raise UsageError("nothing says how much to keep", hint="give --keep 0.5 or --keep 25000")
    same_strategy = strategy in {None, defaults.strategy}
    return Choice(
        strategy=strategy or defaults.strategy,
        keep=wanted,
        params=params or (defaults.params if same_strategy else {}),
        balance=balance or defaults.class_balance,
        min_per_class=defaults.min_per_class if min_per_class is None else min_per_class,
        max_per_group=defaults.max_per_group if max_per_group is None else max_per_group,
        seed=defaults.seed if seed is None else seed,
        drop_likely=drops,
        relabel=relabels,
    )


def default_column(table: ScoreTable, recipe: Recipe) -> str:
    """The column that a recipe decides by, else its first score.

    Raises:
        UsageError: the recipe names a column that the table lacks.
    """
    first = table.columns[0] if is_ledger(table.meta) else recipe.score_names[0]
    column = recipe.prune.by or first
    if column not in table.columns:
        raise UsageError(
            f"recipe {recipe.name} decides by {column}, and the score table has no such column",
            hint=f"choose with --by; {nearest(column, table.columns)}",
        )
    return column


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
    """A decision for every example: exactly `budget_rows(choice.keep, n)` of all are kept.

    What a curation rejected is dropped first, and likely label issues, if that is chosen; then
    groups give up what is too many; quotas and floors share out what is left.

    examples: the examples table, any order; a row's decision does not depend on its place. With
        flags beside it, for `drop_likely`; or a ledger.
    scores: float64 (n,), finite, beside it.

    Raises:
        UsageError: the budget, quotas, floors or parameters cannot be met.
    """
    strategy = check_strategy(choice.strategy, choice.params)
    labels, names = _strata(examples, class_names, choice)
    ties = mix64(examples.column("row").to_numpy(), "ties", strategy.name, choice.seed)
    out = excluded_rows(examples, ties, drop_likely=choice.drop_likely)
    left = _without(np.arange(len(labels)), out.rows, len(labels))
    budget = _budget(choice, len(labels), len(left), out.why)
    allowed = _within_groups(strategy, examples, Pool(scores, ties, budget), left, choice)
    if choice.keep is None:
        budget = len(allowed)
    sizes = np.bincount(labels[allowed], minlength=len(names))
    if choice.balance == "none":
        quotas, floor = np.asarray([budget]), choice.min_per_class
        pools = [allowed]
    else:
        quotas, floor = np.asarray(choice.quotas or (), dtype=np.int64), 0
        if choice.quotas is None:
            quotas = class_quotas(choice.balance, budget, sizes, choice.min_per_class, names)
        pools = [allowed[labels[allowed] == label] for label in range(len(names))]
    if floor:
        check_floor(budget, sizes, floor, names)
    parts = []
    for name, rows, quota in zip(_pool_names(names, choice), pools, quotas.tolist(), strict=True):
        if quota > len(rows):
            raise UsageError(
                f"{quota} rows of class {name} are to be kept, and {len(rows)} may be",
                hint="allow more rows per group, or keep fewer",
            )
        if len(rows):
            order = strategy.order(Pool(scores[rows], ties[rows], quota), **choice.params)
            parts.append(_taken(rows, order, quota, labels, floor))
    left_out = _without(left, allowed, len(labels))
    if len(left_out):
        parts.append((left_out, np.zeros(len(left_out), dtype=np.bool_), "group_is_full", ""))
    table = _assemble(examples, scores, parts, out, strategy.name)
    assert int(np.sum(table.column("keep").to_numpy(zero_copy_only=False))) == budget
    return table


def _without(rows: Rows, taken: Rows, num_rows: int) -> Rows:
    """The rows that are not taken, in their order; a set difference would hash every one."""
    stays = np.ones(num_rows, dtype=np.bool_)
    stays[taken] = False
    return rows[stays[rows]]


def _pool_names(names: list[str], choice: Choice) -> list[str]:
    return [NO_CLASSES] if choice.balance == "none" else names


def _strata(examples: pa.Table, class_names: list[str], choice: Choice) -> tuple[Rows, list[str]]:
    """What quotas and floors are counted by: classes; one stratum where rows are of no one class.

    Raises:
        UsageError: a balance or floor is asked for, and there are no classes to count by.
    """
    label = examples.column("label")
    if pa.types.is_integer(label.type):
        return label.to_numpy().astype(np.int64), class_names
    asked = choice.balance if choice.balance != "none" else None
    asked = asked or (f"a floor of {choice.min_per_class}" if choice.min_per_class else None)
    if asked:
        raise UsageError(
            f"class balance ({asked}) wants one class per row, and labels here are {label.type}",
            hint="leave --class-balance and --min-per-class out",
        )
    return np.zeros(len(examples), dtype=np.int64), [NO_CLASSES]


def _budget(choice: Choice, num_rows: int, num_left: int, why: str) -> int:
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
    pool = Pool(pool.scores[left], pool.ties[left], pool.budget)
    places = left[strategy.order(pool, **choice.params).places]
    groups = examples.column(GROUP.name).to_numpy()[places]
    allowed = np.sort(places[occurrences(groups) < limit])
    if choice.keep is not None and len(allowed) < pool.budget:
        raise UsageError(
            f"{len(allowed)} rows are left with {limit} of each group, and {pool.budget} are to be "
            "kept",
            hint="keep fewer, or allow more per group",
        )
    return allowed


Rows = npt.NDArray[np.int64]
Part = tuple[Rows, npt.NDArray[np.bool_], Any, Any]


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


def warnings_for(table: pa.Table, choice: Choice, class_names: list[str]) -> list[str]:
    """What a careful colleague would say about these decisions."""
    found = []
    keep = table.column("keep").to_numpy(zero_copy_only=False)
    share = keep.mean()
    if choice.strategy == "hardest" and share < _CROSSOVER:
        found.append(
            f"hardest keeps {share:.0%}: papers find that below about 40 % the hardest rows train "
            "worse than random ones (sooner on data of many classes); compare with --control"
        )
    counts = decisions.count_by_class(table, class_names)
    gone = [name for name, count in counts.items() if count["source"] and not count["kept"]]
    if gone:
        shown = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
        found.append(
            f"no row is kept of {len(gone)} classes: {shown}; set --min-per-class or "
            "--class-balance to keep some"
        )
    return found


def warnings_of_ties(
    table: pa.Table, values: npt.NDArray[np.float64], by: str, higher_is: str, strategy: str
) -> list[str]:
    """What to know of the score itself: it is a control, or much was drawn among equal values.

    values: the score that the decisions were made by, (n,). strategy: the rule of rows that
        competed.
    """
    found = []
    if higher_is == "nothing" and by != "random":
        found.append(f"{by} is a control: it does not tell which rows are hard")
    competed = pc.equal(table.column("rule"), strategy).to_numpy(zero_copy_only=False)
    keep = table.column("keep").to_numpy(zero_copy_only=False)[competed]
    values = values[competed]
    both = np.isin(values, np.intersect1d(values[keep], values[~keep]))
    drawn, among = int((both & keep).sum()), int(both.sum())
    if drawn > _MANY_TIES * keep.sum():
        found.append(
            f"{drawn} of the {int(keep.sum())} kept rows were drawn among {among} that tie in {by}"
        )
    return found
