"""What each stage took, and of which queries."""

from __future__ import annotations

import numpy as np
import pytest

from dataprune.trajectories.funnel import frontier_retention, funnel, pass_rates, stage_place

NAN = float("nan")


def test_queries_are_counted_once_and_by_pass_rate() -> None:
    rate = np.array([0, 0, 0.1, 0.11, 0.9, 0.91, 1, NAN, 0.3])
    queries = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7])
    left = np.ones(9, dtype=np.bool_)
    assert pass_rates(left, rate, queries) == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1]
    assert pass_rates(~left, rate, queries) is None


def test_the_frontier_is_what_is_solved_sometimes() -> None:
    rate, queries = np.array([0.5, 0.5, 0.2, 1, 0, NAN]), np.array([0, 0, 1, 2, 3, 4])
    left = np.array([False, True, False, True, True, True])
    assert frontier_retention(left, rate, queries) == 0.5
    assert frontier_retention(left, np.where(rate < 1, 0, rate), queries) is None


def test_rows_go_in_the_first_stage_that_rejects_them_and_codes_overlap() -> None:
    told = funnel(
        [{"A": "reject", "B": "reject"}, {"B": "reject", "C": "flag"}, {"C": "flag"}, {}],
        ["format", "groups", None, None],
        {"A": "format", "B": "groups", "C": "substance"},
        np.array([0.5, 0.5, 1, NAN]),
        np.arange(4),
    )
    assert [(s["stage"], s["rows_in"], s["rows_out"]) for s in told["stages"]] == [
        ("input", 4, 4), ("format", 4, 3), ("groups", 3, 2),
    ]  # fmt: skip
    assert [(c["code"], c["rows"], c["rejected"], c["alone"]) for c in told["codes"]] == [
        ("A", 1, 1, 0), ("C", 2, 0, 0), ("B", 2, 2, 1),
    ]  # fmt: skip
    assert told["frontier_retention"] == pytest.approx(0)


def test_a_stage_of_a_users_own_comes_last() -> None:
    assert sorted(["mine", "balance", "schema"], key=stage_place) == ["schema", "balance", "mine"]
