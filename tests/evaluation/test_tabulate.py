"""The table of an evaluation, from given results of its units: tests, verdicts, warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dataprune.core.recipe import RunRecipe
from dataprune.evaluation.arms import FULL, Arm, Retrained
from dataprune.evaluation.bench import Bench
from dataprune.evaluation.cells import Cell
from dataprune.evaluation.costs import ScoringCost
from dataprune.evaluation.tabulate import tabulate, warnings_for
from dataprune.runs.ledger import Record

CLASSES = ["a", "b"]
Values = list[tuple[float, float]]  # per seed, the accuracy in each class


def record(shares: tuple[float, float], train_s: float) -> Record:
    result = {"value": sum(shares) / 2, "class_accuracy": list(shares), "train_s": train_s}
    return Record("", {}, {}, result, {}, Path())


def cells_of(kept: list[int], steps: int) -> list[Cell]:
    """Full data of 200 rows, half of each class; 100 random ones, and as many of each as given."""
    rows = np.arange(200)  # even ones are of class a
    chosen = np.sort(np.concatenate([rows[::2][: kept[0]], rows[1::2][: kept[1]]]))
    return [
        Cell(Arm(FULL, (rows,), 400), "full", FULL, 200),
        Cell(Arm("random@0.5", (rows[:100],), steps), "random", "random", 100, 0.5),
        Cell(Arm("mine@0.5", (chosen,), steps), "strategy", "mine", len(chosen), 0.5,
             "random@0.5", reads_score=True),
    ]  # fmt: skip


def table(
    mine: Values, random: Values, kept: tuple[int, int] = (50, 50), steps: int = 200
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Rows by arm, and warnings."""
    cells = cells_of(list(kept), steps)
    given = {
        FULL: [record((0.95, 0.95), 10.0)] * len(mine),
        "random@0.5": [record(shares, 5.0) for shares in random],
        "mine@0.5": [record(shares, 4.0) for shares in mine],
    }
    records = {arm: dict(enumerate(found)) for arm, found in given.items()}
    bench = Bench(np.arange(200), {}, "test split", 50, 2, "accuracy", np.arange(200) % 2)
    run, cost = RunRecipe(num_cpus=2), ScoringCost(50.0)
    rows = tabulate(cells, Retrained(records, []), bench, run, cost, CLASSES)
    return {row["arm"]: row for row in rows}, warnings_for(
        rows, cells, bench, CLASSES, "fixed_steps"
    )


RANDOM: Values = [(0.90, 0.80), (0.92, 0.78), (0.88, 0.82)]
BETTER: Values = [(0.95, 0.85), (0.97, 0.84), (0.94, 0.87)]
LIKE: Values = [(0.90, 0.81), (0.93, 0.80), (0.87, 0.80)]


def test_differences_to_random_are_a_paired_t_test() -> None:
    rows, _warnings = table(BETTER, RANDOM)
    row = rows["mine@0.5"]
    ours, theirs = ([sum(shares) / 2 for shares in values] for values in (BETTER, RANDOM))
    assert row["accuracy"] == pytest.approx(np.mean(ours))
    assert row["gain_over_random"] == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert row["gain_over_random_p"] == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    assert row["gain_over_random_verdict"] == "better"
    assert row["gain_over_full"] == pytest.approx(np.mean(ours) - 0.95)
    assert rows["random@0.5"].keys().isdisjoint({"gain_over_random", "gain_over_random_verdict"})


def test_the_worst_class_is_that_of_each_seed() -> None:
    rows, _warnings = table([(0.9, 0.7), (0.6, 0.8)], [(0.9, 0.9), (0.8, 0.9)])
    row = rows["mine@0.5"]
    assert row["worst_class"] == pytest.approx(0.65)
    assert row["class_accuracy"] == {"a": pytest.approx(0.75), "b": pytest.approx(0.75)}
    assert row["worst_class_gain_over_random"] == pytest.approx(0.65 - 0.85)


def test_what_it_costs_is_told_in_device_seconds() -> None:
    rows, _warnings = table(LIKE, RANDOM)
    assert rows[FULL]["train_s"] == 20
    assert rows["mine@0.5"]["train_s"] == 8
    assert rows["mine@0.5"]["breaks_even_at"] == 5  # 5 x 12 is more than 50
    assert rows["random@0.5"]["breaks_even_at"] == 1
    rows, _warnings = table(LIKE, RANDOM, steps=400)
    assert rows["mine@0.5"]["breaks_even_at"] is None


def test_seeds_that_do_not_tell_are_told() -> None:
    rows, warnings = table(LIKE, RANDOM)
    assert rows["mine@0.5"]["gain_over_random_verdict"] == "too few seeds to tell"
    assert [told for told in warnings if "within chance of 3 seeds: mine@0.5" in told]
    rows, warnings = table(BETTER[:1], RANDOM[:1])
    assert rows["mine@0.5"]["gain_over_random_half_width"] is None
    assert rows["mine@0.5"]["gain_over_random_verdict"] == "too few seeds to tell"
    assert [told for told in warnings if "within chance of 1 seeds" in told]
    assert table(BETTER, RANDOM)[1] == []


def test_worse_than_random_is_a_warning() -> None:
    rows, warnings = table(RANDOM, BETTER)
    assert rows["mine@0.5"]["gain_over_random_verdict"] == "worse"
    assert warnings == ["mine@0.5 is worse than random rows of the same number"]


def test_a_class_that_is_lost_is_a_warning() -> None:
    collapsed = [(1.0, 0.5), (1.0, 0.47), (1.0, 0.54)]
    _rows, warnings = table(collapsed, RANDOM)
    assert [told for told in warnings if "its worst class is 30 points below" in told]
    _rows, warnings = table(BETTER, RANDOM, kept=(91, 9))
    assert warnings == [
        "mine@0.5 keeps 9 of 100 rows of class b; prune with --class-balance proportional"
    ]
    assert table(BETTER, RANDOM, kept=(80, 20))[1] == []


def test_few_steps_are_a_warning() -> None:
    cells = cells_of([50, 50], 30)
    bench = Bench(np.arange(200), {}, "", 50, 2, "accuracy", np.arange(200) % 2)
    assert warnings_for([{"num_steps": 30, "arm": "x"}], cells, bench, CLASSES, "fixed_epochs") == [
        "no arm trained for more than 30 steps; before you believe this, train for more epochs"
    ]
