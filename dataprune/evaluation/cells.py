"""Cells: each strategy at each budget, with the random rows it is compared to, as arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from dataprune.core.fingerprint import mix64
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.evaluation.arms import FULL, Arm
from dataprune.evaluation.bench import Bench, Rows, steps_per_epoch
from dataprune.evaluation.dynamic import INFOBATCH, RS2
from dataprune.evaluation.strategies import Asked, choice_of
from dataprune.selection._decided import decide_from_scores
from dataprune.selection._features import features_read
from dataprune.selection._quotas import budget_rows, class_quotas
from dataprune.tables.scores import ScoreTable

Kind = Literal["full", "random", "matched", "strategy", "baseline"]


@dataclass(frozen=True)
class Cell:
    """What an arm is a case of.

    budget: rows of an epoch. keep: as asked for; None of full data.
    control: the arm of as many random rows; None of full data, and of random rows themselves.
    matched: the arm of random rows with as many of each class, where that says more than `control`.
    reads_score: whether it could not have been decided without scores.
    """

    arm: Arm
    kind: Kind
    strategy: str
    budget: int
    keep: float | int | None = None
    control: str | None = None
    matched: str | None = None
    reads_score: bool = False


def plan_cells(
    recipe: Recipe,
    settings: EvaluateRecipe,
    bench: Bench,
    table: ScoreTable,
    strategies: Sequence[Asked],
    by: str | None = None,
    balance: str | None = None,
    path: Path | None = None,
) -> list[Cell]:
    """Decide every cell among the rows that may be trained on, and draw its controls.

    Full data comes first, then by budget: random rows, baselines, each strategy with its match.
    A budget is one of these rows, so all arms of one have exactly as many. Random rows are drawn
    anew for each seed, so that the spread over seeds covers the draw.

    path: of the score table, beside which features are; without it there are none.

    Raises:
        UsageError: a budget or a strategy that cannot be met.
    """
    layout = _Layout(recipe, settings, bench)
    among = ScoreTable(table.table.take(bench.train_rows), table.meta, table.origins)
    cells = [Cell(layout.arm(FULL, (bench.train_rows,)), "full", FULL, len(bench.train_rows))]
    for keep in settings.keep:
        budget = budget_rows(keep, len(bench.train_rows))
        control = f"random@{keep}"
        random = layout.arm(control, layout.random(budget))
        cells.append(Cell(random, "random", "random", budget, keep))
        cells += layout.baselines(keep, budget, control)
        for asked in strategies:
            name = f"{asked.label}@{keep}"
            choice = choice_of(asked, recipe.prune, keep, balance)
            features = None if path is None else features_read(table, path, choice)
            if features is not None:
                features = replace(features, values=features.values[bench.train_rows])
            decided = decide_from_scores(among, recipe, choice, by, features=features)
            kept = decided.table.column("keep").to_numpy(zero_copy_only=False)
            rows = bench.train_rows[kept.astype(np.bool_)]
            assert len(rows) == budget
            matched = layout.matched(name, rows, keep)
            arm = layout.arm(name, (rows,))
            told = matched.arm.name if matched else None
            reads = choice.reads_score or choice.drop_likely or bool(choice.before)
            cells.append(Cell(arm, "strategy", asked.label, budget, keep, control, told, reads))
            cells += [matched] if matched else []
    return cells


class _Layout:
    """Makes arms of rows: how many steps they take, and which rows a control has."""

    def __init__(self, recipe: Recipe, settings: EvaluateRecipe, bench: Bench) -> None:
        self.recipe, self.settings, self.bench = recipe, settings, bench

    def num_steps(self, num_rows: int) -> int:
        """Of an arm with so many rows, by the protocol."""
        usual = self.recipe.probe.schedule_epochs
        if self.settings.protocol == "fixed_epochs":
            return (self.settings.epochs or usual) * steps_per_epoch(self.recipe, num_rows)
        every = len(self.bench.train_rows)
        return self.settings.steps or usual * steps_per_epoch(self.recipe, every)

    def arm(self, name: str, rows: tuple[Rows, ...]) -> Arm:
        """An arm of fixed rows."""
        return Arm(name, rows, self.num_steps(len(rows[0])))

    def random(self, budget: int) -> tuple[Rows, ...]:
        """Uniformly random rows, drawn anew for each seed."""
        every = np.zeros(len(self.bench.train_rows), dtype=np.int64)
        return self._drawn(every, np.asarray([budget]))

    def matched(self, name: str, rows: Rows, keep: float | int) -> Cell | None:
        """Random rows with a cell's count of each class; None where these are proportional."""
        if self.bench.classes is None:
            return None
        of_row = self.bench.classes[self.bench.train_rows]
        sizes = np.bincount(of_row)
        counts = np.bincount(self.bench.classes[rows], minlength=len(sizes))
        if (counts == class_quotas("proportional", len(rows), sizes, 0, [])).all():
            return None
        label = f"same classes as {name}"
        arm = self.arm(label, self._drawn(of_row, counts))
        return Cell(arm, "matched", label, len(rows), keep)

    def _drawn(self, strata: Rows, counts: Rows) -> tuple[Rows, ...]:
        """For each seed so many rows of each stratum; the same draw where counts are the same."""
        rows = self.bench.train_rows
        drawn = []
        for seed in range(self.settings.seeds):
            ties = mix64(rows, "evaluation control", self.recipe.seed, seed)
            order = np.lexsort((ties, strata))
            first = np.searchsorted(strata[order], np.arange(len(counts)))
            places = np.arange(len(rows)) - first[strata[order]]
            drawn.append(np.sort(rows[order[places < counts[strata[order]]]]))
        return tuple(drawn)

    def baselines(self, keep: float | int, budget: int, control: str) -> list[Cell]:
        """Training-time selection for as many steps as the random rows of the budget take."""
        cells, steps = [], self.num_steps(budget)
        for name in self.settings.baselines:
            about = {**RS2, "budget": budget} if name == "rs2" else INFOBATCH
            arm = Arm(f"{name}@{keep}", (self.bench.train_rows,), steps, dynamic=about)
            cells.append(Cell(arm, "baseline", name, budget, keep, control))
        return cells
