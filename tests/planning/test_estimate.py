"""The arithmetic from timed parts to what a run takes: known timings, known answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.planning.estimate import (
    allowance,
    hours,
    seconds_by_kind,
    wall_seconds,
)
from dataprune.probe.stopwatch import Part


def test_a_part_takes_as_much_longer_as_there_is_more_of_it() -> None:
    part = Part("train", "training steps", done=50, whole=2000, seconds=3.0, cpu_seconds=2.5)
    assert part.unit_seconds == 120.0
    assert part.unit_cpu_seconds == 100.0


def test_parts_add_up_by_what_they_are_for() -> None:
    parts = [
        Part("train", "training steps", 10, 100, 1.0, 1.0),
        Part("score", "first batch", 2, 4, 0.5, 0.5),
        Part("score", "other rows", 1000, 4000, 2.0, 2.0),
        Part("rest", "set-up", 1, 1, 0.25, 0.25),
    ]
    found = seconds_by_kind(parts)
    assert found == {"train": 10.0, "score": 9.0, "held-out": 0.0, "rest": 0.25}


@pytest.mark.parametrize(
    ("at_once", "seconds"), [(1, 105.0), (3, 45.0), (4, 35.0), (9, 25.0), (10, 15.0), (64, 15.0)]
)
def test_units_run_in_waves_after_one_start(at_once: int, seconds: float) -> None:
    assert wall_seconds(10, at_once, unit_s=10.0, start_s=5.0) == seconds


def test_with_nothing_to_train_nothing_starts() -> None:
    assert wall_seconds(0, 4, unit_s=10.0, start_s=5.0) == 0.0


def test_hours_are_seconds_times_the_share_of_a_device() -> None:
    assert hours(10, 1800.0, 0.5) == 2.5
    assert hours(4, 900.0, 8) == 8.0


@pytest.mark.parametrize(
    ("budget", "spent", "enough"),
    [(2.0, 0.0, 8), (2.0, 0.5, 6), (0.2, 0.0, 0), (2.5, 0.0, 10), (99.0, 0.0, 10), (2.0, 3.0, 0)],
)
def test_a_budget_pays_for_whole_units_after_what_is_spent(
    budget: float, spent: float, enough: int
) -> None:
    found = allowance("GPU", budget, spent, units=10, unit_hours=0.25)
    assert found.enough_for == enough
    assert found.needed_hours == 2.5


def test_a_budget_that_is_exactly_enough_is_enough() -> None:
    assert allowance("CPU", 10 * 0.1, 0.0, units=10, unit_hours=0.1).enough_for == 10


def test_what_costs_nothing_is_always_paid_for() -> None:
    assert allowance("GPU", 1.0, 0.0, units=10, unit_hours=0.0).enough_for == 10


@given(
    units=st.integers(1, 50),
    budget=st.floats(0.01, 100),
    spent=st.floats(0, 100),
    unit_hours=st.floats(0.001, 10),
)
def test_what_a_budget_is_enough_for_never_exceeds_it(
    units: int, budget: float, spent: float, unit_hours: float
) -> None:
    found = allowance("CPU", budget, spent, units, unit_hours)
    assert 0 <= found.enough_for <= units
    assert found.enough_for == 0 or spent + found.enough_for * unit_hours <= budget * (1 + 1e-6)
    if found.enough_for < units:
        assert spent + (found.enough_for + 1) * unit_hours > budget


@pytest.mark.parametrize(
    ("spent", "units", "told"),
    [
        (0.0, 10, "the budget of 2 GPU hours is enough for 8 of 10 units"),
        (0.0, 5, "the budget of 2 GPU hours is enough for all 5 units"),
        (0.0, 1, "the budget of 2 GPU hours is enough for the unit"),
        (
            0.5,
            10,
            "the budget of 2 GPU hours, of which 0.5 are spent, is enough for 6 of 10 units",
        ),
    ],
)
def test_it_is_told_in_one_sentence(spent: float, units: int, told: str) -> None:
    assert str(allowance("GPU", 2.0, spent, units, 0.25)) == told
