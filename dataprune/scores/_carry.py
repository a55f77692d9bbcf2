"""Scores of a source that grew: rows scored before keep their score, new ones take the new.

Each row says where its scores come from, in the column `carried`: 0 where the units of the table
itself scored it, k where those of the k-th entry of the metadata's `carried` did.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.recipe import Recipe
from dataprune.tables.examples import first_columns
from dataprune.tables.manifest import SourceRef, portable_recipe
from dataprune.tables.matching import NEW, Rows, match_rows
from dataprune.tables.scores import CARRIED, ScoreTable

# Of a recipe, what scores depend on; where and when they are taken is in each column's spec.
_PROBING = ("task", "probe", "seed", "seeds", "holdout")
_READING = ("columns", "image", "groups")
_SCORING = ("mode", "window", "removal", "layer")


def why_not(old: ScoreTable, recipe: Recipe, class_names: list[str]) -> str | None:
    """Why scores of another table mean something else than the recipe's would; None if they do not.

    recipe: with its model named.
    """
    was, now = old.meta["recipe"], portable_recipe(recipe)
    changed = [key for key in _PROBING if was.get(key) != now[key]]
    changed += [f"scores.{key}" for key in _SCORING if was["scores"].get(key) != now["scores"][key]]
    for key in _READING:
        if was["source"].get(key) != now["source"][key]:
            changed.append(f"source.{key}")
    if changed:
        return f"{', '.join(changed)} of the recipe changed"
    if old.meta["source"]["class_names"] != class_names:
        return "the classes are others"
    for name in recipe.score_names:
        for column in _columns_of(name, recipe, old):
            spec = old.meta["scores"].get(column)
            if spec is None:
                return f"it has no column {column}"
            if column == name and spec.get("epoch") not in {None, 0, recipe.checkpoints[-1]}:
                return f"its {name} is of epoch {spec['epoch']}"
    return None


def _columns_of(name: str, recipe: Recipe, table: ScoreTable) -> list[str]:
    """Columns of a score: one for each checkpoint, unless it is of the untrained weights."""
    at_epochs = any(column.startswith(f"{name}@") for column in table.columns)
    return [*(f"{name}@{epoch}" for epoch in recipe.checkpoints if at_epochs), name]


def other_specs(fresh: ScoreTable, old: ScoreTable) -> str | None:
    """Why a column of two tables is not the same score; None if every one is."""
    for name in _scores_in(fresh):
        if fresh.meta["scores"][name] != old.meta["scores"].get(name):
            return f"column {name} is another score there: its score_spec differs"
    return None


def carry(fresh: ScoreTable, old: ScoreTable) -> ScoreTable:
    """The fresh table with the old scores of every row that the old table has.

    All score columns are carried with their spread, flags are not. Tables whose `other_specs` is
    None, of the same classes.
    """
    found = match_rows(fresh.table, old.table)
    table, known = fresh.table, found != NEW
    for name in _with_spread(fresh, old):
        at = table.schema.get_field_index(name)
        values = table.column(name).to_numpy().copy()
        values[known] = old.table.column(name).to_numpy()[found[known]]
        table = table.set_column(at, table.schema.field(at), pa.array(values))
    return _told(table, fresh.meta, old, found)


def all_carried(
    examples: pa.Table, ref: SourceRef, recipe: Recipe, old: ScoreTable
) -> ScoreTable | None:
    """A table of rows that were all scored before; None where some row is new.

    Of the very same source it is the old table, under the recipe of now. None, too, where it has
    features, which are in the order of the old rows and are not carried.
    recipe: whose scores the old table's are, by `why_not`.
    """
    now = {"source": ref.model_dump(mode="json"), "recipe": portable_recipe(recipe)}
    if ref.fingerprint == old.meta["source"]["fingerprint"]:
        return ScoreTable(old.table, {**old.meta, **now})
    found = match_rows(examples, old.table)
    if (found == NEW).any() or "features" in old.meta:
        return None
    wanted = {c for name in recipe.score_names for c in _columns_of(name, recipe, old)}
    own = {name: spec for name, spec in old.meta["scores"].items() if name in wanted}
    meta = {k: v for k, v in old.meta.items() if k not in {"flags", "flag_overlap", CARRIED}}
    meta |= {**now, "scores": own, "unit_ids": []}
    table = examples
    for name in _with_spread(ScoreTable(old.table, meta), old):
        table = table.append_column(
            old.table.schema.field(name), old.table.column(name).take(pa.array(found))
        )
    return _told(table, meta, old, found)


def num_carried(table: ScoreTable) -> int:
    """How many rows have scores from before."""
    return sum(entry["rows"] for entry in table.meta.get(CARRIED, []))


def _told(table: pa.Table, meta: dict[str, Any], old: ScoreTable, found: Rows) -> ScoreTable:
    """The table with where each row's scores come from, in a column and in its metadata."""
    known = found != NEW
    if not known.any():
        return ScoreTable(table, meta)
    before: list[dict[str, Any]] = old.meta.get(CARRIED, [])
    entry = {"source": old.meta["source"]["fingerprint"], "unit_ids": old.meta["unit_ids"]}
    origins = [{}, entry, *before]  # the first: the table's own units
    came = np.zeros(len(found), dtype=np.int64)
    came[known] = _came_from(old)[found[known]] + 1
    rows = np.bincount(came, minlength=len(origins))
    used = [k for k in range(1, len(origins)) if rows[k]]
    place = np.zeros(len(origins), dtype=np.int64)
    place[used] = np.arange(1, len(used) + 1)
    told = [{**origins[k], "rows": int(rows[k])} for k in used]
    column = pa.field(CARRIED, pa.int64(), nullable=False)
    table = table.append_column(column, pa.array(place[came]))
    return ScoreTable(table, {**meta, CARRIED: told})


def _came_from(old: ScoreTable) -> npt.NDArray[np.int64]:
    if CARRIED not in old.table.schema.names:
        return np.zeros(len(old.table), dtype=np.int64)
    column: npt.NDArray[np.int64] = old.table.column(CARRIED).to_numpy()
    return column


def _scores_in(table: ScoreTable) -> list[str]:
    """Columns that are scores, without those of flags."""
    return [name for name in table.columns if name not in table.meta.get("flags", {})]


def _with_spread(fresh: ScoreTable, old: ScoreTable) -> list[str]:
    """Score columns and, behind each, its spread where both tables have it; as they stand."""
    wanted = {f"{name}{end}" for name in _scores_in(fresh) for end in ("", "_std", "_se")}
    names = fresh.table.schema.names[first_columns(fresh.table) :]
    return [name for name in names if name in wanted and name in old.table.schema.names]
