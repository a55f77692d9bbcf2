"""Which units a budget lets start, as arithmetic and through a runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune import flow
from dataprune.core.errors import PartialError, RecipeError
from dataprune.core.protocols import Job, Resources
from dataprune.core.recipe import Budget, Recipe, parse_recipe
from dataprune.runs.budget import Spending, limit_s
from dataprune.tables.scores import read_scores
from tests.runs.tiny import tiny_recipe


def job(hours: float | None, before: list[float] | None = None) -> Job:
    return Job("x", [], resources=Resources(budget=Budget(cpu_hours=hours)), before=before or [])


@pytest.mark.parametrize(
    ("resources", "seconds"),
    [
        (Resources(num_gpus=0.25, budget=Budget(gpu_hours=1)), 4 * 3600),
        (Resources(num_gpus=1, workers=2, budget=Budget(gpu_hours=1)), 1800),
        (Resources(num_cpus=4, budget=Budget(cpu_hours=2)), 1800),
        (Resources(num_cpus=4, num_gpus=1, budget=Budget(cpu_hours=2, gpu_hours=9)), 1800),
        (Resources(), float("inf")),
    ],
)
def test_the_limit_counts_shares_and_workers(resources: Resources, seconds: float) -> None:
    assert limit_s(resources) == pytest.approx(seconds)


@given(unit_s=st.floats(1, 1000), fit=st.floats(0.1, 99.9).filter(lambda x: 0.01 < x % 1 < 0.99))
def test_equal_units_one_after_another_never_exceed_the_limit_and_use_it(
    unit_s: float, fit: float
) -> None:
    """fit: how many fit; not a whole number, since a limit of hours is rounded."""
    spending = Spending(job(fit * unit_s / 3600))
    started = 0
    while spending.may_start():
        spending.began(str(started))
        spending.ended(str(started), unit_s)
        started += 1
    assert started == max(1, int(fit))


@given(times=st.lists(st.floats(1, 1000), min_size=1, max_size=30), limit=st.floats(1000, 20_000))
def test_units_that_grow_no_longer_never_exceed_the_limit(times: list[float], limit: float) -> None:
    """A unit is taken to last as long as the longest so far, so the longest comes first here."""
    spending = Spending(job(limit / 3600))
    for i, seconds in enumerate(sorted(times, reverse=True)):
        if not spending.may_start():
            break
        spending.began(str(i))
        spending.ended(str(i), seconds)
    assert spending.spent_s <= limit + 1e-6


def test_one_runs_alone_until_it_is_known_how_long_one_takes() -> None:
    spending = Spending(job(1.0))
    assert spending.may_start()
    spending.began("a")
    assert not spending.may_start()
    spending.told("a", {"seconds": 0.1, "epoch": 0})
    assert not spending.may_start()
    spending.told("a", {"seconds": 60.0, "left_s": 540.0})
    for name in "bcdef":
        assert spending.may_start()
        spending.began(name)
    assert not spending.may_start()  # six of ten minutes are an hour


def test_what_runs_longer_than_was_thought_leaves_less_for_others() -> None:
    spending = Spending(job(1.0, before=[600.0]))
    spending.began("a")
    assert spending.may_start()
    spending.told("a", {"seconds": 1000.0, "left_s": 1500.0})
    assert not spending.may_start()


def test_what_a_slow_first_epoch_foretold_is_forgotten() -> None:
    spending = Spending(job(1.0))
    spending.began("a")
    spending.told("a", {"seconds": 100.0, "left_s": 5000.0})
    assert not spending.may_start()
    spending.told("a", {"seconds": 110.0, "left_s": 490.0})
    assert spending.may_start()
    spending.told("a", {"seconds": 120.0, "left_s": 5000.0})
    spending.ended("a", 600.0)
    assert spending.may_start()


def test_earlier_runs_count() -> None:
    assert Spending(job(1.0, before=[1700.0])).may_start()
    assert not Spending(job(1.0, before=[1700.0, 1000.0])).may_start()


def test_without_a_budget_all_may_start_at_once() -> None:
    spending = Spending(job(None))
    for i in range(100):
        assert spending.may_start()
        spending.began(str(i))


def recipe(**run: Any) -> Recipe:
    return tiny_recipe(scores=["el2n"], seeds=6, epochs=4, run=run)


def test_a_spent_budget_leaves_a_valid_partial_table_and_goes_on_when_it_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = flow.score(recipe(), work=tmp_path / "undisturbed")
    work = tmp_path / "work"
    flow.score(recipe(), work=work, seeds=3)
    tight = recipe(budget={"cpu_hours": 1e-7})

    partial = flow.score(tight, work=work)

    assert partial.status == "partial"
    assert partial.seeds == [0, 1, 2]
    assert partial.trained == []
    assert [outcome.label for outcome in partial.failed] == ["seed 3", "seed 4", "seed 5"]
    assert "of the budget of 1e-07 CPU hours is spent" in (partial.failed[0].error or "")
    assert len([m for m in caplog.messages if "not started" in m]) == 1
    assert read_scores(partial.path).meta["status"] == "partial"
    whole = flow.score(recipe(budget={"cpu_hours": 10}), work=work)
    assert whole.trained == [3, 4, 5]
    assert whole.path.read_bytes() == undisturbed.path.read_bytes()


def test_a_source_that_has_grown_has_its_budget_anew(tmp_path: Path) -> None:
    """What older rows cost would leave nothing for a nightly run."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {"x": rng.normal(size=(200, 4)).tolist(), "label": [f"class-{i % 2}" for i in range(200)]}
    )
    source = tmp_path / "rows.parquet"
    tight = recipe(budget={"cpu_hours": 1e-7}).model_dump(mode="json")
    tight["source"] = {"uri": str(source)}
    tight["seeds"] = 3
    for rows in (100, 200):
        pq.write_table(table.slice(0, rows), source)
        with pytest.raises(PartialError):
            flow.score(parse_recipe(tight, where="tests"), work=tmp_path / "work")
    assert len(list((tmp_path / "work").glob("units/*/unit.json"))) == 2  # the first of each


def test_a_budget_of_gpus_has_no_effect_without_them() -> None:
    with pytest.raises(RecipeError, match=r"budget.gpu_hours has no effect with num_gpus 0"):
        recipe(budget={"gpu_hours": 1})
