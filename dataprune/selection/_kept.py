"""Which rows of a plan are kept, as cuts of the pools: found in passes before any is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dataprune.selection import Rows
from dataprune.selection._cuts import Cuts, Part, Scan, find_cuts
from dataprune.selection._decide import check_budget
from dataprune.selection._passes import Plan, competing_rows, in_one_pool
from dataprune.selection._quotas import check_floor, class_quotas


@dataclass(frozen=True)
class Kept:
    """Which rows are kept: the best of each pool, and those that a floor puts before them.

    of_floor: the best of each class; best: of the rest, or of all where there is no floor; plain:
    what would be the best without a floor.
    """

    best: Cuts
    of_floor: Cuts | None = None
    plain: Cuts | None = None


def with_skipped(plan: Plan, most: int) -> Plan:
    """The plan, once it is known which rows its order skips.

    Raises:
        UsageError: the budget, quotas or floors cannot be met, beside what is skipped.
    """
    skip = plan.sort.skip
    if skip is None:
        return plan
    choice, quotas_of = plan.choice, _quotas_of(plan)
    if choice.min_per_class and not plan.by_class:
        sizes = _class_sizes(plan)
        check_floor(int(quotas_of(sizes)[0]), sizes, choice.min_per_class, plan.names)

    def skipped_of(sizes: Rows) -> Rows:
        pools = zip(sizes.tolist(), quotas_of(sizes).tolist(), strict=True)
        return np.asarray([skip(size, quota) if size else 0 for size, quota in pools])

    skipped, _ = find_cuts(_scan(plan, by_class=plan.by_class), skipped_of, most=most)
    return replace(plan, skipped=skipped)


def kept_by(plan: Plan, most: int) -> Kept:
    """The cuts of a plan that knows which rows it skips.

    Raises:
        UsageError: the budget, quotas or floors cannot be met.
    """
    floor = plan.choice.min_per_class
    plain, _ = find_cuts(_scan(plan, by_class=plan.by_class), _quotas_of(plan), most=most)
    if plan.by_class or not floor:
        return Kept(plain)

    def floors(sizes: Rows) -> Rows:
        check_floor(int(plain.quotas[0]), sizes, floor, plan.names)
        return np.where(sizes > 0, floor, 0)

    of_floor, _ = find_cuts(_scan(plan, by_class=True), floors, most=most)
    rest = plain.quotas - of_floor.quotas.sum()
    others = _scan(plan, by_class=False, without=of_floor)
    best, _ = find_cuts(others, lambda _: rest, most=most)
    return Kept(best, of_floor=of_floor, plain=plain)


def _quotas_of(plan: Plan) -> Callable[[Rows], Rows]:
    """From the sizes of the pools to the rows to keep of each."""
    choice = plan.choice

    def quotas(sizes: Rows) -> Rows:
        if plan.by_class and choice.quotas is not None:
            return np.asarray(choice.quotas, dtype=np.int64)
        why = "rows that are flagged or filtered"
        budget = check_budget(choice, plan.scan.num_rows, int(sizes.sum()), why)
        if not plan.by_class:
            return np.asarray([budget])
        return class_quotas(choice.balance, budget, sizes, choice.min_per_class, plan.names)

    return quotas


def _scan(plan: Plan, *, by_class: bool, without: Cuts | None = None) -> Scan:
    """A scan of the rows that compete, but for those within cuts of the classes."""

    def parts() -> Iterator[Part]:
        for part in competing_rows(plan):
            left = part if without is None else part.where(~without.within(part, plan.last_digits))
            yield left if by_class else in_one_pool(left)

    return Scan(parts, len(plan.names) if by_class else 1, plan.width, plan.last_digits)


def _class_sizes(plan: Plan) -> Rows:
    sizes = np.zeros(len(plan.names), dtype=np.int64)
    for part in competing_rows(plan):
        sizes += np.bincount(part.pools, minlength=len(sizes))
    return sizes
