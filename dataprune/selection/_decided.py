"""From a score table to decisions: the column that decides, the rows, and what to be warned of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dataprune.core.recipe import Recipe
from dataprune.selection._choice import Choice, recipe_steps
from dataprune.selection._columns import (
    column_of,
    columns_read,
    competing,
    is_easier,
    other_word,
)
from dataprune.selection._columns import (
    higher_is as higher_is_of,
)
from dataprune.selection._decide import decide
from dataprune.selection._label_issues import relabelled, warnings_of_flags
from dataprune.selection._steps import Stage, waterfall
from dataprune.selection._stream import decide_in_parts, streams
from dataprune.selection._warnings import warnings_for, warnings_of_ties
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.features import Features
from dataprune.tables.join import LABEL_ISSUE
from dataprune.tables.ledger import is_ledger
from dataprune.tables.manifest import RowOrder
from dataprune.tables.scores import ScoreTable


@dataclass(frozen=True)
class Decided:
    """Decisions for every row of a score table.

    table: of decisions. column: the score beside them. by: that column, if a strategy reads it.
    waterfall: what each step dropped, in order.
    classes: per class, rows in the source, kept and dropped. reasons: rows per reason.
    relabelled: kept rows whose suggested label is not their own; None where none are suggested.
    """

    table: pa.Table
    column: str
    by: str | None
    classes: dict[str, dict[str, int]]
    reasons: dict[str, int]
    relabelled: int | None
    waterfall: list[Stage]
    warnings: list[str]

    @property
    def rows_out(self) -> int:
        """How many rows are kept."""
        return int(np.sum(self.table.column("keep").to_numpy(zero_copy_only=False)))


def decide_from_scores(
    table: ScoreTable,
    recipe: Recipe,
    choice: Choice,
    by: str | None,
    *,
    order: RowOrder = "source",
    features: Features | None = None,
) -> Decided:
    """Decide by a column of a score table, the recipe's where none is named.

    order: that the rows will be stored in; it decides nothing, and makes some choices matter.
    features: of its rows, if a step reads them.

    Raises:
        UsageError: no such column, flags that are not there, or as `decide`.
    """
    column = column_of(table, recipe, choice, by)
    class_names = table.meta["source"]["class_names"]
    if streams(table, choice, order):
        decisions = decide_in_parts(table, choice, column)
    else:
        decisions = _decided_at_once(table, choice, column, features)
    warnings = warnings_of(decisions, table, choice, column if choice.last.reads_score else None)
    warnings += _without_effect(table, recipe, choice, by, order)
    if table.origin(column)["status"] == "partial":
        warnings.append("the score table is partial: some units failed; score again to complete it")
    return Decided(
        table=decisions,
        column=column,
        by=column if choice.reads_score else None,
        classes=count_by_class(decisions, class_names),
        reasons=count_reasons(decisions),
        relabelled=int(relabelled(table.table, decisions).sum()) if choice.relabel else None,
        waterfall=waterfall(decisions, choice),
        warnings=warnings,
    )


def _decided_at_once(
    table: ScoreTable, choice: Choice, column: str, features: Features | None
) -> pa.Table:
    values = table.values(column, among=competing(table))
    easier, columns = is_easier(table, column), columns_read(table, choice)
    class_names = table.meta["source"]["class_names"]
    vectors = None if features is None else features.values
    decisions = decide(
        table.table, values, class_names, choice, easier=easier, columns=columns, features=vectors
    )
    if choice.last.reads_score and easier:
        return _named_the_other_way(decisions)
    return decisions


def _named_the_other_way(decisions: pa.Table) -> pa.Table:
    """Decisions with the reasons of a score that is higher for easier rows."""
    at = decisions.schema.get_field_index("reason")
    reasons = [other_word(word) for word in decisions.column("reason").to_pylist()]
    return decisions.set_column(at, decisions.schema.field(at), pa.array(reasons, pa.string()))


def _of_removals(table: ScoreTable, by: str) -> list[str]:
    """What the table itself says of scores of what was memorized, where they say nothing."""
    spec = table.meta["scores"].get(by, {})
    if spec.get("higher_is") != "more memorized" or spec.get("score") == "memorization":
        return []
    told = [about["warning"] for about in table.meta.get("removals", {}).values()]
    return [f"{by}: {warning}" for warning in told if warning is not None][-1:]


def _wrong_way(choice: Choice, by: str, higher_is: str) -> list[str]:
    """A strategy's name speaks of scores that are higher for harder rows."""
    other = {"hardest": "easiest", "easiest": "hardest"}.get(choice.strategy)
    if higher_is != "easier" or other is None:
        return []
    told = f"{by} is higher for easier rows: {choice.strategy} by it keeps the {other} ones"
    return [f"{told}; the other way round is --strategy {other}"]


def _without_effect(
    table: ScoreTable, recipe: Recipe, choice: Choice, by: str | None, order: RowOrder
) -> list[str]:
    """What was asked for and changes nothing: flags that nobody reads, a choice among all rows."""
    found = []
    reads_flags = choice.drops_label_issues or choice.relabel or by == LABEL_ISSUE
    reads_flags |= LABEL_ISSUE in columns_read(table, choice)
    if LABEL_ISSUE in table.origins and not reads_flags and recipe.prune.by != LABEL_ISSUE:
        found.append("flags change nothing without --drop-likely, --relabel or --by label_issue")
    if choice.keep is None:
        usual = recipe.prune
        asked = {
            "--by": by is not None
            and order == "source"
            and not any(step.reads_score for step in choice.before),
            "--strategy": not choice.before
            and choice.strategy != recipe_steps(usual)[-1].strategy
            and order == "source",
            "--class-balance": choice.balance != usual.class_balance and order == "source",
            "--min-per-class": choice.min_per_class != usual.min_per_class,
        }
        if names := ", ".join(name for name, given in asked.items() if given):
            found.append(f"without --keep every row that is left is kept: {names} chooses nothing")
    return found


def warnings_of(
    decisions: pa.Table, table: ScoreTable, choice: Choice, by: str | None
) -> list[str]:
    """What to know of decisions: it follows from what a version stores.

    by: the column that the ranker read, if it read one.
    """
    class_names = table.meta["source"]["class_names"]
    higher_is = higher_is_of(table, by) if by is not None else "harder"
    hard_is_low = higher_is == "easier" and not is_ledger(table.meta)  # whose runs train nothing
    found = warnings_for(decisions, choice, class_names, easier=hard_is_low)
    if by is not None:
        found += _wrong_way(choice, by, higher_is)
        found += _of_removals(table, by)
        found += warnings_of_ties(
            decisions, table.values(by, among=competing(table)), by, higher_is, choice.last
        )
    if choice.drops_label_issues or choice.relabel:
        found += warnings_of_flags(decisions, table, relabels=choice.relabel)
    return found
