"""Whole-number budgets: how many rows to keep, and how they are shared out over classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError

Counts = npt.NDArray[np.int64]


def parse_keep(text: str, option: str = "--keep") -> float | int:
    """An option as typed: a whole number is a count; a point or a percent sign is a fraction.

    Raises:
        UsageError: neither.
    """
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return float(text) if any(c in text for c in ".eE") else int(text)
    except ValueError as exc:
        raise UsageError(
            f"{option} is {text!r}",
            hint="give a count (25000), a fraction (0.5) or a percentage (50%)",
        ) from exc


def budget_rows(keep: object, num_rows: int) -> int:
    """Rows to keep of `num_rows`: a float in (0, 1] is a fraction, `round(keep * num_rows)`.

    Raises:
        UsageError: out of range, or it keeps nothing.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float):
        raise UsageError(f"keep is {keep!r}", hint="give a count or a fraction in (0, 1]")
    if isinstance(keep, float):
        if not 0 < keep <= 1:
            whole = keep > 1 and keep.is_integer()
            hint = f"{int(keep)} without a point is a count" if whole else None
            raise UsageError(f"keep is {keep}, a fraction must be in (0, 1]", hint=hint)
        budget = round(keep * num_rows)
        if budget == 0:
            raise UsageError(f"keep {keep} of {num_rows} rows is no row", hint="keep more")
        return budget
    if not 1 <= keep <= num_rows:
        raise UsageError(f"keep is {keep}, and the source has {num_rows} rows")
    return keep


def class_quotas(
    mode: str, budget: int, sizes: Counts, floor: int, class_names: list[str]
) -> Counts:
    """Rows to keep of each class; sums to `budget` exactly.

    mode: "proportional" shares by size, by largest remainder; "equal" gives each class the same,
        small classes whole and the rest shared on. No class gets fewer than `floor`.

    Raises:
        UsageError: a class is smaller than the floor, or the floors exceed the budget.
    """
    check_floor(budget, sizes, floor, class_names)
    weights = sizes if mode == "proportional" else (sizes > 0).astype(np.int64)
    return weighted_quotas(budget, weights, sizes, floor)


def weighted_quotas(budget: int, weights: Counts, sizes: Counts, floor: int = 0) -> Counts:
    """Rows to keep of each class, in proportion to whole weights; sums to `budget` exactly.

    A class that cannot take its share is kept whole, and the rest is shared on by the weights of
    the others, by their sizes where none has a weight. budget is at most the sum of sizes, and
    budget times the sum of weights below 2 ** 63.
    """
    lower = np.where(sizes > 0, floor, 0)
    quotas = np.zeros_like(sizes)
    fixed = np.zeros(len(sizes), dtype=np.bool_)
    while True:  # pin classes that hit a bound, share the rest again: a class is pinned only once
        open_classes = ~fixed
        shares = weights if weights[open_classes].any() else sizes
        quotas[open_classes] = _largest_remainder(
            budget - int(quotas[fixed].sum()), shares[open_classes]
        )
        over, under = quotas > sizes, quotas < lower
        excess = int((quotas - sizes)[over].sum())
        lack = int((lower - quotas)[under].sum())
        if not excess and not lack:
            return quotas
        pinned = over if excess >= lack else under
        quotas[pinned] = (sizes if excess >= lack else lower)[pinned]
        fixed |= pinned


def check_floor(budget: int, sizes: Counts, floor: int, class_names: list[str]) -> None:
    """Refuse floors that cannot be held.

    Raises:
        UsageError: a class is smaller than the floor, or the floors exceed the budget.
    """
    short = np.flatnonzero((sizes < floor) & (sizes > 0))
    if len(short):
        name = class_names[short[0]]
        raise UsageError(
            f"class {name} has {sizes[short[0]]} rows, fewer than the {floor} to keep of each",
            hint="lower --min-per-class",
        )
    present = int((sizes > 0).sum())
    if floor * present > budget:
        raise UsageError(
            f"{floor} rows of each of {present} classes are more than the {budget} to keep",
            hint="keep more, or lower --min-per-class",
        )


def _largest_remainder(total: int, weights: Counts) -> Counts:
    """Whole shares of `total` in proportion to whole weights (Hamilton); ties to the first class.

    In integers throughout: remainders that are equal must compare as equal.
    """
    whole = int(weights.sum())
    if total <= 0 or whole == 0:
        return np.zeros_like(weights)
    shares, remainders = np.divmod(total * weights, whole)
    rest = total - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:rest]] += 1
    return shares
