"""Which columns of a score table decide, and what is known of them."""

from __future__ import annotations

import inspect

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError, nearest
from dataprune.core.recipe import Recipe
from dataprune.selection import Column
from dataprune.selection._choice import Choice, Step
from dataprune.selection._label_issues import check_flagged
from dataprune.tables.ledger import is_ledger, kept_rows
from dataprune.tables.scores import ScoreTable


def column_of(table: ScoreTable, recipe: Recipe, choice: Choice, by: str | None) -> str:
    """The column that decides, once what the choice needs is found to be there.

    Raises:
        UsageError: flags that are not there, a score that is named and not used, or there is none.
    """
    if choice.drops_label_issues:
        check_flagged(table, "drop_likely" if choice.drop_likely else "flagged")
    if choice.relabel:
        check_flagged(table, "relabel")
    if by is not None and not choice.reads_score:
        names = " and ".join(step.strategy for step in (*choice.before, choice.last))
        raise UsageError(f"strategy {names} uses no score, and --by names {by}")
    return by or default_column(table, recipe)


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


def columns_read(table: ScoreTable, choice: Choice) -> dict[str, Column]:
    """The scores that parameters of strategies name, beside the one decided by.

    Raises:
        UsageError: there is no such score.
    """
    names = [name for step in (*choice.before, choice.last) for name in named_scores(step)]
    return {
        name: Column(table.values(name, among=competing(table)), is_easier(table, name))
        for name in names
    }


def named_scores(step: Step) -> list[str]:
    """Score columns that a step's parameters name, or their defaults."""
    plugin, found = step.plugin, []
    usual = inspect.signature(plugin.function).parameters
    for parameter in plugin.reads:
        name = step.params.get(parameter, usual[parameter].default)
        if name is not None and not isinstance(name, str):
            raise UsageError(f"{parameter} is {name!r}", hint="give the name of a score")
        found += [name] if name else []
    return found


def higher_is(table: ScoreTable, column: str) -> str:
    word: str = table.meta["scores"].get(column, {}).get("higher_is", "harder")
    return word


def is_easier(table: ScoreTable, column: str) -> bool:
    """Whether a score is higher for easier rows."""
    return higher_is(table, column) == "easier"


def other_word(reason: str) -> str:
    """A reason by a score that is higher for easier rows: what was too high was too easy."""
    return {"too_hard": "too_easy", "too_easy": "too_hard"}.get(reason, reason)


def competing(table: ScoreTable) -> npt.NDArray[np.bool_] | None:
    """Of a ledger, the rows that compete, bool (n,); None for all."""
    return kept_rows(table.table) if is_ledger(table.meta) else None
