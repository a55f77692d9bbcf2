"""How long the pilot's rounds are, and who wins on made-up results."""

from __future__ import annotations

import pytest

from dataprune.evaluation.rounds import (
    FINALISTS,
    MOST_SEEDS,
    Round,
    finalists,
    plan_rounds,
    usual_trainings,
    verdict,
)
from dataprune.evaluation.statistics import difference_error

ORDER = ["first", "second", "third", "random"]


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


@pytest.mark.parametrize("candidates", range(1, 7))
@pytest.mark.parametrize("own", [40, 300, 2000])
@pytest.mark.parametrize("budget", [60, 500, 2000, 9000, 50_000])
def test_rounds_take_the_budget_at_most_and_the_last_is_the_longest(
    candidates: int, own: int, budget: int
) -> None:
    rounds = plan_rounds(candidates, own, budget)
    assert sum(round_.total for round_ in rounds) <= budget
    assert all(1 <= round_.steps <= own for round_ in rounds)
    assert all(1 <= round_.seeds <= MOST_SEEDS for round_ in rounds)
    assert rounds[0].arms == candidates
    assert rounds[-1].arms == (candidates if len(rounds) == 1 else FINALISTS)
    assert rounds[0].steps <= rounds[-1].steps


def test_length_comes_before_seeds_and_seeds_before_nothing() -> None:
    assert plan_rounds(6, 1000, 900_000) == [Round(6, 10, 1000)]  # more seeds would be no use
    assert plan_rounds(6, 1000, 13_000) == [Round(6, 2, 1000)]
    assert plan_rounds(6, 1000, 6000) == [Round(6, 1, 1000)]


def test_finalists_are_trained_whole_if_that_leaves_a_quarter_for_all() -> None:
    assert plan_rounds(6, 1000, 5000) == [Round(6, 1, 333), Round(3, 1, 1000)]
    assert plan_rounds(6, 1000, 4500) == [Round(6, 1, 250), Round(3, 1, 1000)]
    assert plan_rounds(6, 1000, 4499) == [Round(6, 1, 749)]
    assert plan_rounds(3, 1000, 2400) == [Round(3, 1, 800)]


def test_the_best_go_on_in_the_order_that_is_expected() -> None:
    values = {"first": seeds(0.5), "second": seeds(0.8), "third": seeds(0.9), "random": seeds(0.1)}
    assert finalists(values, ORDER) == ["first", "second", "third"]
    values["random"] = seeds(0.6)
    assert finalists(values, ORDER) == ["second", "third", "random"]
    del values["second"]
    assert finalists(values, ORDER) == ["first", "third", "random"]


def test_the_best_mean_wins_and_its_leads_have_intervals() -> None:
    values = {"first": seeds(0.70, 0.71, 0.70), "third": seeds(0.80, 0.81, 0.81)}
    found = verdict(values, ORDER)
    assert found.chosen == "third"
    assert found.over[0].other == "first"
    assert found.over[0].mean == pytest.approx(0.1033, abs=1e-3)
    assert found.over[0].tells


def test_a_lead_that_seeds_may_give_wins_and_is_told_as_such() -> None:
    values = {"first": seeds(0.80, 0.70, 0.75), "second": seeds(0.72, 0.80, 0.76)}
    found = verdict(values, ORDER)
    assert found.chosen == "second"
    assert not found.over[0].tells


def test_random_rows_win_only_by_a_lead() -> None:
    rival = seeds(0.70, 0.72, 0.71)
    near = {"first": rival, "random": seeds(0.71, 0.71, 0.72)}
    far = {"first": rival, "random": seeds(0.80, 0.82, 0.81)}
    assert verdict(near, ORDER).chosen == "first"
    assert verdict(far, ORDER).chosen == "random"
    assert verdict({"random": seeds(0.5)}, ORDER).chosen == "random"


def test_with_one_seed_the_rows_tested_on_bound_what_is_a_lead() -> None:
    values = {"first": seeds(0.80), "random": seeds(0.82)}
    assert verdict(values, ORDER, 500).chosen == "first"  # standard error 0.024
    assert verdict(values, ORDER, 5000).chosen == "random"  # 0.0077
    assert verdict(values, ORDER).chosen == "random"  # of a metric that is no share


def test_equal_results_go_to_the_first_of_the_order() -> None:
    values = {name: seeds(0.8, 0.8, 0.8) for name in reversed(ORDER)}
    assert verdict(values, ORDER).chosen == "first"


def test_one_seed_gives_no_interval_and_the_best_mean() -> None:
    found = verdict({"first": seeds(0.5), "second": seeds(0.6)}, ORDER)
    assert (found.chosen, found.error) == ("second", None)
    assert found.over[0].half_width is None
    assert verdict({"first": seeds(0.5, 0.6)}, ORDER).over == []


@pytest.mark.parametrize(
    ("rows", "trainings"), [(1, 60), (400, 60), (1000, 25), (5000, 5), (90_000, 5)]
)
def test_where_there_are_few_rows_to_test_on_more_trainings_make_up_for_it(
    rows: int, trainings: float
) -> None:
    assert usual_trainings(rows) == trainings


def test_the_pooled_error_of_two_arms_is_that_of_their_paired_differences() -> None:
    one, other = seeds(0.5, 0.7, 0.6), seeds(0.4, 0.5, 0.6)
    error, degrees = difference_error([one, other]) or (0.0, 0)
    assert degrees == 2
    assert error == pytest.approx((0.01 / 3) ** 0.5)  # of 0.1, 0.2, 0.0
    assert difference_error([one]) is None
    assert difference_error([one, {0: 0.5, 7: 0.5}]) is None
