"""Whole-number budgets: what --keep means, and how a budget is shared out over classes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.selection._quotas import budget_rows, class_quotas, parse_keep


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("25000", 25000),
        ("1", 1),
        ("0", 0),
        ("-1", -1),
        ("0.5", 0.5),
        (".25", 0.25),
        ("1.0", 1.0),
        ("1.5", 1.5),
        ("50%", 0.5),
        ("100%", 1.0),
        ("12.5%", 0.125),
        ("1e3", 1000.0),
        ("1e-1", 0.1),
    ],
)
def test_a_whole_number_is_a_count_and_a_point_or_percent_sign_makes_a_fraction(
    text: str, keep: float
) -> None:
    found = parse_keep(text)
    assert found == keep
    assert type(found) is type(keep)


@pytest.mark.parametrize("text", ["abc", "", "%", "half", "1/2", "5 0", "0,5", "nan", "50%%"])
def test_what_is_neither_a_count_nor_a_fraction_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="--keep is") as caught:
        parse_keep(text)
    assert "25000" in (caught.value.hint or "")
    assert "50%" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["0", "-1", "0.0", "-0.5", "1.5", "1e3", "0%", "200%", "101"])
def test_a_keep_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        budget_rows(parse_keep(text), 100)


@pytest.mark.parametrize("keep", [float("nan"), float("inf"), True, "0.5", None])
def test_a_keep_that_is_no_number_in_range_is_refused(keep: object) -> None:
    with pytest.raises(UsageError, match="keep is"):
        budget_rows(keep, 100)


def test_a_count_written_like_a_fraction_is_told_how_to_be_a_count() -> None:
    with pytest.raises(UsageError) as caught:
        budget_rows(parse_keep("1e3"), 5000)
    assert "1000 without a point" in (caught.value.hint or "")


def test_a_fraction_so_small_that_it_keeps_no_row_is_refused() -> None:
    with pytest.raises(UsageError, match="is no row"):
        budget_rows(0.004, 100)
    assert budget_rows(0.006, 100) == 1


@pytest.mark.parametrize(
    ("keep", "num_rows", "budget"),
    [(0.5, 5, 2), (0.5, 7, 4), (0.3, 10, 3), (1.0, 7, 7), (1, 7, 1), (7, 7, 7), (0.29, 100, 29)],
)
def test_a_fraction_keeps_pythons_round_and_a_count_keeps_itself(
    keep: float, num_rows: int, budget: int
) -> None:
    assert budget_rows(keep, num_rows) == budget


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1, exclude_min=True), st.integers(1, 10**7))
def test_every_fraction_keeps_exactly_round_of_it(frac: float, num_rows: int) -> None:
    assume(round(frac * num_rows) > 0)
    assert budget_rows(frac, num_rows) == round(frac * num_rows)


def slow_proportional(budget: int, sizes: list[int]) -> list[int]:
    """Largest remainder in exact arithmetic; equal remainders go to the first class."""
    exact = [Fraction(budget * size, sum(sizes)) for size in sizes]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (quotas[k] - exact[k], k))
    for k in by_remainder[: budget - sum(quotas)]:
        quotas[k] += 1
    return quotas


def slow_equal(budget: int, sizes: list[int]) -> list[int]:
    """One row to each class in turn, passing over classes that are whole."""
    quotas = [0] * len(sizes)
    while budget:
        for k, size in enumerate(sizes):
            if budget and quotas[k] < size:
                quotas[k] += 1
                budget -= 1
    return quotas


REFERENCES = {"proportional": slow_proportional, "equal": slow_equal}
class_sizes = st.lists(st.integers(0, 40), min_size=1, max_size=7).filter(sum)


def quotas_of(mode: str, budget: int, sizes: list[int], floor: int = 0) -> list[int]:
    names = [f"c{k}" for k in range(len(sizes))]
    return class_quotas(mode, budget, np.asarray(sizes), floor, names).tolist()


@pytest.mark.parametrize("mode", sorted(REFERENCES))
@settings(max_examples=250, deadline=None)
@given(class_sizes, st.data())
def test_quotas_equal_an_exact_reference(mode: str, sizes: list[int], data: st.DataObject) -> None:
    budget = data.draw(st.integers(1, sum(sizes)))
    assert quotas_of(mode, budget, sizes) == REFERENCES[mode](budget, sizes)


def test_equal_remainders_go_to_the_first_class_however_large_the_others_are() -> None:
    assert quotas_of("proportional", 4, [1, 10, 1]) == [1, 3, 0]
    assert quotas_of("proportional", 2, [1, 1, 1]) == [1, 1, 0]


def test_equal_keeps_small_classes_whole_and_shares_their_rest() -> None:
    assert quotas_of("equal", 30, [3, 100, 100]) == [3, 14, 13]
    assert quotas_of("equal", 203, [3, 100, 100]) == [3, 100, 100]
    assert quotas_of("equal", 2, [5, 5, 5]) == [1, 1, 0]


def test_a_floor_raises_small_classes_and_the_others_share_what_is_left() -> None:
    assert quotas_of("proportional", 20, [2, 10, 88], floor=2) == [2, 2, 16]
    assert quotas_of("proportional", 20, [2, 10, 88], floor=0) == [0, 2, 18]


@pytest.mark.parametrize("mode", sorted(REFERENCES))
@settings(max_examples=250, deadline=None)
@given(class_sizes, st.integers(0, 12), st.data())
def test_quotas_sum_to_the_budget_within_floors_and_sizes_or_are_refused(
    mode: str, sizes: list[int], floor: int, data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, sum(sizes)))
    present = [size for size in sizes if size]
    if any(size < floor for size in present) or floor * len(present) > budget:
        with pytest.raises(UsageError):
            quotas_of(mode, budget, sizes, floor)
        return
    quotas = quotas_of(mode, budget, sizes, floor)
    assert sum(quotas) == budget
    for quota, size in zip(quotas, sizes, strict=True):
        assert min(floor, size) <= quota <= size


def test_a_class_smaller_than_the_floor_is_named() -> None:
    with pytest.raises(UsageError, match="class c1 has 3 rows, fewer than the 5") as caught:
        quotas_of("proportional", 50, [90, 3, 7], floor=5)
    assert "--min-per-class" in (caught.value.hint or "")


def test_floors_that_together_exceed_the_budget_are_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError, match="5 rows of each of 3 classes are more than the 14"):
        quotas_of("equal", 14, [10, 10, 0, 10], floor=5)
