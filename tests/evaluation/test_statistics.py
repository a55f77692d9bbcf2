"""Intervals, paired tests and Holm's correction, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dataprune.evaluation.statistics import estimate, holm, paired


def test_a_paired_difference_is_scipys() -> None:
    ours = {0: 0.91, 1: 0.93, 2: 0.90, 3: 0.95}
    theirs = {0: 0.90, 1: 0.90, 2: 0.91, 3: 0.91}
    found = paired(ours, theirs)
    wanted = stats.ttest_rel(list(ours.values()), list(theirs.values()))
    low, high = wanted.confidence_interval(0.95)
    assert found is not None
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert not found.tells


def test_seeds_are_paired_by_number_and_others_left_out() -> None:
    found = paired({0: 1.0, 1: 2.0, 5: 9.0}, {1: 1.0, 0: 0.5, 7: 3.0})
    assert found is not None
    assert found.mean == pytest.approx(0.75)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_an_interval_that_leaves_zero_out_has_a_small_p() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = estimate(rng.normal(0.5, 1, size=5).tolist())
        assert found.half_width is not None
        assert found.tells == (abs(found.mean) > found.half_width)


def test_what_seeds_cannot_tell() -> None:
    one = estimate([0.5])
    assert (one.mean, one.half_width, one.p) == (0.5, None, None)
    assert estimate([0.0, 0.0]).p == 1.0  # the same units
    assert estimate([0.1, 0.1]).p is None  # no spread to compare with
    assert estimate([0.91 - 0.86, 0.90 - 0.85, 0.95 - 0.9]).p is None  # nor is rounding one
    assert not estimate([0.1, 0.1]).tells


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, None, 0.03]) == [
        pytest.approx(0.06), pytest.approx(0.03), None, pytest.approx(0.06),
    ]  # fmt: skip
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([None]) == [None]
