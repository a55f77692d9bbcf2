"""Do seeds agree, how many would be enough, do scores say the same?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from dataprune.scores import Values
from dataprune.scores import _reliability as module
from dataprune.scores._reliability import (
    advice,
    between,
    hardest_half_overlap,
    more_seeds,
    reliability,
    spearman,
    spearman_brown,
)

UNKNOWN = {"split_half_spearman": None, "reliability": None, "kept_half_overlap": None}


def of_all_rows(values_SN: Values, *, root_seed: int = 0) -> dict[str, Any]:
    """Reliability where every seed trained on every row that it has a value of."""
    return reliability(values_SN, ~np.isnan(values_SN), "in_sample", root_seed=root_seed)


def noisy_seeds(num_seeds: int, num_rows: int, noise: float) -> Values:
    rng = np.random.default_rng(5)
    return rng.normal(size=num_rows) + noise * rng.normal(size=(num_seeds, num_rows))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.integers(0, 6), min_size=n, max_size=n),
            st.lists(st.integers(0, 6), min_size=n, max_size=n),
        )
    )
)
def test_spearman_equals_scipys_with_ties(pair: tuple[list[int], list[int]]) -> None:
    a, b = (np.asarray(x, dtype=np.float64) for x in pair)
    assume(a.std() > 0 and b.std() > 0)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_with_a_constant_is_nan() -> None:
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_two_seeds_are_corrected_by_two_r_over_one_plus_r() -> None:
    values_SN = noisy_seeds(2, 400, 1.0)
    r = stats.spearmanr(*values_SN).statistic
    found = of_all_rows(values_SN)
    assert found["split_half_spearman"] == pytest.approx(r, abs=1e-6)
    assert found["reliability"] == pytest.approx(2 * r / (1 + r), abs=1e-6)


def test_three_seeds_are_corrected_from_one_seed_to_three() -> None:
    found = of_all_rows(noisy_seeds(3, 400, 1.0))
    r = found["split_half_spearman"]
    assert found["reliability"] == pytest.approx(3 * r / (1 + 2 * r), abs=1e-5)


def test_the_corrected_value_is_what_twice_as_many_seeds_would_agree_to() -> None:
    """Half of eight seeds against the other four, corrected, is eight against eight others."""
    rng = np.random.default_rng(2)
    truth = rng.normal(size=6000)
    seeds = truth + 2 * rng.normal(size=(16, 6000))
    predicted = of_all_rows(seeds[:8])["reliability"]
    found = stats.spearmanr(seeds[:8].mean(axis=0), seeds[8:].mean(axis=0)).statistic
    assert predicted == pytest.approx(found, abs=0.02)


def test_split_half_of_many_seeds_lies_within_what_the_splits_can_give() -> None:
    values_SN = noisy_seeds(4, 400, 1.0)
    halves = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    all_splits = [
        stats.spearmanr(values_SN[list(a)].mean(axis=0), values_SN[list(b)].mean(axis=0)).statistic
        for a, b in halves
    ]
    found = of_all_rows(values_SN)["split_half_spearman"]
    assert min(all_splits) - 1e-6 <= found <= max(all_splits) + 1e-6


def test_only_rows_that_both_halves_have_a_value_of_are_compared() -> None:
    values_SN = noisy_seeds(2, 60, 0.5)
    values_SN[0, :10] = np.nan
    values_SN[1, 50:] = np.nan
    r = stats.spearmanr(values_SN[0, 10:50], values_SN[1, 10:50]).statistic
    assert of_all_rows(values_SN)["split_half_spearman"] == pytest.approx(r, abs=1e-6)


def test_seeds_that_say_the_same_are_perfectly_reliable() -> None:
    values_SN = np.tile(np.random.default_rng(0).permutation(101).astype(np.float64), (5, 1))
    assert of_all_rows(values_SN) == dict.fromkeys(UNKNOWN, 1.0)


def test_seeds_that_say_the_opposite_have_reliability_minus_one() -> None:
    found = of_all_rows(np.stack([np.arange(50.0), -np.arange(50.0)]))
    assert found["reliability"] == -1.0
    assert found["kept_half_overlap"] == 0.0


def test_noise_is_not_reliable_and_overlaps_as_chance_does() -> None:
    found = of_all_rows(np.random.default_rng(1).normal(size=(6, 4000)))
    assert abs(found["split_half_spearman"]) < 0.05
    assert abs(found["reliability"]) < 0.1
    assert found["kept_half_overlap"] == pytest.approx(0.5, abs=0.03)


def test_ties_earn_no_credit_in_the_overlap_of_kept_halves() -> None:
    values_SN = np.zeros((4, 4000))
    values_SN[:, 17] = 1.0  # one row differs, the same in every seed
    found = of_all_rows(values_SN)
    assert found["split_half_spearman"] == 1.0
    assert found["kept_half_overlap"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("values_SN", [np.arange(9.0)[None], np.ones((3, 9))])
def test_one_seed_or_a_score_without_any_order_tells_nothing(values_SN: Values) -> None:
    assert of_all_rows(values_SN) == UNKNOWN


def test_halves_that_share_no_row_tell_nothing() -> None:
    values_SN = np.arange(12.0).reshape(2, 6) % 2
    in_SN = np.array([[True] * 3 + [False] * 3, [False] * 3 + [True] * 3])
    assert reliability(values_SN, in_SN, "in_sample", root_seed=0) == UNKNOWN
    assert reliability(values_SN, in_SN, "held_out", root_seed=0) == UNKNOWN
    assert reliability(values_SN, in_SN, "difference", root_seed=0) == UNKNOWN


def test_halves_are_pooled_as_the_score_is() -> None:
    """Held-out values agree and in-sample ones are noise: over says which are compared."""
    rng = np.random.default_rng(0)
    in_SN = rng.random((6, 3000)) < 0.5
    values_SN = np.where(in_SN, rng.normal(size=(6, 3000)), np.arange(3000.0))
    found = {
        over: reliability(values_SN, in_SN, over, root_seed=0)["split_half_spearman"]
        for over in ("in_sample", "held_out")
    }
    assert found["held_out"] == 1.0
    assert abs(found["in_sample"]) < 0.05


def test_a_difference_of_seeds_that_memorize_the_same_rows_is_reliable() -> None:
    rng = np.random.default_rng(0)
    in_SN = (np.arange(8)[:, None] + rng.permutation(2000)) % 2 == 0
    memorized = np.arange(2000) % 4 == 0
    values_SN = np.where(in_SN | ~memorized, 1.0, 0.0)
    found = reliability(values_SN, in_SN, "difference", root_seed=0)
    assert found["split_half_spearman"] == 1.0


def test_reliability_depends_on_the_root_seed_alone() -> None:
    values_SN = noisy_seeds(6, 100, 1.0)
    assert of_all_rows(values_SN, root_seed=3) == of_all_rows(values_SN, root_seed=3)
    assert of_all_rows(values_SN, root_seed=3) != of_all_rows(values_SN, root_seed=4)


@pytest.mark.parametrize("times", [1.5, 2.0, 3.0, 10.0])
def test_spearman_brown_is_the_correlation_of_means_of_that_many_seeds(times: float) -> None:
    """Of truth and noise with variances v and w, a mean of m seeds has v / (v + w / m)."""
    for v, w in ((1.0, 3.0), (2.0, 0.1), (0.0, 1.0)):
        r = v / (v + w)
        assert spearman_brown(r, times) == pytest.approx(v / (v + w / times))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(1.01, 20))
def test_more_seeds_are_never_less_reliable_nor_more_than_wholly(r: float, times: float) -> None:
    assert r - 1e-9 <= spearman_brown(r, times) <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 0.999), st.integers(1, 40), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_adding_the_seeds_reaches_the_target_to_the_nearest_seed(
    r: float, num_seeds: int, target: float
) -> None:
    more = more_seeds(r, num_seeds, target)
    assert more is not None
    if r >= target:
        assert more == 0
        return
    assert more >= 1
    assert spearman_brown(r, (num_seeds + more + 0.5) / num_seeds) >= target - 1e-9
    if more > 1:
        assert spearman_brown(r, (num_seeds + more - 0.5) / num_seeds) <= target + 1e-9


def test_more_seeds_by_the_formula() -> None:
    assert more_seeds(0.5, 2) == 2 * 9 - 2
    assert more_seeds(0.9, 4) == 0
    assert more_seeds(0.95, 4) == 0
    assert more_seeds(0.71, 3) == round(3 * 0.9 * 0.29 / (0.71 * 0.1)) - 3 == 8
    assert more_seeds(0.89, 3) == 1
    assert more_seeds(0.0, 4) is None
    assert more_seeds(-0.3, 4) is None


def test_the_advice_is_one_sentence_with_the_number_of_seeds_to_add() -> None:
    assert advice("el2n", 0.71, 3) == "el2n: r=0.71 with 3 seeds; about 8 more would reach 0.9"


def test_there_is_no_advice_where_the_seeds_are_enough_or_nothing_can_be_told() -> None:
    assert advice("el2n", 0.9, 3) is None
    assert advice("el2n", 0.97, 3) is None
    assert advice("vog", None, 3) is None


def test_advice_for_one_seed_and_for_seeds_that_disagree() -> None:
    assert str(advice("el2n", None, 1)).endswith("how far seeds agree; 2 seeds would")
    assert str(advice("m", None, 10, over="held_out", folds=10)).endswith("; 20 seeds would")
    assert "about 10 more" in str(advice("m", 0.89, 20, over="difference", folds=10))
    told = str(advice("random", -0.04, 5))
    assert told.startswith("random: r=-0.04 with 5 seeds")
    assert "would not help" in told


def test_between_gives_every_pair_once_with_scipys_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 9, 300).astype(np.float64) for name in "abc"}
    columns["d"] = -columns["a"]
    pairs = between(columns, root_seed=0)
    assert [(p["a"], p["b"]) for p in pairs] == [
        ("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d"),
    ]  # fmt: skip
    for pair in pairs:
        expected = stats.spearmanr(columns[pair["a"]], columns[pair["b"]]).statistic
        assert pair["spearman"] == pytest.approx(expected, abs=1e-6)


def test_between_gives_the_share_of_the_hardest_half_in_common() -> None:
    a = np.random.default_rng(0).permutation(100).astype(np.float64)
    b = a.copy()
    swapped = [int(np.flatnonzero(a == rank)[0]) for rank in (10, 90)]
    b[swapped] = b[swapped[::-1]]
    (pair,) = between({"a": a, "b": b}, root_seed=0)
    assert pair["kept_half_overlap"] == 49 / 50
    tops = [set(np.argsort(-x)[:50]) for x in (a, b)]
    assert len(tops[0] & tops[1]) / 50 == 49 / 50


def test_between_a_constant_column_and_another_nothing_is_correlated() -> None:
    (pair,) = between({"a": np.ones(2000), "b": np.arange(2000.0)}, root_seed=0)
    assert pair["spearman"] is None
    assert pair["kept_half_overlap"] == pytest.approx(0.5, abs=0.05)


def test_there_is_nothing_between_one_score() -> None:
    assert between({"a": np.arange(9.0)}, root_seed=0) == []
    (pair,) = between({"a": np.ones(1), "b": np.ones(1)}, root_seed=0)
    assert pair["spearman"] is pair["kept_half_overlap"] is None


def test_of_many_rows_a_sample_tells_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values_SN = noisy_seeds(4, 8000, 1.0)
    columns = {str(seed): values for seed, values in enumerate(values_SN)}
    whole = of_all_rows(values_SN), between(columns, root_seed=0)
    monkeypatch.setattr(module, "_MOST_ROWS", 3000)
    sample = of_all_rows(values_SN), between(columns, root_seed=0)
    assert sample[0] != whole[0]
    for key, value in whole[0].items():
        assert sample[0][key] == pytest.approx(value, abs=0.04)
    for ours, theirs in zip(sample[1], whole[1], strict=True):
        assert ours["spearman"] == pytest.approx(theirs["spearman"], abs=0.04)


def test_overlap_of_independent_columns_is_that_of_chance() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 4001))
    assert hardest_half_overlap(a, b, generator) == pytest.approx(0.5, abs=0.03)
    assert hardest_half_overlap(a, a, generator) == 1.0
