"""Bounds of wrong flags: against scipy, at the edges, and how often they are broken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from dataprune.auditing.bounds import largest_within, prefixes, upper_bound

DELTA = 0.1


@pytest.mark.parametrize("delta", [1e-6, 0.0125, 0.025, 0.1, 0.5, 0.9])
def test_the_upper_bound_is_clopper_and_pearsons(delta: float) -> None:
    for trials in (1, 2, 7, 30, 60, 119, 240, 1000):
        for hits in {0, 1, 2, trials // 7, trials // 2, trials - 1} & set(range(trials)):
            want = beta.ppf(1 - delta, hits + 1, trials - hits)
            assert upper_bound(hits, trials, delta) == pytest.approx(want, abs=1e-12, rel=1e-10)


def test_the_upper_bound_is_one_where_nothing_speaks_against_it() -> None:
    assert upper_bound(0, 0, 0.1) == 1
    assert upper_bound(5, 5, 0.1) == 1


def test_prefixes_are_quarters_of_the_flags_rounded_up() -> None:
    found = prefixes(np.arange(10), [0, 2, 4, 9], [4, 9], DELTA)
    assert [p.rows for p in found] == [3, 5, 8, 10]
    assert [p.judged for p in found] == [2, 3, 3, 4]
    assert [p.wrong_flags for p in found] == [0, 1, 1, 2]
    assert [p.estimate for p in found] == [0, 1 / 3, 1 / 3, 0.5]
    for p in found:
        assert p.bound == upper_bound(p.wrong_flags, p.judged, DELTA / 4)


def test_a_prefix_without_a_judged_row_is_unknown() -> None:
    first, *_ = prefixes(np.arange(40), [39], [], DELTA)
    assert (first.judged, first.estimate, first.bound) == (0, None, 1.0)


def test_a_prefix_that_was_judged_whole_is_known_exactly() -> None:
    ranked = np.asarray([7, 3, 9, 1])
    found = prefixes(ranked, [7, 3, 9, 1], [9], DELTA)
    assert [p.bound for p in found] == [0, 0, 1 / 3, 0.25]
    assert all(p.is_census for p in found)


def test_the_largest_prefix_within_alpha_wins_even_if_a_smaller_one_does_not() -> None:
    found = prefixes(np.arange(8), range(8), [1], DELTA)
    assert [p.bound for p in found] == [0.5, 0.25, pytest.approx(1 / 6), 0.125]
    passed = largest_within(found, 0.2)
    assert passed is not None
    assert passed.share == 1.0
    assert largest_within(found, 0.1) is None


@pytest.mark.slow
@pytest.mark.parametrize(("worst", "often"), [(0.15, 0.9), (0.5, 0.5), (0.9, 0.1)])
def test_the_share_of_wrong_flags_is_above_alpha_in_few_audits(worst: float, often: float) -> None:
    """A population whose flags get worse with rank, audited anew 200 times with 120 rows."""
    alpha, size, times = 0.2, 2000, 200
    rng = np.random.default_rng(0)
    is_wrong = rng.random(size) < np.linspace(0, worst, size)
    share = np.cumsum(is_wrong) / np.arange(1, size + 1)
    broken = passed = 0
    for _ in range(times):
        rows = rng.choice(size, 120, replace=False)
        found = prefixes(np.arange(size), rows, rows[is_wrong[rows]], DELTA)
        chosen = largest_within(found, alpha)
        if chosen is not None:
            passed += 1
            broken += share[chosen.rows - 1] > alpha
    assert broken / times <= DELTA
    assert passed > often * times, "a bound that lets nothing pass proves nothing"
