"""Filters in order: each sees what those before it have left, and the first reason wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.selection import Left, Pool, Rows
from dataprune.selection._choice import Choice, check_strategy, labels_of
from dataprune.selection._excluded import Excluded, without
from dataprune.selection._label_issues import RULE


@dataclass(frozen=True)
class Stage:
    """One line of the waterfall: how many rows came in, were dropped, and are left."""

    step: str
    rows_in: int
    dropped: int
    left: int


def part_of(pool: Pool, places: Rows) -> Pool:
    """Some of the rows of a pool, all of which its budget could keep."""
    return Pool(
        scores=pool.scores[places],
        ties=pool.ties[places],
        budget=len(places),
        easier=pool.easier,
        columns={name: column.at(places) for name, column in pool.columns.items()},
        labels=None if pool.labels is None else pool.labels[places],
        features=None if pool.features is None else pool.features[places],
    )


def without_dropped(
    table: pa.Table, pool: Pool, choice: Choice, out: Excluded
) -> tuple[Rows, Excluded]:
    """Positions that every filter leaves, ascending; and all rows that are out, the first last.

    pool: all rows. out: rows that were dropped before any filter.
    """
    left = without(np.arange(len(table)), out.rows)
    for label, step in zip(labels_in(choice), choice.before, strict=False):
        plugin = check_strategy(step.strategy, step.params)
        assert plugin.drop is not None, "make_choice lets filters alone come first"
        seen = Left(table.take(pa.array(left)), part_of(pool, left))
        found = plugin.drop(seen, **step.params)
        rows = left[found.places]
        out = Excluded(
            rows=np.concatenate([rows, out.rows]),
            reasons=np.concatenate([found.reasons.astype(object), out.reasons]),
            rules=np.concatenate([np.full(len(rows), label, dtype=object), out.rules]),
            why=f"{out.why} and those that {label} drops"
            if len(out.rows)
            else f"rows that {label} drops",
        )
        left = without(left, rows)
    return left, out


def waterfall(decisions: pa.Table, choice: Choice) -> list[Stage]:
    """What each step dropped, in order; it follows from the decisions' reasons and rules."""
    dropped = decisions.filter(pc.invert(decisions.column("keep")))
    pairs = pa.table([dropped.column("rule"), dropped.column("reason")], names=["rule", "reason"])
    found = pairs.group_by(["rule", "reason"]).aggregate([([], "count_all")]).to_pylist()
    counts = {(each["rule"], each["reason"]): each["count_all"] for each in found}
    return waterfall_of(counts, len(decisions), choice)


def waterfall_of(
    dropped: Mapping[tuple[str, str], int], num_rows: int, choice: Choice
) -> list[Stage]:
    """The same from counts of dropped rows by rule and reason.

    A step that was given and dropped nothing has its line; what was not asked for has none.
    """
    counts: dict[str, int] = dict.fromkeys(_names(choice), 0)
    stages: list[tuple[str, int]] = []
    for (rule, reason), count in dropped.items():
        full = rule == choice.strategy and reason == "group_is_full"
        name = "max_per_group" if full else rule
        if name not in counts:  # of a ledger: the stage of the curation that rejected it
            stages.append((name, count))
        else:
            counts[name] += count
    rows_in, lines = num_rows, []
    for name, count in [*sorted(stages), *counts.items()]:
        lines.append(Stage(name, rows_in, count, rows_in - count))
        rows_in -= count
    return lines


def labels_in(choice: Choice) -> list[str]:
    """What each step is called, the ranker last."""
    return labels_of([*(step.strategy for step in choice.before), choice.strategy])


def _names(choice: Choice) -> list[str]:
    *before, last = labels_in(choice)
    names: list[Any] = [RULE] * choice.drop_likely
    names += [*before, *["max_per_group"] * (choice.max_per_group is not None), last]
    return names
