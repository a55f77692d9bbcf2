"""What would be kept at several budgets: one set of decisions each, and nothing is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.selection._choice import Choice, make_choice
from dataprune.selection._decided import Decided, decide_from_scores
from dataprune.selection._features import features_read
from dataprune.tables.features import Features
from dataprune.tables.join import join_tables
from dataprune.tables.scores import ScoreTable, read_scores

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What one budget would keep.

    rows_out: how many rows. classes: kept rows of each class.
    score_range: lowest and highest score of the kept rows; None where no score is read.
    flagged: of each flag of the table, the share of kept rows it speaks against.
    overlap: with the budget before, rows that both keep per row that one of them keeps (Jaccard).
    reasons: rows per reason. warnings: as `prune` would give them.
    problem: why this budget cannot be, in place of all that.
    """

    keep: float | int
    rows_out: int = 0
    classes: Mapping[str, int] | None = None
    score_range: tuple[float, float] | None = None
    flagged: Mapping[str, float] | None = None
    overlap: float | None = None
    reasons: Mapping[str, int] | None = None
    warnings: Sequence[str] = ()
    problem: str | None = None


@dataclass(frozen=True)
class WhatIf:
    """What several budgets would keep, the smallest first.

    choice: strategies and all that holds at any budget. by: the score column, if one is read.
    classes: rows of each class in the source.
    """

    choice: Choice
    by: str | None
    rows_in: int
    classes: Mapping[str, int]
    outcomes: Sequence[Outcome]


def what_if(
    scores: str | Path,
    budgets: Sequence[float | int],
    *,
    by: str | None = None,
    strategy: str | Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    class_balance: str | None = None,
    min_per_class: int | None = None,
    max_per_group: int | None = None,
    drop_likely: bool | None = None,
    seed: int | None = None,
    extra: Sequence[str | Path] = (),
    features: str | Path | None = None,
) -> WhatIf:
    """What `prune` would keep of a score table at several budgets; nothing is built.

    budgets: as `keep` of `prune`. The others are as there.

    Raises:
        DatapruneError: one of its subclasses; a budget alone that cannot be is told with it.
    """
    path = Path(scores)
    table = join_tables(read_scores(path), path, [Path(other) for other in extra])
    recipe = parse_recipe(table.meta["recipe"], where=str(scores))
    if not budgets:
        raise UsageError("no budget to look at was given", hint="as in --what-if 0.1,0.5,0.9")
    choice = make_choice(
        recipe.prune,
        keep=budgets[0],
        strategy=strategy,
        params=params,
        balance=class_balance,
        min_per_class=min_per_class,
        seed=seed,
        max_per_group=max_per_group,
        drop_likely=drop_likely,
        relabel=False,
    )
    read = features_read(table, path, choice, features)
    return outcomes_at(table, recipe, choice, by, budgets, features=read)


def outcomes_at(
    table: ScoreTable,
    recipe: Recipe,
    choice: Choice,
    by: str | None,
    budgets: Sequence[float | int],
    *,
    features: Features | None = None,
) -> WhatIf:
    """Decide at each budget; the score table decides as for `decide_from_scores`.

    Raises:
        UsageError: no budget can be; the first one's reason.
    """
    outcomes: list[Outcome] = []
    decided: Decided | None = None
    before: Mask | None = None
    error: UsageError | None = None
    for keep in sorted(budgets, key=lambda k: k * len(table.table) if isinstance(k, float) else k):
        try:
            decided = decide_from_scores(
                table, recipe, replace(choice, keep=keep), by, features=features
            )
        except UsageError as exc:
            error = error or exc
            outcomes.append(Outcome(keep, problem=exc.message))
            continue
        kept: Mask = decided.table.column("keep").to_numpy(zero_copy_only=False)
        outcomes.append(_outcome(table.table, decided, keep, kept, before))
        before = kept
    if decided is None:
        assert error is not None, "there was a budget"
        raise error
    sources = {name: count["source"] for name, count in decided.classes.items()}
    return WhatIf(choice, decided.by, len(table.table), sources, outcomes)


def _outcome(
    scores: pa.Table, decided: Decided, keep: float | int, kept: Mask, before: Mask | None
) -> Outcome:
    values = decided.table.column("value").to_numpy()[kept]
    return Outcome(
        keep=keep,
        rows_out=decided.rows_out,
        classes={name: count["kept"] for name, count in decided.classes.items()},
        score_range=(float(values.min()), float(values.max())) if decided.by else None,
        flagged=_flagged(scores, kept),
        overlap=None if before is None else float((kept & before).sum() / (kept | before).sum()),
        reasons=decided.reasons,
        warnings=decided.warnings,
    )


def _flagged(scores: pa.Table, kept: Mask) -> dict[str, float]:
    """Of each flag (a column `is_FLAG`), the share of the kept rows that it speaks against."""
    shares = {}
    for field in scores.schema:
        if field.name.startswith("is_") and pa.types.is_boolean(field.type):
            verdict = pc.fill_null(scores.column(field.name), fill_value=False)
            shares[field.name[3:]] = float(verdict.to_numpy(zero_copy_only=False)[kept].mean())
    return shares
