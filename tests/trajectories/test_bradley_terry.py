"""K-choice Bradley-Terry: draws follow the formula, and the bounds hold where they are given."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from dataprune.trajectories.bradley_terry import (
    Draw,
    bounds,
    inclusion_probabilities,
    select,
    selection_probabilities,
)

NUM = 100_000
Values = npt.NDArray[np.float64]


def kept_in_many(rewards: list[float], num: int = NUM, **how: object) -> npt.NDArray[np.bool_]:
    """Whether each run of a query is kept, (num, n): as many queries with the same rewards."""
    n = len(rewards)
    queries = [str(q) for q in range(num) for _ in range(n)]
    runs = [f"{q}/{i}" for q in range(num) for i in range(n)]
    found = select(queries, runs, np.tile(rewards, num), seed=3, **how)  # type: ignore[arg-type]
    return found.keep.reshape(num, n)


def within_3_sigma(kept: npt.NDArray[np.bool_], chance: Values) -> bool:
    error = np.sqrt(chance * (1 - chance) / len(kept))
    return bool((np.abs(kept.mean(axis=0) - chance) <= 3 * error).all())


def softmax(logits: Values) -> Values:
    powers: Values = np.exp(logits - logits.max())
    return powers / powers.sum()


@pytest.fixture(scope="module")
def two_of_four() -> npt.NDArray[np.bool_]:
    return kept_in_many([0.0, 0.2, 0.5, 1.0], k=4, beta=0.5, m=2, draw="distinct")


@pytest.mark.slow
def test_frequencies_are_softmax() -> None:
    rewards = [0.0, 0.2, 0.5, 1.0]
    kept = kept_in_many(rewards, k=4, beta=0.5, m=1, draw="distinct")
    assert (kept.sum(axis=1) == 1).all()
    assert within_3_sigma(kept, softmax(np.array(rewards) / 0.5))


@pytest.mark.parametrize("draw", ["iid", "distinct"])
def test_frequencies_with_the_draw_are_the_exact_probabilities(draw: Draw) -> None:
    rewards = [0.0, 0.3, 0.3, 1.0, 0.6]
    kept = kept_in_many(rewards, 20_000, k=3, beta=0.3, m=1, draw=draw)
    chance = selection_probabilities(np.array(rewards), k=3, beta=0.3, draw=draw)
    assert chance is not None
    assert chance.sum() == pytest.approx(1)
    assert within_3_sigma(kept, chance)


def slow_probabilities(rewards: list[float], k: int, beta: float, draw: Draw) -> list[float]:
    """Every way of drawing k, one by one."""
    n = len(rewards)
    if draw == "iid":
        ways = list(itertools.product(range(n), repeat=k))
    else:
        ways = list(itertools.permutations(range(n), min(k, n)))
    chance = [0.0] * n
    for way in ways:
        powers = [math.exp(rewards[i] / beta) for i in way]
        for i, power in zip(way, powers, strict=True):
            chance[i] += power / sum(powers) / len(ways)
    return chance


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=5),
    st.integers(2, 4),
    st.sampled_from([0.2, 1.0]),
    st.sampled_from(["iid", "distinct"]),
)
def test_exact_probabilities_are_those_of_all_draws(
    rewards: list[float], k: int, beta: float, draw: Draw
) -> None:
    chance = selection_probabilities(np.array(rewards), k=k, beta=beta, draw=draw)
    assert chance is not None
    assert chance.tolist() == pytest.approx(slow_probabilities(rewards, k, beta, draw))


def test_too_many_cases_have_no_exact_probability() -> None:
    assert selection_probabilities(np.linspace(0, 1, 300), k=5, beta=0.3) is None


def slow_sets(logits: list[float], m: int) -> dict[frozenset[int], float]:
    """Plackett-Luce, one choice after the other: the probability of each set of m."""
    sets: dict[frozenset[int], float] = {}
    for order in itertools.permutations(range(len(logits)), m):
        rest, chance = set(range(len(logits))), 1.0
        for item in order:
            chance *= math.exp(logits[item]) / sum(math.exp(logits[i]) for i in rest)
            rest.remove(item)
        sets[frozenset(order)] = sets.get(frozenset(order), 0) + chance
    return sets


@pytest.mark.slow
def test_gumbel_top_m_is_sequential_plackett_luce(two_of_four: npt.NDArray[np.bool_]) -> None:
    expected = slow_sets([0.0, 0.4, 1.0, 2.0], 2)
    sets, counts = np.unique(two_of_four, axis=0, return_counts=True)
    seen = {frozenset(np.flatnonzero(s).tolist()): c for s, c in zip(sets, counts, strict=True)}
    assert seen.keys() == expected.keys()
    statistic = sum((seen[s] - NUM * p) ** 2 / (NUM * p) for s, p in expected.items())
    assert statistic < chi2.ppf(0.999, len(expected) - 1)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=5).flatmap(
        lambda logits: st.tuples(st.just(logits), st.integers(1, len(logits)))
    )
)
def test_inclusion_is_the_sum_over_sets(case: tuple[list[float], int]) -> None:
    logits, m = case
    chance = inclusion_probabilities(np.array([logits]), m)[0]
    sets = slow_sets(logits, m)
    expected = [sum(p for s, p in sets.items() if i in s) for i in range(len(logits))]
    assert chance.tolist() == pytest.approx(expected)
    assert chance.sum() == pytest.approx(m)


def test_the_weight_of_a_whole_pool_is_the_probability_to_be_kept() -> None:
    rewards = np.array([0.0, 0.5, 1.0])
    found = select(["q"] * 3, ["a", "b", "c"], rewards, k=4, beta=1, m=1, seed=0, draw="distinct")
    assert found.weight.tolist() == pytest.approx(softmax(rewards).tolist())


@pytest.mark.parametrize(("draw", "m"), [("iid", 1), ("iid", 2), ("distinct", 1), ("distinct", 2)])
def test_weighted_by_one_over_weight_the_kept_stand_for_all(draw: Draw, m: int) -> None:
    rewards, n = [0.0, 0.2, 0.5, 1.0, 1.0, 0.4], 5_000
    queries = [str(q) for q in range(n) for _ in rewards]
    runs = [f"{q}/{i}" for q in range(n) for i in range(len(rewards))]
    value = np.tile(rewards, n)
    found = select(queries, runs, value, k=3, beta=1, m=m, seed=9, draw=draw)
    totals = np.where(found.keep, value / found.weight, 0).reshape(n, -1).sum(axis=1)
    error = totals.std() / math.sqrt(n)
    assert totals.mean() == pytest.approx(sum(rewards), abs=4 * error)
    assert error < 0.1


@pytest.mark.parametrize("beta", [1e-3, 1e-12, 1e-300])
def test_a_small_beta_keeps_the_best_drawn(beta: float) -> None:
    rng = np.random.default_rng(0)
    queries = [str(q) for q in range(200) for _ in range(5)]
    rewards = np.concatenate([rng.permutation(5) for _ in range(200)]).astype(np.float64)
    runs = [str(i) for i in range(1000)]
    found = select(queries, runs, rewards, k=5, beta=beta, m=1, seed=0, draw="distinct")
    assert found.keep.tolist() == (rewards == 4).tolist()
    assert found.weight[found.keep].tolist() == pytest.approx([1] * 200)


@pytest.mark.parametrize("draw", ["iid", "distinct"])
def test_to_select_again_changes_nothing(draw: Draw) -> None:
    queries = [str(q) for q in range(50) for _ in range(6)]
    runs, rewards = [str(i) for i in range(300)], np.tile([0, 0.2, 0.4, 0.6, 0.8, 1], 50)
    rows = np.flatnonzero(select(queries, runs, rewards, k=4, beta=1, m=3, seed=0, draw=draw).keep)
    again = select(
        [queries[i] for i in rows],
        [runs[i] for i in rows],
        rewards[rows],
        k=4,
        beta=1,
        m=3,
        seed=0,
        draw=draw,
    )
    assert again.keep.all()
    assert again.weight.tolist() == [1] * len(rows)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from(["iid", "distinct"]),
    st.integers(1, 3),
)
def test_order_of_rows_and_other_queries_change_nothing(
    rows: list[tuple[str, float]], random: object, draw: Draw, m: int
) -> None:
    queries = [q for q, _ in rows]
    rewards = np.array([r for _, r in rows])
    runs = [f"run {i}" for i in range(len(rows))]
    found = select(queries, runs, rewards, k=3, beta=0.3, m=m, seed=1, draw=draw)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    order = [i for i in order if queries[i] == "a"] + [i for i in order if queries[i] == "b"]
    again = select(
        [queries[i] for i in order],
        [runs[i] for i in order],
        rewards[order],
        k=3,
        beta=0.3,
        m=m,
        seed=1,
        draw=draw,
    )
    assert again.keep.tolist() == found.keep[order].tolist()
    np.testing.assert_allclose(again.weight, found.weight[order])


def choice(p: Values, rewards: Values, k: int) -> Values:
    """One round, p H: what k draws from p and one choice give, over every way of drawing."""
    after = np.zeros(len(p))
    for way in itertools.product(range(len(p)), repeat=k):
        chosen = softmax(rewards[list(way)])
        np.add.at(after, list(way), np.prod(p[list(way)]) * chosen)
    return after


cases = st.lists(st.tuples(st.floats(0.01, 1), st.floats(-2, 2)), min_size=2, max_size=4).map(
    lambda rows: (np.array([p for p, _ in rows]), np.array([r for _, r in rows]))
)


@settings(max_examples=100, deadline=None)
@given(cases, st.integers(2, 4))
def test_the_mean_of_e_to_the_reward_rises_by_what_the_lemma_says(
    case: tuple[Values, Values], k: int
) -> None:
    p, rewards = case
    p = p / p.sum()
    a = np.exp(rewards)
    before, variance = p @ a, p @ (a - p @ a) ** 2
    assert choice(p, rewards, k) @ a >= before + (k - 1) / k * variance / a.max() - 1e-9


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(2, 3), st.floats(0.05, 0.95))
def test_mixing_in_real_runs_bounds_the_divergence(
    case: tuple[Values, Values], k: int, part: float
) -> None:
    p_ref, rewards = case
    p_ref = p_ref / p_ref.sum()
    mix = part / (k - 1)
    found = bounds(["q"], np.zeros(1), k=k, beta=1, mix=mix, m=1, is_learned=False)
    assert found.kl_bound is not None
    p = p_ref
    for _ in range(8):
        p = (p_ref + mix * choice(p, rewards, k)) / (1 + mix)
        assert p @ np.log(p / p_ref) <= found.kl_bound + 1e-9
        assert p @ np.exp(rewards) >= p_ref @ np.exp(rewards) - 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=6),
    st.integers(2, 4),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from(["iid", "distinct"]),
)
def test_the_bound_holds_for_pools_of_runs(
    rewards: list[float], k: int, beta: float, draw: Draw
) -> None:
    value = np.array(rewards)
    found = bounds(
        ["q"] * len(value), value, k=k, beta=beta, mix=0.1, m=1, is_learned=False, draw=draw
    )
    chance = selection_probabilities(value, k=k, beta=beta, draw=draw)
    assert chance is not None
    assert found.reward_bound is not None
    a = np.exp((value - value.max()) / beta)
    assert chance @ a >= found.reward_bound - 1e-9
    assert found.reward_bound >= found.reward_before == pytest.approx(a.mean())


@pytest.mark.parametrize(
    ("mix", "m", "is_learned", "says"),
    [
        (0.0, 1, False, "mix is 0"),
        (1 / 3, 1, False, "not below 1/(k-1)"),
        (0.5, 1, False, "no bound"),
        (0.2, 2, False, "one run a query"),
        (0.2, 1, True, "learned"),
    ],
)
def test_where_a_bound_does_not_hold_it_says_why_and_promises_nothing(
    mix: float, m: int, is_learned: object, says: str
) -> None:
    found = bounds(
        ["q", "q"], np.array([0.0, 1.0]), k=4, beta=0.3, mix=mix, m=m, is_learned=bool(is_learned)
    )
    text = " ".join(found.lines())
    assert says in text
    assert "one-shot" in text
    assert "guarantee" not in text
    assert (found.kl_bound is None) == (not (0 < mix < 1 / 3) or m > 1)
    assert (found.reward_bound is None) == (m > 1)


def test_the_divergence_bound_is_the_papers() -> None:
    found = bounds(["q"], np.zeros(1), k=4, beta=1, mix=0.2, m=1, is_learned=False)
    assert found.kl_bound == pytest.approx(-math.log(0.4))


@pytest.mark.real_data
def test_tau_bench_rises_as_measured(real_data: Path) -> None:
    runs = json.loads((real_data / "trajectories/tau-bench/gpt-4o-airline.json").read_text())
    queries = [str(run["task_id"]) for run in runs]
    ids = [f"{run['task_id']}/{run['trial']}" for run in runs]
    rewards = np.array([run["reward"] for run in runs], dtype=np.float64)
    assert rewards.mean() == pytest.approx(0.420)
    for beta, expected in ((1, 0.501), (0.3, 0.610), (0.1, 0.631)):
        exact = []
        for query in sorted(set(queries)):
            pool = rewards[[q == query for q in queries]]
            chance = selection_probabilities(pool, k=4, beta=beta)
            assert chance is not None
            exact.append(chance @ pool)
        assert np.mean(exact) == pytest.approx(expected, abs=5e-4)
        means = [
            rewards[select(queries, ids, rewards, k=4, beta=beta, m=1, seed=s).keep].mean()
            for s in range(60)
        ]
        assert np.mean(means) == pytest.approx(expected, abs=0.025)
