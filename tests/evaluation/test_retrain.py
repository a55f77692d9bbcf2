"""The retraining unit: what it records, and that one which was stopped ends as one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataprune.core.protocols import Attempt, Shared, Unit
from dataprune.core.recipe import Recipe
from dataprune.evaluation.arms import Arm, retrain_units
from dataprune.evaluation.bench import make_bench
from dataprune.evaluation.dynamic import INFOBATCH, RS2
from dataprune.evaluation.retrain import retrain_unit
from tests.evaluation.conftest import loaded_of
from tests.probe.interrupted import Kept, run_to_the_end

KINDS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "rs2": {**RS2, "budget": 50},
    "infobatch": INFOBATCH,
}


def unit_of(recipe: Recipe, dynamic: dict[str, Any] | None, steps: int) -> tuple[Unit, Shared]:
    loaded = loaded_of(recipe)
    bench = make_bench(recipe, loaded)
    arm = Arm("arm", (bench.train_rows[:120],), steps, dynamic=dynamic)
    units, shared = retrain_units(recipe, loaded, bench, [arm], range(1))
    return units[0], shared


@pytest.mark.parametrize("stop_after", [1, 4, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_unit_that_is_stopped_and_goes_on_ends_as_an_undisturbed_one(
    split_recipe: Recipe, tmp_path: Path, kind: str, stop_after: int
) -> None:
    unit, shared = unit_of(split_recipe, KINDS[kind], 24)
    (tmp_path / "whole").mkdir()
    whole = retrain_unit(unit.spec, shared, Attempt(tmp_path / "whole", lambda _told: None))
    snapshots = Kept(tmp_path / "kept", stop_after=stop_after)
    result, folder, attempts = run_to_the_end(
        retrain_unit, unit.spec, shared, tmp_path / "attempts", snapshots
    )
    assert attempts > 2
    assert (folder / "quality.json").read_bytes() == (
        tmp_path / "whole" / "quality.json"
    ).read_bytes()
    assert {k: v for k, v in result.items() if k != "train_s"} == {
        k: v for k, v in whole.items() if k != "train_s"
    }


def test_rs2_with_a_budget_of_all_rows_is_plain_training(
    split_recipe: Recipe, tmp_path: Path
) -> None:
    for name, dynamic in (("plain", None), ("rs2", {**RS2, "budget": 120})):
        (tmp_path / name).mkdir()
        unit, shared = unit_of(split_recipe, dynamic, 24)
        retrain_unit(unit.spec, shared, Attempt(tmp_path / name, lambda _told: None))
    plain, rs2 = ((tmp_path / name / "quality.json").read_bytes() for name in ("plain", "rs2"))
    assert plain == rs2


def test_class_accuracies_add_up_to_the_accuracy(split_recipe: Recipe, tmp_path: Path) -> None:
    unit, shared = unit_of(split_recipe, None, 2)
    found = retrain_unit(unit.spec, shared, Attempt(tmp_path, lambda _told: None))
    counts = np.bincount(np.asarray(shared["test_targets"]))
    assert found["value"] == pytest.approx(np.average(found["class_accuracy"], weights=counts))
    assert min(found["class_accuracy"]) < max(found["class_accuracy"])  # two steps are not enough
    assert found["num_rows"] == 120
    assert found["train_s"] > 0


def test_a_class_that_is_not_tested_has_no_accuracy(split_recipe: Recipe, tmp_path: Path) -> None:
    unit, shared = unit_of(split_recipe, None, 2)
    targets = np.where(np.asarray(shared["test_targets"]) == 1, 0, shared["test_targets"])
    changed = {**shared, "test_targets": targets}
    found = retrain_unit(unit.spec, changed, Attempt(tmp_path, lambda _told: None))
    assert found["class_accuracy"][1] is None
    assert None not in (found["class_accuracy"][0], found["class_accuracy"][2])
