"""Agreement groups: permutation, complete linkage, policies, undecided runs, judges."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import TableError
from dataprune.core.recipe_curate import GroupsRecipe
from dataprune.trajectories._linkage import clusters, relate
from dataprune.trajectories.equivalence import equivalent, read_answer
from dataprune.trajectories.groups import Agreement, Judge, Pair, agree


def one(answers: Sequence[str | None], judge: Judge | None = None, **recipe: object) -> Agreement:
    """One query whose runs all did something else."""
    actions = [f"action {i}" for i in range(len(answers))]
    chosen = GroupsRecipe.model_validate({"policy": "share", **recipe})
    return agree(["q"] * len(answers), answers, actions, chosen, judge=judge)


@pytest.mark.parametrize(
    ("policy", "answers", "tiers"),
    [
        ("unanimous", ["5", "5.0", "5 km"], ["gold"] * 3),
        ("unanimous", ["5", "5", "6"], ["none"] * 3),
        ("unanimous", ["5", "5", None], ["none"] * 3),
        ("share", ["5", "5", "6"], ["silver", "silver", "none"]),
        ("share", ["5", "5", "5", "6", "6"], ["none"] * 5),
        ("majority", ["5", "5", "5", "6", "6"], ["bronze"] * 3 + ["none"] * 2),
        ("majority", ["5", "5", "6"], ["silver", "silver", "none"]),
        ("majority", ["5", "5", "6", "6"], ["none"] * 4),
        ("majority", ["5", "5", None, ""], ["none"] * 4),
        ("off", ["5", "5", "5"], ["none"] * 3),
        ("unanimous", ["5", "5"], ["none"] * 2),
    ],
)
def test_policies(policy: str, answers: list[str | None], tiers: list[str]) -> None:
    assert one(answers, policy=policy).tier.tolist() == tiers


def test_reasons_and_columns() -> None:
    found = one(["5.0001", "5", "7", None, "5.0002"], share=0.6, tolerance=1e-3)
    assert found.reason.tolist() == [None, None, "G_MINORITY", "G_MINORITY", None]
    assert found.num_runs.tolist() == [5] * 5
    assert found.num_classes.tolist() == [3] * 5
    assert found.class_id.tolist() == [0, 0, 1, 2, 0]
    assert found.vote_share.tolist() == [0.6, 0.6, 0.2, 0.2, 0.6]
    assert found.is_majority.tolist() == [True, True, False, False, True]
    assert found.consensus_answer[2] == "5"
    assert found.spread[0] == pytest.approx(0.0002 / 5.0002, rel=1e-6)
    assert found.entropy[0] == pytest.approx(-(0.6 * np.log(0.6) + 2 * 0.2 * np.log(0.2)))
    assert one(["1", "1"]).reason.tolist() == ["G_SINGLETON"] * 2
    assert one(["1", "1", "2", "2"], share=0.5).reason.tolist() == ["G_NO_CONSENSUS"] * 4


def test_the_frontier_is_kept_as_silver() -> None:
    found = one(["1", "1", "2"], policy="unanimous", keep_frontier=True)
    assert found.tier.tolist() == ["silver", "silver", "none"]
    assert found.reason.tolist() == [None, None, "G_MINORITY"]


def test_runs_that_did_the_same_are_never_gold() -> None:
    chosen = GroupsRecipe(policy="unanimous")
    low = agree(["q"] * 3, ["1"] * 3, ["a", "a", "b"], chosen)
    assert low.independence.tolist() == ["low"] * 3
    assert low.tier.tolist() == ["silver"] * 3
    assert len(low.warnings) == 1
    half = agree(["q"] * 4, ["1"] * 4, ["a", "a", "b", "c"], chosen)
    assert half.tier.tolist() == ["gold"] * 4
    assert half.warnings == ()


def test_chains_do_not_merge_their_ends() -> None:
    found = one(["100.5", "102.5", "104.5"], tolerance=0.03)
    assert found.num_classes.tolist() == [2] * 3
    assert found.class_id[0] != found.class_id[2]


def test_undecided_runs_are_those_that_could_be_kept() -> None:
    assert one(["Paris", "Paris", "Rome"]).reason.tolist() == [None, None, "J_UNDECIDED"]
    assert one(["5", "5", "Rome"]).reason.tolist() == [None, None, "G_MINORITY"]
    assert one(["Paris", "Rome", "Oslo"]).reason.tolist() == ["J_UNDECIDED"] * 3
    assert (
        one(["Paris", "Rome", None], policy="unanimous").reason.tolist() == ["G_NO_CONSENSUS"] * 3
    )
    assert one(["Paris", "5", "6"]).reason.tolist() == ["G_NO_CONSENSUS"] * 3
    mixed = one(["Paris", "Rome", "Oslo", "5", "7", "8"], share=0.5)
    assert mixed.reason.tolist() == ["J_UNDECIDED"] * 3 + ["G_NO_CONSENSUS"] * 3


def test_a_judge_is_asked_once_and_only_where_it_matters() -> None:
    calls: list[list[Pair]] = []

    def judge(pairs: list[Pair]) -> list[bool | None]:
        calls.append(pairs)
        return [{"no": False, "maybe": None}.get(p.query_id, True) for p in pairs]

    queries = ["yes"] * 3 + ["no"] * 3 + ["maybe"] * 3 + ["idle"] * 3
    answers = ["Paris", "Paris", "paris in France"] * 3 + ["Paris", "Rome", None]
    chosen = GroupsRecipe(policy="unanimous")
    found = agree(queries, answers, [str(i) for i in range(12)], chosen, judge=judge)
    assert [[p.query_id for p in pairs] for pairs in calls] == [["yes", "no", "maybe"]]
    assert found.tier.tolist() == ["gold"] * 3 + ["none"] * 9
    assert found.reason.tolist()[3:] == (
        ["G_NO_CONSENSUS"] * 3 + ["J_UNDECIDED"] * 3 + ["G_NO_CONSENSUS"] * 3
    )
    assert found.num_judged == 3
    assert found.spread.max() == 0


MEMBERS = st.lists(
    st.sampled_from(
        [None, "1.0", "1.00005", "1.0001", "1.00015", "2", "A", "B) x", "x", "y", "x, y"]
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(
    MEMBERS, st.randoms(use_true_random=False), st.sampled_from(["unanimous", "share", "majority"])
)
def test_the_order_of_runs_changes_nothing(answers: list[str | None], random, policy: str) -> None:
    order = list(range(len(answers)))
    random.shuffle(order)
    chosen = GroupsRecipe(policy=policy)
    actions = [f"a{i}" for i in order]
    before = agree(["q"] * len(order), answers, [f"a{i}" for i in range(len(order))], chosen)
    after = agree(["q"] * len(order), [answers[i] for i in order], actions, chosen)
    for name in ("class_id", "tier", "reason", "spread", "vote_share", "consensus_answer"):
        assert getattr(before, name)[order].tolist() == getattr(after, name).tolist(), name


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=9, unique=True))
def test_linkage_equals_a_slow_reference(steps: list[int]) -> None:
    answers = [read_answer(f"{100 + step / 10:.1f}1") for step in sorted(steps)]
    related = relate(answers, 0.01)
    for i, j in itertools.product(range(len(answers)), repeat=2):
        assert related.same[i, j] == (equivalent(answers[i], answers[j], 0.01) is True)
    found = clusters(related.same, related.far)
    groups = [{i} for i in range(len(answers))]
    while True:
        pairs = [
            (max(related.far[i, j] for i in a for j in b), min(a), min(b))
            for a, b in itertools.combinations(groups, 2)
            if all(related.same[i, j] for i in a for j in b)
        ]
        if not pairs:
            break
        _, x, y = min((far, *sorted((a, b))) for far, a, b in pairs)
        merged = [g for g in groups if min(g) in {x, y}]
        groups = [g for g in groups if g not in merged] + [merged[0] | merged[1]]
    expected = {i: min(g) for g in groups for i in g}
    assert found.tolist() == [expected[i] for i in range(len(answers))]


@pytest.mark.slow
def test_a_thousand_runs_are_fast_and_agree() -> None:
    start = time.perf_counter()
    found = one([f"{5 + i * 1e-9:.9f}" for i in range(1000)], policy="unanimous")
    assert set(found.tier) == {"gold"}
    assert time.perf_counter() - start < 20


def test_answers_beyond_the_most_that_are_compared_are_undecided() -> None:
    start = time.perf_counter()
    found = one(["7"] * 3000 + [str(i) for i in range(10, 2000)], policy="majority")
    assert found.tier.tolist()[:3000] == ["bronze"] * 3000
    rest = found.reason[3000:].tolist()
    assert rest.count("G_MINORITY") == 999
    assert rest.count("J_UNDECIDED") == 991
    assert len(found.warnings) == 1
    assert time.perf_counter() - start < 20


def test_lengths_must_agree() -> None:
    with pytest.raises(TableError):
        agree(["q"], [], ["a"], GroupsRecipe())


def test_no_runs_are_no_rows() -> None:
    assert len(agree([], [], [], GroupsRecipe(policy="share")).tier) == 0
