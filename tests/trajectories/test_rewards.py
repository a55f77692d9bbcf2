"""Pass rates per query: Wilson's interval, bands, and an order from easy to hard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.trajectories.rewards import (
    band_of,
    curriculum_rank,
    difficulty_proxy,
    outcomes,
    pass_rates,
    wilson,
)


def test_success_is_what_the_run_says_else_a_reward_of_one() -> None:
    found = outcomes(
        [1.0, 0.99, None, 0.0, None, float("nan")], [None, None, None, True, False, None]
    )
    assert found.tolist()[:2] == [1, 0]
    assert np.isnan(found[2])
    assert found.tolist()[3:5] == [1, 0]
    assert np.isnan(found[5])


def test_a_threshold_asks_the_reward_first() -> None:
    assert outcomes([0.5, 0.4, None], [False, True, True], 0.5).tolist() == [1, 0, 1]


def test_unknown_outcomes_are_no_attempts() -> None:
    rates = pass_rates(["b", "a", "b", "b"], np.array([1, np.nan, 0, np.nan]))
    assert rates.query_ids == ("a", "b")
    assert rates.attempts.tolist() == [0, 2]
    assert rates.successes.tolist() == [0, 1]
    assert np.isnan(rates.rate[0])
    assert rates.rate[1] == 0.5
    assert rates.bands == (None, "medium")
    assert rates.low_n.tolist() == [True, True]
    assert rates.of_rows(["b", "a", "c"]) == ["medium", None, None]


def test_four_attempts_are_enough() -> None:
    rates = pass_rates(["q"] * 4, np.array([1.0, 0, 0, 0]))
    assert rates.low_n.tolist() == [False]


@pytest.mark.parametrize(
    ("rate", "band"),
    [
        (0, "unsolved"),
        (0.01, "hard"),
        (0.3, "hard"),
        (3 / 10, "hard"),
        (0.31, "medium"),
        (7 / 10, "medium"),
        (0.71, "easy"),
        (0.999, "easy"),
        (1, "trivial"),
        (float("nan"), None),
    ],
)
def test_bands_end_where_they_should(rate: float, band: str | None) -> None:
    assert band_of(rate) == band


def test_wilson_is_the_published_interval() -> None:
    low, high = wilson(np.array([5, 0, 4, 0]), np.array([10, 4, 4, 0]))
    # 5 of 10: Newcombe 1998, method 3; 0 of 4: z^2 / (4 + z^2).
    assert (low[0], high[0]) == pytest.approx((0.2366, 0.7634), abs=5e-5)
    assert (low[1], high[1]) == pytest.approx((0, 0.4899), abs=5e-5)
    assert (low[2], high[2]) == pytest.approx((0.5101, 1), abs=5e-5)
    assert np.isnan([low[3], high[3]]).all()


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_and_where_it_ends_the_score_test_turns(
    case: tuple[int, int],
) -> None:
    k, n = case
    (low,), (high,) = wilson(np.array([k]), np.array([n]))
    assert 0 <= low <= k / n <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            z = abs(k / n - end) / np.sqrt(end * (1 - end) / n)
            assert z == pytest.approx(1.96, abs=1e-3)


def test_vote_shares_stand_in_and_say_so() -> None:
    rates = difficulty_proxy(["q", "q", "q", "r"], [True, True, False, True])
    assert rates.name == "difficulty_proxy"
    assert rates.rate.tolist() == pytest.approx([2 / 3, 1])


def test_a_curriculum_goes_from_easy_to_hard() -> None:
    ranks = curriculum_rank(
        ["a", "b", "c", "d", "e"],
        ["hard", "trivial", "trivial", None, "trivial"],
        [1, None, 2, 1, 2],
        [1, 1, 5, 1, 3],
        seed=0,
    )
    assert ranks.tolist() == [3, 2, 1, 4, 0]


def test_equal_runs_are_ordered_by_the_seed_and_not_by_row() -> None:
    ids = [str(i) for i in range(50)]
    same = (["hard"] * 50, [1] * 50, [1] * 50)
    ranks = curriculum_rank(ids, *same, seed=1)  # type: ignore[arg-type]
    back = curriculum_rank(ids[::-1], *same, seed=1)  # type: ignore[arg-type]
    assert back.tolist()[::-1] == ranks.tolist()
    other = curriculum_rank(ids, *same, seed=2)  # type: ignore[arg-type]
    assert other.tolist() != ranks.tolist()


@pytest.mark.real_data
def test_tau_bench_has_its_known_pass_rates(real_data: Path) -> None:
    runs = json.loads((real_data / "trajectories/tau-bench/gpt-4o-airline.json").read_text())
    outcome = outcomes([run["reward"] for run in runs], [None] * len(runs))
    rates = pass_rates([str(run["task_id"]) for run in runs], outcome)
    values, counts = np.unique(rates.rate, return_counts=True)
    assert values.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert counts.tolist() == [14, 12, 10, 4, 10]
    assert not rates.low_n.any()
