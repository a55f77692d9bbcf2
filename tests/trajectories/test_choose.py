"""Which runs stay: the policies, their codes, balance, and independence of the order of rows."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.core.recipe_curate import SelectRecipe
from dataprune.trajectories.choose import CODES, Chosen, Runs, balanced, choose, share_cap
from dataprune.trajectories.pairs import best_and_worst

NAN = float("nan")


def runs(queries: str, **columns: Any) -> Runs:
    """A run for each letter, the query's name."""
    n = len(queries)
    return Runs(
        query_ids=list(queries),
        traj_ids=columns.get("traj_ids", [f"run-{i}" for i in range(n)]),
        is_candidate=np.array(columns.get("is_candidate", [True] * n), dtype=np.bool_),
        lengths=np.array(columns.get("lengths", [10] * n), dtype=np.int64),
        rewards=np.array(columns.get("rewards", [NAN] * n), dtype=np.float64),
        judge_scores=np.array(columns.get("judge_scores", [NAN] * n), dtype=np.float64),
        bands=columns.get("bands", [None] * n),
        categories=columns.get("categories", [None] * n),
    )


def kept(chosen: Chosen) -> list[int]:
    return np.flatnonzero(chosen.keep).tolist()


def test_all_keeps_all_and_never_a_rejected_run() -> None:
    chosen = choose(runs("aab", is_candidate=[True, False, True]), SelectRecipe(), 0)
    assert kept(chosen) == [0, 2]
    assert chosen.codes == (None, None, None)
    assert np.isnan(chosen.weight).all()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("shortest", [1, 3]), ("best", [2, 4]), ("judge_best", [0, 3]), ("top_m", [0, 1, 2, 3, 4])],
)
def test_a_policy_keeps_what_its_name_says(policy: Any, expected: list[int]) -> None:
    made = runs(
        "aaabb",
        lengths=[3, 1, 2, 1, 2],
        rewards=[0, 0.5, 1, 0.2, 0.8],
        judge_scores=[0.9, 0.1, NAN, 0.5, 0.4],
    )
    chosen = choose(made, SelectRecipe(policy=policy), 0)
    assert kept(chosen) == expected
    assert {chosen.codes[row] for row in range(5) if row not in expected} <= {"Q_NOT_SELECTED"}


def test_of_equal_rewards_the_shortest_stays() -> None:
    made = runs("aaa", lengths=[3, 2, 1], rewards=[1, 1, 0])
    assert kept(choose(made, SelectRecipe(policy="best"), 0)) == [1]


def test_top_m_keeps_as_many_as_asked() -> None:
    made = runs("aaaa", rewards=[0.1, 0.4, 0.3, NAN])
    chosen = choose(made, SelectRecipe(policy="top_m", max_per_query=2), 0)
    assert kept(chosen) == [1, 2]
    assert chosen.codes[3] == "Q_NOT_SELECTED"


def test_a_cap_on_all_has_its_own_code_and_is_drawn() -> None:
    made = runs("a" * 30 + "b")
    chosen = choose(made, SelectRecipe(max_per_query=3), 0)
    assert Counter(chosen.codes) == {None: 4, "Q_CAP": 27}
    assert chosen.keep[30]
    assert kept(chosen) != kept(choose(made, SelectRecipe(max_per_query=3), 1))


def test_bands_and_least_reward_drop_with_their_codes() -> None:
    made = runs("abcd", bands=["hard", "trivial", None, "hard"], rewards=[1, 1, 1, 0.2])
    chosen = choose(made, SelectRecipe(bands=("hard",), min_reward=0.5), 0)
    assert chosen.codes == (None, "Q_BAND", "Q_BAND", "Q_MIN_REWARD")


def test_bt_keeps_by_chance_and_says_how_likely() -> None:
    made = runs("aaab", rewards=[0, 1, NAN, 0.5])
    chosen = choose(made, SelectRecipe(policy="bt", k=8, beta=0.05), 0)
    assert kept(chosen) == [1, 3]
    assert np.isnan(chosen.weight[2])
    assert chosen.weight[3] == pytest.approx(1)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (SelectRecipe(policy="best"), "policy best needs rewards"),
        (SelectRecipe(policy="bt"), "policy bt needs rewards"),
        (SelectRecipe(policy="top_m"), "policy top_m needs rewards"),
        (SelectRecipe(min_reward=0.5), "min_reward needs rewards"),
        (SelectRecipe(policy="judge_best"), "needs a judge's scores"),
        (SelectRecipe(bands=("hard",)), "bands need pass rates"),
        (SelectRecipe(max_share=0.5), "need categories"),
        (SelectRecipe(policy="best", max_per_query=2), "keeps one run a query"),
        (SelectRecipe(max_share=0.5, balance=0.5), "both limit"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_way_out(recipe: SelectRecipe, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        choose(runs("aab"), recipe, 0)
    assert caught.value.hint


def test_an_infinite_reward_names_its_run() -> None:
    with pytest.raises(UsageError, match="run-1"):
        choose(runs("ab", rewards=[0, float("inf")]), SelectRecipe(), 0)


def test_nothing_to_choose_from_is_no_error() -> None:
    made = runs("ab", is_candidate=[False, False])
    assert kept(choose(made, SelectRecipe(policy="best", max_share=0.5), 0)) == []
    assert kept(choose(runs(""), SelectRecipe(policy="bt"), 0)) == []


def test_no_category_has_more_than_its_share() -> None:
    made = runs("q" * 100, categories=["x"] * 80 + ["y"] * 12 + ["z"] * 8)
    chosen = choose(made, SelectRecipe(max_share=0.5), 0)
    counts = Counter(made.categories[row] for row in kept(chosen))
    assert counts == {"x": 20, "y": 12, "z": 8}
    assert Counter(chosen.codes)["B_CATEGORY_CAP"] == 60


def test_a_share_that_no_number_meets_is_said() -> None:
    with pytest.raises(UsageError, match="cannot be met with 2 categories") as caught:
        choose(runs("qq", categories=["x", "y"]), SelectRecipe(max_share=0.3), 0)
    assert "0.5" in str(caught.value.hint)


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.integers(0, 40),
    st.floats(0.01, 1, exclude_min=True),
)
def test_the_cap_is_the_largest_that_meets_the_share(
    counts: list[int], uncounted: int, share: float
) -> None:
    def meets(cap: int) -> bool:
        return cap <= share * (uncounted + sum(min(c, cap) for c in counts)) + 1e-9

    best = max((cap for cap in range(1, max(counts) + 1) if meets(cap)), default=0)
    if best:
        assert share_cap(counts, uncounted, share) == best
    else:
        with pytest.raises(UsageError):
            share_cap(counts, uncounted, share)


def test_balance_keeps_a_power_of_each_number() -> None:
    assert balanced({"x": 1000, "y": 10}, 0.5) == {"x": 100, "y": 10}
    assert balanced({"x": 1000, "y": 10}, 0) == {"x": 10, "y": 10}
    assert balanced({"x": 1000, "y": 10}, 1) == {"x": 1000, "y": 10}
    made = runs("q" * 101, categories=["x"] * 100 + ["y"])
    chosen = choose(made, SelectRecipe(balance=0.5), 0)
    assert Counter(made.categories[row] for row in kept(chosen)) == {"x": 10, "y": 1}


rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.booleans(),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.5, 1.0, NAN]),
        st.sampled_from(["hard", "easy"]),
        st.sampled_from(["x", "y", None]),
    ),
    min_size=1,
    max_size=14,
)
recipes = st.builds(
    SelectRecipe,
    policy=st.sampled_from(["all", "shortest", "random", "best", "top_m", "judge_best", "bt"]),
    max_per_query=st.sampled_from([None, 1]),
    bands=st.sampled_from([(), ("hard",)]),
    min_reward=st.sampled_from([None, 0.5]),
    max_share=st.sampled_from([None, 0.6]),
)


def some_of(made: list[tuple[Any, ...]], which: list[int]) -> Runs:
    """Some of the runs that hypothesis made, in this order, under ids that stay theirs."""
    some = [made[i] for i in which]
    return runs(
        "".join(row[0] for row in some),
        traj_ids=[f"run-{i}" for i in which],
        is_candidate=[row[1] for row in some],
        lengths=[row[2] for row in some],
        rewards=[row[3] for row in some],
        judge_scores=[row[3] for row in some],
        bands=[row[4] for row in some],
        categories=[row[5] for row in some],
    )


@settings(deadline=None, max_examples=200)
@given(rows, recipes, st.randoms(use_true_random=False), st.integers(0, 3))
def test_permuting_rows_permutes_the_result(
    made: list[tuple[Any, ...]], recipe: SelectRecipe, shuffler: random.Random, seed: int
) -> None:
    def run_on(order: list[int]) -> Chosen | str:
        try:
            return choose(some_of(made, order), recipe, seed)
        except UsageError as exc:
            return exc.message

    order = list(range(len(made)))
    first = run_on(order)
    shuffler.shuffle(order)
    second = run_on(order)
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
        return
    assert second.keep.tolist() == first.keep[order].tolist()
    assert list(second.codes) == [first.codes[i] for i in order]
    np.testing.assert_allclose(second.weight, first.weight[order])
    for i, row in enumerate(made):
        assert first.keep[i] + (first.codes[i] is not None) == row[1]
        assert first.codes[i] is None or first.codes[i] in CODES


@settings(deadline=None)
@given(rows, recipes)
def test_choosing_from_what_was_chosen_changes_nothing(
    made: list[tuple[Any, ...]], recipe: SelectRecipe
) -> None:
    def run_on(which: list[int]) -> Chosen:
        return choose(some_of(made, which), recipe, 0)

    try:
        first = kept(run_on(list(range(len(made)))))
    except UsageError:
        return
    if any(made[i][5] is not None for i in first) or (first and recipe.max_share is None):
        assert run_on(first).keep.all()


def test_pairs_are_best_over_worst_by_the_margin() -> None:
    queries = ["a", "a", "a", "b", "b", "c", "c"]
    ids = ["a0", "a1", "a2", "b0", "b1", "c0", "c1"]
    rewards = np.array([0.0, 1.0, 0.5, 0.4, 0.5, 1.0, 1.0])
    lengths, formed = np.full(7, 5), np.ones(7, dtype=np.bool_)
    pairs = best_and_worst(queries, ids, rewards, lengths, formed, margin=0.5)
    assert [p.row() for p in pairs] == [
        {"query_id": "a", "chosen": "a1", "rejected": "a0", "margin": 1.0}
    ]
    pairs = best_and_worst(queries, ids, rewards, lengths, formed, margin=0)
    assert [(p.query_id, p.chosen, p.rejected) for p in pairs] == [
        ("a", "a1", "a0"),
        ("b", "b1", "b0"),
    ]


def test_malformed_runs_and_runs_without_a_reward_are_in_no_pair() -> None:
    rewards = np.array([0.0, 1.0, NAN, 0.5])
    formed = np.array([False, True, True, True])
    pairs = best_and_worst(
        ["a"] * 4, ["0", "1", "2", "3"], rewards, np.ones(4, dtype=np.int64), formed, margin=0.5
    )
    assert [(p.chosen, p.rejected) for p in pairs] == [("1", "3")]


def test_of_equal_runs_a_pair_takes_the_shortest_in_any_order() -> None:
    rewards, lengths = np.array([1.0, 1.0, 0.0, 0.0]), np.array([9, 2, 3, 3])
    ids, formed = ["p", "q", "s", "r"], np.ones(4, dtype=np.bool_)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        pairs = best_and_worst(
            ["a"] * 4,
            [ids[i] for i in order],
            rewards[order],
            lengths[order],
            formed,
            margin=1,
        )
        assert [(p.chosen, p.rejected) for p in pairs] == [("q", "r")]
