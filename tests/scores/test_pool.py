"""From the values of seeds to one value per row: which seeds count, mean, spread and error."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.scores._pool import counting, pool

VALUES = np.array([[0.1, 0.9, 0.4], [0.3, 0.5, 0.2], [0.8, 0.7, 0.6]])
IN_SAMPLE = np.array([[True, True, False], [True, False, True], [False, True, True]])


def test_in_sample_takes_the_seeds_that_trained_on_the_row() -> None:
    pooled = pool(VALUES, IN_SAMPLE, "in_sample")
    assert pooled.value.tolist() == pytest.approx([0.2, 0.8, 0.4])
    assert pooled.spread.tolist() == pytest.approx([0.1, 0.1, 0.2])


def test_held_out_takes_the_others() -> None:
    pooled = pool(VALUES, IN_SAMPLE, "held_out")
    assert pooled.value.tolist() == pytest.approx([0.8, 0.5, 0.4])
    assert pooled.spread.tolist() == pytest.approx([0.0, 0.0, 0.0])


def test_the_difference_is_the_mean_of_the_first_less_that_of_the_second() -> None:
    pooled = pool(VALUES, IN_SAMPLE, "difference")
    assert pooled.value.tolist() == pytest.approx([0.2 - 0.8, 0.8 - 0.5, 0.4 - 0.4])


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("in_sample", IN_SAMPLE),
        ("held_out", ~IN_SAMPLE),
        ("difference", np.ones((3, 3), dtype=np.bool_)),
    ],
)
def test_which_seeds_count_for_a_row(over: Any, expected: Any) -> None:
    assert np.array_equal(counting(IN_SAMPLE, over), expected)


@pytest.mark.parametrize(
    ("over", "in_SN"),
    [("in_sample", [[False]] * 2), ("held_out", [[True]] * 2), ("difference", [[True]] * 2)],
)
def test_a_row_for_which_no_seed_counts_is_nan(over: Any, in_SN: Any) -> None:
    in_SN = np.asarray(in_SN)
    assert np.isnan(pool(np.ones((2, 1)), in_SN, over).value).all()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_mean_and_spread_equal_a_loop_for_any_mask_and_any_missing_value(
    data: st.DataObject,
) -> None:
    num_seeds, num_rows = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    cell = st.tuples(st.one_of(st.none(), st.floats(-1e3, 1e3)), st.booleans())
    seeds = st.lists(cell, min_size=num_seeds, max_size=num_seeds)
    rows = data.draw(st.lists(seeds, min_size=num_rows, max_size=num_rows))
    values_SN = np.array([[math.nan if v is None else v for v, _ in row] for row in rows]).T
    in_SN = np.array([[m for _, m in row] for row in rows]).T
    pooled = pool(values_SN, in_SN, "in_sample")
    for i, row in enumerate(rows):
        seen = [v for v, m in row if m and v is not None]
        if not seen:
            assert np.isnan(pooled.value[i])
            assert np.isnan(pooled.spread[i])
            continue
        assert pooled.value[i] == pytest.approx(statistics.fmean(seen), rel=1e-9, abs=1e-9)
        assert pooled.spread[i] == pytest.approx(statistics.pstdev(seen), rel=1e-9, abs=1e-9)


def test_the_error_of_a_difference_shrinks_as_one_over_the_root_of_the_number_of_seeds() -> None:
    errors = []
    for num_seeds in (40, 400, 4000):
        in_SN = (np.arange(num_seeds) % 2 == 0)[:, None]
        right = (np.arange(num_seeds) // 2 % 2 == 0)[:, None].astype(np.float64)
        errors.append(float(pool(right, in_SN, "difference").spread[0]))
    assert errors[0] / errors[1] == pytest.approx(math.sqrt(10), rel=0.05)
    assert errors[2] == pytest.approx(math.sqrt(2 * 0.25 / 2000), rel=0.01)


def test_the_error_covers_the_true_difference_about_as_often_as_it_should() -> None:
    """Two standard errors, 20,000 rows of 6 and 4 seeds: near 95 per cent, at uneven shares too."""
    rng = np.random.default_rng(0)
    in_SN = np.repeat([[True]] * 6 + [[False]] * 4, 20_000, axis=1)
    for p_trained, p_held_out in ((0.9, 0.5), (0.95, 0.95), (0.6, 0.3)):
        right_SN = (rng.random(in_SN.shape) < np.where(in_SN, p_trained, p_held_out)).astype(float)
        pooled = pool(right_SN, in_SN, "difference")
        # Agresti and Caffo's interval is around the difference of the shares with the additions.
        shares = [
            (np.where(side, right_SN, 0).sum(axis=0) + 1) / (side.sum(axis=0) + 2)
            for side in (in_SN, ~in_SN)
        ]
        off = np.abs(shares[0] - shares[1] - (p_trained - p_held_out))
        assert 0.9 < np.mean(off <= 1.96 * pooled.spread) <= 1.0
