"""Cells keep exact budgets, take the steps of their protocol, and share what units they can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune import flow
from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_evaluate import EvaluateRecipe
from dataprune.evaluation.arms import retrain_units
from dataprune.evaluation.bench import Bench, make_bench
from dataprune.evaluation.cells import Cell, plan_cells
from dataprune.evaluation.strategies import parse_strategy
from dataprune.tables.scores import read_scores
from tests.evaluation.conftest import counts_of, loaded_of


def plan(
    recipe: Recipe, scores: Path, strategies: list[str], **settings: Any
) -> tuple[dict[str, Cell], Bench]:
    """Cells by arm, and what they share."""
    bench = make_bench(recipe, loaded_of(recipe))
    asked = [parse_strategy(name) for name in strategies]
    cells = plan_cells(recipe, EvaluateRecipe(**settings), bench, read_scores(scores), asked)
    return {cell.arm.name: cell for cell in cells}, bench


def test_every_arm_of_a_budget_has_exactly_as_many_rows(
    split_recipe: Recipe, split_scores: Path
) -> None:
    names = ["hardest", "window:offset=0.1", "random", "ccs:beta=0.1"]
    cells, bench = plan(split_recipe, split_scores, names, keep=(0.35, 77))
    assert len(bench.train_rows) == 300
    for keep, budget in ((0.35, 105), (77, 77)):
        for name in ("random", *names):
            arm = cells[f"{name}@{keep}"].arm
            assert {len(arm.rows_of(seed)) for seed in range(3)} == {budget}
            assert all(len(np.unique(rows)) == budget for rows in arm.rows)


def test_random_rows_are_drawn_anew_for_each_seed_and_nested_in_budgets(
    split_recipe: Recipe, split_scores: Path
) -> None:
    cells, _bench = plan(split_recipe, split_scores, ["hardest"], keep=(0.5, 0.2), seeds=3)
    large, small = cells["random@0.5"].arm, cells["random@0.2"].arm
    first, second, third = (set(rows.tolist()) for rows in large.rows)
    assert len(first & second) < 120
    assert first != second != third != first
    assert set(small.rows[0].tolist()) <= first


def test_a_matched_control_has_the_cells_count_of_each_class(
    split_recipe: Recipe, split_scores: Path
) -> None:
    cells, bench = plan(split_recipe, split_scores, ["hardest", "easiest"], keep=(0.2,))
    for name in ("hardest@0.2", "easiest@0.2"):
        wanted = counts_of(bench.classes, cells[name].arm.rows[0])
        if wanted == [20, 20, 20]:
            assert cells[name].matched is None
            continue
        matched = cells[str(cells[name].matched)]
        assert matched.kind == "matched"
        for rows in matched.arm.rows:
            assert counts_of(bench.classes, rows) == wanted
    assert any(cell.kind == "matched" for cell in cells.values())


def test_no_matched_control_where_classes_are_kept_in_proportion(
    split_recipe: Recipe, split_scores: Path
) -> None:
    bench = make_bench(split_recipe, loaded_of(split_recipe))
    table, asked = read_scores(split_scores), [parse_strategy("hardest")]
    settings = EvaluateRecipe(keep=(0.2,))
    cells = plan_cells(split_recipe, settings, bench, table, asked, balance="proportional")
    assert [cell.kind for cell in cells] == ["full", "random", "strategy"]


def test_a_strategy_that_reads_no_score_may_stand_beside_others_that_do(
    split_recipe: Recipe, split_scores: Path
) -> None:
    bench = make_bench(split_recipe, loaded_of(split_recipe))
    table, asked = read_scores(split_scores), [parse_strategy("random"), parse_strategy("easiest")]
    settings = EvaluateRecipe(keep=(0.2,))
    cells = plan_cells(split_recipe, settings, bench, table, asked, by=table.columns[0])
    assert [c.strategy for c in cells if c.kind == "strategy"] == ["random", "easiest"]


def test_fixed_steps_gives_every_arm_as_many_steps(
    split_recipe: Recipe, split_scores: Path
) -> None:
    for given, wanted in ({}, 4 * (300 // 16)), ({"steps": 50}, 50):
        settings = {"keep": (0.5, 0.1), "baselines": ("rs2", "infobatch"), **given}
        cells, _bench = plan(split_recipe, split_scores, ["hardest"], **settings)
        assert {cell.arm.num_steps for cell in cells.values()} == {wanted}


def test_fixed_epochs_gives_every_arm_as_many_passes_over_its_own_rows(
    split_recipe: Recipe, split_scores: Path
) -> None:
    settings = {"protocol": "fixed_epochs", "keep": (0.5, 0.1, 10), "baselines": ("rs2",)}
    for given, epochs in ({}, 4), ({"epochs": 7}, 7):
        cells, _bench = plan(split_recipe, split_scores, ["hardest"], **settings, **given)
        steps = {name: cell.arm.num_steps for name, cell in cells.items()}
        assert steps["full"] == epochs * 18
        for name in ("random", "hardest", "rs2"):
            assert steps[f"{name}@0.5"] == epochs * (150 // 16)
            assert steps[f"{name}@0.1"] == epochs * (30 // 16)
            assert steps[f"{name}@10"] == epochs  # a batch of all ten


def test_equal_work_is_one_unit(split_recipe: Recipe, split_scores: Path) -> None:
    cells, bench = plan(split_recipe, split_scores, ["hardest", "easiest"], keep=(1.0,), seeds=2)
    arms = [cell.arm for cell in cells.values()]
    units, shared = retrain_units(split_recipe, loaded_of(split_recipe), bench, arms, range(2))
    assert len(units) == 8
    assert len({unit.unit_id for unit in units}) == 2  # one for each seed: all arms are all rows
    assert len([name for name in shared if name.startswith("rows/")]) == 1


def test_units_of_other_work_are_others(split_recipe: Recipe, split_scores: Path) -> None:
    loaded, found = loaded_of(split_recipe), []
    for settings in (
        {}, {"steps": 9}, {"baselines": ("rs2",)}, {"baselines": ("infobatch",)},
        {"keep": (0.4,), "baselines": ("rs2",)},
    ):  # fmt: skip
        cells, bench = plan(split_recipe, split_scores, ["hardest"], **{"keep": (0.5,), **settings})
        arms = [cell.arm for cell in cells.values()]
        units, _shared = retrain_units(split_recipe, loaded, bench, arms, range(1))
        wanted = settings.get("baselines", ("hardest",))[0]
        found += [unit.unit_id for unit in units if unit.spec["arm"].startswith(wanted)]
    assert len(found) == len(set(found)) == 5


def test_validation_rows_are_training_rows_and_the_test_split_is_not_looked_at(
    split_recipe: Recipe,
) -> None:
    loaded = loaded_of(split_recipe)
    bench = make_bench(split_recipe, loaded, validation=0)
    tested = np.flatnonzero(np.asarray(bench.shared["held_out"]))
    assert bench.num_test_rows == len(tested) == 60
    assert counts_of(loaded.labels, tested) == [20, 20, 20]
    assert len(np.intersect1d(tested, bench.train_rows)) == 0
    assert len(bench.train_rows) == 240
    assert not [name for name in bench.shared if name.startswith("test")]


def test_doubtful_rows_are_held_out_and_not_tested_on(split_recipe: Recipe) -> None:
    loaded = loaded_of(split_recipe)
    usual = make_bench(split_recipe, loaded, validation=0)
    tested = usual.shared["held_out"]
    doubtful = np.zeros(300, np.bool_)
    doubtful[np.flatnonzero(tested)[::2]] = True
    doubtful[usual.train_rows[:5]] = True
    bench = make_bench(split_recipe, loaded, validation=0, doubtful=doubtful)
    assert np.array_equal(bench.train_rows, usual.train_rows)
    assert np.array_equal(bench.shared["held_out"], tested & ~doubtful)
    assert bench.num_test_rows == (tested & ~doubtful).sum()
    every = make_bench(split_recipe, loaded, validation=0, doubtful=np.ones(300, np.bool_))
    assert np.array_equal(every.shared["held_out"], tested)  # where nothing else is left


def test_without_a_test_split_validation_rows_are_none_of_the_test_rows(
    blobs_recipe: dict[str, Any],
) -> None:
    from dataprune.core.recipe import parse_recipe

    recipe = parse_recipe(blobs_recipe, where="tests")
    loaded = loaded_of(recipe)
    test, choice = make_bench(recipe, loaded), make_bench(recipe, loaded, validation=0)
    first, second = (np.asarray(bench.shared["held_out"]) for bench in (test, choice))
    assert (first.sum(), second.sum()) == (60, 48)
    assert not (first & second).any()
    assert not (first | second)[choice.train_rows].any()


def test_a_length_of_the_other_protocol_is_refused() -> None:
    for wrong in ({"epochs": 3}, {"steps": 3, "protocol": "fixed_epochs"}):
        with pytest.raises(ValueError, match="has no effect with"):
            EvaluateRecipe(**wrong)


def test_strategies_of_geometry_read_the_features_beside_the_scores(
    split_recipe: Recipe, tmp_path: Path
) -> None:
    path = flow.score(split_recipe, features=True, work=tmp_path / "work").path
    bench = make_bench(split_recipe, loaded_of(split_recipe))
    asked, settings = [parse_strategy("kcenter")], EvaluateRecipe(keep=(30,))
    table = read_scores(path)
    cells = plan_cells(split_recipe, settings, bench, table, asked, path=path)
    [arm] = [cell.arm for cell in cells if cell.strategy == "kcenter"]
    built = flow.prune(
        path, name="d", tag="v1", keep=30, strategy="kcenter", view=True, store=tmp_path / "store"
    )
    assert built.rows_out == 30
    decisions = flow.load("d", "v1", store=tmp_path / "store").decisions_table
    assert arm.rows_of(0).tolist() == [r["row"] for r in decisions.to_pylist() if r["keep"]]
    with pytest.raises(UsageError, match="features"):
        plan_cells(split_recipe, settings, bench, table, asked)
