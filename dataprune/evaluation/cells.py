"""Cells: each strategy at each budget, with the random rows it is compared to, as arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import mix64
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.evaluation.arms import FULL, Arm
from dataprune.evaluation.bench import Bench, Rows, steps_per_epoch
from dataprune.evaluation.choices import RANDOM, Chosen
from dataprune.evaluation.dynamic import INFOBATCH, RS2
from dataprune.evaluation.strategies import Asked, choice_of, parse_strategy
from dataprune.selection._choice import AUTO, Choice
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
    pilot_s: device seconds of the pilot that chose it.
    """

    arm: Arm
    kind: Kind
    strategy: str
    budget: int
    keep: float | int | None = None
    control: str | None = None
    matched: str | None = None
    reads_score: bool = False
    pilot_s: float = 0.0


def plan_cells(
    recipe: Recipe,
    settings: EvaluateRecipe,
    bench: Bench,
    table: ScoreTable,
    strategies: Sequence[Asked],
    by: str | None = None,
    balance: str | None = None,
    path: Path | None = None,
    chosen: Mapping[float | int, Chosen] | None = None,
) -> list[Cell]:
    """Decide every cell among the rows that may be trained on, and draw its controls.

    Full data comes first, then by budget: random rows, baselines, each strategy with its match, and
    what `auto` chose for it.
    A budget is one of these rows, so all arms of one have exactly as many. Random rows are drawn
    anew for each seed, so that the spread over seeds covers the draw.

    path: of the score table, beside which features are; without it there are none.

    Raises:
        UsageError: a budget or a strategy that cannot be met.
    """
    layout, chosen = Layout(recipe, settings, bench, table, path, by, balance), chosen or {}
    cells = [layout.full()]
    for keep in settings.keep:
        cells += layout.controls(keep)
        for asked in strategies:
            cells += layout.strategy(asked, keep)
        if keep in chosen:
            cells += layout.chosen(chosen[keep])
    return cells


class Layout:
    """Makes arms of rows: which a strategy or a control has, and how many steps they take."""

    def __init__(
        self,
        recipe: Recipe,
        settings: EvaluateRecipe,
        bench: Bench,
        table: ScoreTable,
        path: Path | None = None,
        by: str | None = None,
        balance: str | None = None,
    ) -> None:
        self.recipe, self.settings, self.bench = recipe, settings, bench
        self.table, self.path, self.by, self.balance = table, path, by, balance

    def num_steps(self, num_rows: int) -> int:
        """Of an arm with so many rows, by the protocol."""
        usual = self.recipe.probe.schedule_epochs
        if self.settings.protocol == "fixed_epochs":
            return (self.settings.epochs or usual) * steps_per_epoch(self.recipe, num_rows)
        every = self.num_rows
        return self.settings.steps or usual * steps_per_epoch(self.recipe, every)

    def arm(
        self, name: str, rows: tuple[Rows, ...], targets: npt.NDArray[Any] | None = None
    ) -> Arm:
        """An arm of fixed rows."""
        return Arm(name, rows, self.num_steps(len(rows[0])), targets)

    def full(self) -> Cell:
        """The cell of everything that may be trained on."""
        return Cell(self.arm(FULL, (self.bench.train_rows,)), "full", FULL, self.num_rows)

    @property
    def num_rows(self) -> int:
        """How many rows may be trained on."""
        return len(self.bench.train_rows)

    @cached_property
    def among(self) -> ScoreTable:
        """The scores of the rows that may be trained on."""
        table = self.table
        return ScoreTable(table.table.take(self.bench.train_rows), table.meta, table.origins)

    def decided(self, asked: Asked, keep: float | int) -> tuple[Rows, Choice]:
        """Rows that a strategy keeps of those that may be trained on, and what it was told.

        Raises:
            UsageError: a budget or a strategy that cannot be met.
        """
        choice = choice_of(asked, self.recipe.prune, keep, self.balance)
        features = None if self.path is None else features_read(self.table, self.path, choice)
        if features is not None:
            features = replace(features, values=features.values[self.bench.train_rows])
        by = asked.by or (self.by if choice.reads_score else None)
        decided = decide_from_scores(self.among, self.recipe, choice, by, features=features)
        kept = decided.table.column("keep").to_numpy(zero_copy_only=False)
        return self.bench.train_rows[kept.astype(np.bool_)], choice

    def strategy(self, asked: Asked, keep: float | int) -> list[Cell]:
        """The cell of a strategy, and that of random rows of the same classes."""
        name, budget = f"{asked.label}@{keep}", budget_rows(keep, self.num_rows)
        rows, choice = self.decided(asked, keep)
        assert len(rows) == budget
        matched = self.matched(name, rows, keep)
        told = matched.arm.name if matched else None
        reads = choice.reads_score or choice.drop_likely or bool(choice.before)
        control, arm = f"random@{keep}", self.arm(name, (rows,))
        cell = Cell(arm, "strategy", asked.label, budget, keep, control, told, reads)
        return [cell, *([matched] if matched else [])]

    def chosen(self, chosen: Chosen) -> list[Cell]:
        """What `auto` chose, as a strategy of its own; it read scores, whatever it chose.

        The rows are those of the strategy's own cell, so that they are trained on once.
        """
        name = f"{AUTO} ({chosen.strategy})"
        if chosen.strategy == RANDOM:
            budget = budget_rows(chosen.keep, self.num_rows)
            arm = self.arm(f"{name}@{chosen.keep}", self.random(budget))
            cells = [Cell(arm, "strategy", AUTO, budget, chosen.keep)]
        else:
            asked = replace(parse_strategy(chosen.strategy), label=name, by=chosen.by)
            cells = self.strategy(asked, chosen.keep)
        return [
            replace(cells[0], strategy=AUTO, reads_score=True, pilot_s=chosen.pilot_s),
            *cells[1:],
        ]

    def random(self, budget: int) -> tuple[Rows, ...]:
        """Uniformly random rows, drawn anew for each seed."""
        return tuple(self.random_of(seed, budget) for seed in range(self.settings.seeds))

    def random_of(self, seed: int, budget: int) -> Rows:
        """Uniformly random rows, as that seed draws them."""
        every = np.zeros(self.num_rows, dtype=np.int64)
        return self._drawn(seed, every, np.asarray([budget]))

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
        seeds = range(self.settings.seeds)
        arm = self.arm(label, tuple(self._drawn(seed, of_row, counts) for seed in seeds))
        return Cell(arm, "matched", label, len(rows), keep)

    def _drawn(self, seed: int, strata: Rows, counts: Rows) -> Rows:
        """So many rows of each stratum; a seed draws the same where counts are the same."""
        rows = self.bench.train_rows
        ties = mix64(rows, "evaluation control", self.recipe.seed, seed)
        order = np.lexsort((ties, strata))
        first = np.searchsorted(strata[order], np.arange(len(counts)))
        places = np.arange(len(rows)) - first[strata[order]]
        return np.sort(rows[order[places < counts[strata[order]]]])

    def controls(self, keep: float | int) -> list[Cell]:
        """Random rows of a budget, and training-time selection for as many steps as these take."""
        budget, control = budget_rows(keep, self.num_rows), f"random@{keep}"
        random = self.arm(control, self.random(budget))
        cells, steps = [Cell(random, "random", "random", budget, keep)], random.num_steps
        for name in self.settings.baselines:
            about = {**RS2, "budget": budget} if name == "rs2" else INFOBATCH
            arm = Arm(f"{name}@{keep}", (self.bench.train_rows,), steps, dynamic=about)
            cells.append(Cell(arm, "baseline", name, budget, keep, control))
        return cells
