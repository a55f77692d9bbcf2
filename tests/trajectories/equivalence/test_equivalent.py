"""Answers: which are one, which are not, which code cannot tell; symmetric, reflexive, bounded."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.trajectories.equivalence import equivalent, read_answer, spread
from dataprune.trajectories.equivalence.lists import matched

T, F, N = True, False, None
PAIRS = [
    ("5%", "5", F),
    ("5 %", "0.05", T),
    ("-5", "5", F),
    ("1e-5", "1", F),
    ("12", "12 and 13", F),
    ("2019", "in 2019 there were 7", F),
    ("5 km", "5 miles", F),
    ("5 km", "5000 m", T),
    ("5 km", "5", T),
    ("$1,234.50", "1234.5", T),
    ("$\\frac{1}{2}$", "0.5", T),
    ("\\boxed{42}", "42", T),
    ("The answer is 42.", "42", T),
    ("Jim spends a total of 36 hours on TV", "36", T),
    ("36 hours", "36", T),
    ("C ) Dementia", "Dementia", T),
    ("C", "c", T),
    ("(C)", "C) 39", T),
    ("C ) 39", "39", T),
    ("A", "B", F),
    ("A ) 0.3", "C ) 0.3", F),
    ("Yes", "yes.", T),
    ("True", "Yes", T),
    ("No, Skeptical is not", "No", T),
    ("No one", "No", N),
    ("March 5, 2019", "2019-03-05", T),
    ("5 March 2019", "2019-03-05 00:00:00", T),
    ("03/05/2019", "2019-03-05", N),
    ("13/05/2019", "2019-05-13", T),
    ("March 2019", "March 5, 2019", F),
    ("[1, 0]", "[0, 1]", F),
    ("1, 2, 3", "3, 2, 1", T),
    ("{1, 2}", "{2, 1}", T),
    ("['a', 'b']", "['b', 'a']", T),
    ("a, b and c", "c, b, a", T),
    ("[1, 2]", "[1, 2, 2]", F),
    ("@a[1.0], @b[2.00001]", "@b[2.0]\n@a[1]", T),
    ("@a[1]", "@a[2]", F),
    ("a = 23, b = -4", "b = -4, a = 23", T),
    ('{"a": 1, "b": [1,2]}', "@a[1] @b[[1, 2]]", T),
    ("| n | v |\n|---|---|\n| a | 1.5 |\n| b | 2 |", "v,n\n2,b\n1.50001,a", T),
    ("[(1, 'a'), (2, 'b')]", "[(2, 'b'), (1, 'a')]", T),
    ('[{"n":"a","v":1},{"n":"b","v":2}]', "| v | n |\n|---|---|\n| 1 | a |\n| 2 | b |", T),
    ("[(1, 'a'), (2, 'b')]", "[(1, 'a'), (2, 'b'), (2, 'b')]", F),
    ("[(1,'a'),(2,'b')]", "[(1,'a','x'),(2,'b','x')]", F),
    ("[(5,)]", "5", T),
    ("300 million", "300,000,000", T),
    ("x = 0.267", "0.267", T),
    ("1000 - 300 - 420 = 280", "280", T),
    ("2.5 * 10^-23 kg", "A ) 2.5 * 10^-23 kg", T),
    ("2.5 \u00d7 10\u207b\u00b2\u00b3 kg", "2.5e-23", T),
    ("1 1/2", "1.5", T),
    ("\u00bd", "0.5", T),
    ("2\u00bd", "2.5", T),
    ("10\u00b2", "102", F),
    ("10^2", "100", T),
    ("2x", "2", F),
    ("3 pi", "3", F),
    ("$5", "\u20ac5", F),
    ("-$5", "-5", T),
    ("5 USD", "$5", T),
    ("282.0 square inches", "282 in^2", T),
    ("100000", "100001", F),
    ("100000.5", "100001.5", T),
    ("The Saturdays", "saturdays", T),
    ("Paris", "Rome", N),
    ("Paris", "7", F),
    ("1e999999", "1e999999", T),
    ("1e999999", "1", F),
    ("9" * 5000, "9" * 5000, T),
    ("9" * 5000, "1", F),
    ("0", "0.0", T),
    ("-0", "0", T),
    ("seven", "7", T),
    ("3.14", "3.1415", F),
    ("Option C", "c", T),
    ("A. Lincoln", "A. Johnson", N),
    ("5 apples", "5 oranges", N),
    ("5 apples", "5", T),
    ("at least 5 people came", "5", F),
    ("50%", "50 percent", T),
    ("\\text{(B)}", "B", T),
    ("**B**", "b", T),
    ("60 minutes", "1 hour", T),
    ("5-10", "5", F),
    ("[5]", "5", T),
    ("1,234", "1234", T),
    ("[1,234]", "1234", F),
    ("A ) x, B ) y", "A ) x", F),
    ("null", "None", N),
    ("", "", T),
    ("$5$", "5", T),
    ("$5 and $6", "5", F),
    ("5%", "$5", F),
    ("20 degrees", "20\u00b0", T),
    ("-x", "x", N),
    ("3.00001", "3", T),
    ("97", "100", F),
    ("-1/2", "-0.5", T),
    ("1/0", "1", F),
    ("1.5 miles", "1.5 miles", T),
    ("5 degrees C", "5 degrees F", F),
    ("12 and more", "12", F),
    ("", "0", F),
    ("[]", "[]", T),
    ("[]", "0", F),
    ("2 + 2 = 4", "4.0", T),
    ("There is no 5 in it", "5", F),
    ("- a\n- b", "b, a", T),
    ("(1, 2)", "(2, 1)", F),
    ("mean: 5, std: 3", "@std[3] @mean[5]", T),
    ("a\tb\n1\t2\n3\t4", "a,b\n3,4\n1,2", T),
    ("Decimal('1.5')", "Decimal('1.5')", T),
    ("[(Decimal('1.5'), 'a'), (None, 'b')]", "[(1.5, 'a'), ('', 'b')]", T),
    ("5 km/h", "5 miles per hour", F),
    ("1e400", "2e400", N),
    ("0.0000001", "0", F),
    ("[0.1, 1]", "[0.1, 1, 1]", F),
]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS)
def test_pairs_are_told_either_way_round(first: str, second: str, expected: object) -> None:
    a, b = read_answer(first), read_answer(second)
    assert equivalent(a, b) is expected
    assert equivalent(b, a) is expected


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS)
def test_pairs_hold_inside_named_values(first: str, second: str, expected: object) -> None:
    if (
        "[" in first + second
        or "@" in first + second
        or "\n" in first + second
        or "{" in first + second
    ):
        return
    a, b = read_answer(f"@x[{first}]"), read_answer(f"@x[{second}]")
    assert equivalent(a, b) is equivalent(b, a)


def test_tolerance_is_relative_and_whole_numbers_are_exact() -> None:
    a, b = read_answer("100.5"), read_answer("103.0")
    assert equivalent(a, b, 0.03) is True
    assert equivalent(a, b, 0.01) is False
    assert equivalent(read_answer("100"), read_answer("101"), 0.03) is False
    assert spread(a, b) == pytest.approx(2.5 / 103)


WORDS = (
    "1 2 12 0.5 -3 1e-5 5% $5 km miles apples A B) C. yes no [ ] ( ) { } , ; | \n @a[ @b[ = : "
    "and . - \\frac{1}{2} \\boxed{ } $ March 2019 2019-03-05 03/05/2019 ' \" the not Paris "
    "\u00bd \u2212 \ud800"
)
PIECES = st.sampled_from(WORDS.split(" "))
ANSWERS = st.one_of(
    st.lists(PIECES, max_size=12).map(" ".join),
    st.lists(PIECES, max_size=8).map("".join),
    st.text(max_size=30),
)


@settings(max_examples=400, deadline=None)
@given(ANSWERS, ANSWERS, st.sampled_from([0.0, 1e-4, 0.03]))
def test_the_relation_is_symmetric_and_reflexive(x: str, y: str, tolerance: float) -> None:
    a, b = read_answer(x), read_answer(y)
    assert equivalent(a, a, tolerance) is True
    assert equivalent(a, read_answer(x), tolerance) is True
    assert equivalent(a, b, tolerance) is equivalent(b, a, tolerance)
    if equivalent(a, b, tolerance):
        assert spread(a, b) == spread(b, a)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 50_000 + "]" * 50_000,
        "{" * 99_999,
        '{"a":' * 20_000,
        "\\boxed{" * 14_000,
        "\\frac{1}" * 12_000,
        "@a[" * 33_000,
        "1" * 100_000,
        "1," * 50_000,
        "1,234" * 20_000,
        "1e999999",
        "-" * 100_000,
        "= " * 50_000,
        "a, " * 33_000,
        "| a " * 25_000 + "\n" + "| - " * 100,
        "(" + "'" * 99_990 + ")",
        "$" * 100_000,
        " and " * 20_000,
        "1/" * 50_000,
        "\ud800" * 1000,
        "a = 1, " * 14_000,
        "7" * 50_000_000,
    ],
    ids=lambda text: text[:8].encode("ascii", "replace").decode(),
)
def test_hostile_texts_are_read_in_bounded_time(text: str) -> None:
    start = time.perf_counter()
    answer = read_answer(text)
    assert equivalent(answer, answer) is True
    assert equivalent(answer, read_answer("1")) is not True
    assert time.perf_counter() - start < 10


@given(st.lists(st.integers(0, 6), max_size=6), st.lists(st.integers(0, 6), max_size=6))
def test_multisets_of_equal_things_match_and_others_do_not(a: list[int], b: list[int]) -> None:
    assert matched(a, b, lambda x, y: x == y, lambda x: x) is (sorted(a) == sorted(b))


def test_a_multiset_is_paired_off_where_greed_would_fail() -> None:
    near = {(1, 10), (1, 11), (2, 10)}
    found = matched([1, 2], [10, 11], lambda x, y: (x, y) in near, lambda x: x)
    assert found is True
