"""Learning-rate schedules: where they rise, hold, step and end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataprune.core.recipe_training import (
    OneCycleSchedule,
    Schedule,
    StepSchedule,
    WarmupStableDecaySchedule,
)
from dataprune.probe.schedule import lr_factor


def factors(schedule: Schedule, num_steps: int) -> list[float]:
    factor = lr_factor(schedule, num_steps)
    return [factor(step) for step in range(num_steps)]


def test_step_falls_exactly_at_its_milestones_given_as_shares_of_the_run() -> None:
    found = factors(StepSchedule(milestones=(0.4, 0.7), factor=0.2), 50)
    assert found[:20] == [1.0] * 20
    assert found[20:35] == [0.2] * 15
    assert found[35:] == pytest.approx([0.04] * 15)


def test_step_without_milestones_is_constant() -> None:
    assert factors(StepSchedule(milestones=()), 12) == [1.0] * 12


def test_the_default_steps_are_those_of_data_diet() -> None:
    found = factors(StepSchedule(), 200)
    assert [step for step in range(1, 200) if found[step] < found[step - 1]] == [60, 120, 160]


@pytest.mark.parametrize("milestone", [0, 1, 60])
def test_a_milestone_that_no_step_could_reach_is_refused(milestone: float) -> None:
    with pytest.raises(ValidationError):
        StepSchedule(milestones=(milestone,))


def test_one_cycle_rises_to_1_at_the_end_of_warmup_and_falls_to_one_step_above_0() -> None:
    found = factors(OneCycleSchedule(warmup=0.2), 100)
    assert found[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert found[19] == found[20] == 1.0
    assert found[20:] == pytest.approx([(100 - step) / 80 for step in range(20, 100)])


def test_one_cycle_without_warmup_starts_at_the_peak() -> None:
    found = factors(OneCycleSchedule(warmup=0), 10)
    assert found == pytest.approx([(10 - step) / 10 for step in range(10)])


def test_warmup_stable_decay_holds_1_between_its_ramps() -> None:
    found = factors(WarmupStableDecaySchedule(warmup=0.1, decay=0.2), 100)
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert found[9:81] == [1.0] * 72
    assert found[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


def test_warmup_stable_decay_without_ramps_is_constant() -> None:
    assert factors(WarmupStableDecaySchedule(warmup=0, decay=0), 7) == [1.0] * 7


def test_ramps_longer_than_the_run_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than the whole run"):
        WarmupStableDecaySchedule(warmup=0.6, decay=0.5)


warmups = st.floats(0, 0.99)
ramps = st.tuples(st.floats(0, 0.99), st.floats(0, 1)).filter(lambda w: sum(w) <= 1)
schedules = st.one_of(
    st.builds(
        StepSchedule,
        milestones=st.lists(st.floats(0.01, 0.99), max_size=4).map(tuple),
        factor=st.floats(0.01, 1),
    ),
    st.builds(OneCycleSchedule, warmup=warmups),
    ramps.map(lambda w: WarmupStableDecaySchedule(warmup=w[0], decay=w[1])),
)


@settings(max_examples=150, deadline=None)
@given(schedules, st.integers(1, 300))
def test_a_factor_is_always_above_0_and_at_most_1(schedule: Schedule, num_steps: int) -> None:
    assert all(0 < f <= 1 for f in factors(schedule, num_steps))


@settings(max_examples=100, deadline=None)
@given(st.one_of(schedules), st.integers(1, 300))
def test_every_ramp_reaches_its_peak_and_rises_once_and_falls_once(
    schedule: Schedule, num_steps: int
) -> None:
    found = factors(schedule, num_steps)
    if not isinstance(schedule, StepSchedule):
        assert max(found) == pytest.approx(1, abs=1e-9)
    peak = found.index(max(found))
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)


@settings(max_examples=60, deadline=None)
@given(warmups.filter(lambda w: w < 0.5), st.integers(50, 400))
def test_the_last_step_of_a_falling_schedule_is_near_0(warmup: float, num_steps: int) -> None:
    for schedule in (
        OneCycleSchedule(warmup=warmup),
        WarmupStableDecaySchedule(warmup=warmup, decay=0.5),
    ):
        assert factors(schedule, num_steps)[-1] <= 2 / num_steps + 1e-9
