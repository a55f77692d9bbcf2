"""What holds for every strategy that reads features: budget, order of rows, ties, prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.selection import STRATEGIES
from dataprune.tables.decisions import count_reasons
from tests.selection.clouds import clouds, decided, kept, order

CASES: list[tuple[str, dict[str, Any]]] = [
    ("d2", {"neighbours": 3}),
    ("d2", {"neighbours": 3, "per_class": False, "gamma": 1.0, "unit": 1.0}),
    ("facility_location", {"neighbours": 4}),
    ("facility_location", {"neighbours": "all"}),
    ("kcenter", {}),
    ("moderate", {}),
    ("prototypes", {}),
    ("prototypes", {"clusters": 1, "per_class": False, "keep": "near"}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(CASES)]
every_case = pytest.mark.parametrize(("strategy", "params"), CASES, ids=IDS)
few = st.integers(0, 2).map(float)  # many points that are the same
points = st.lists(st.tuples(few, few, st.integers(0, 2), few), min_size=1, max_size=24)


@every_case
@pytest.mark.parametrize("balance", ["none", "proportional", "equal"])
@settings(max_examples=15, deadline=None)
@given(points=points, data=st.data())
def test_decisions_are_exact_whole_and_blind_to_row_order(
    strategy: str, params: dict[str, Any], balance: str, points: list[Any], data: st.DataObject
) -> None:
    found = np.asarray(points)
    labels = found[:, 2].astype(int)
    n, budget = len(found), data.draw(st.integers(1, len(found)))
    seed = data.draw(st.integers(0, 3))
    about = {"balance": balance, "seed": seed, **params}
    table = decided(strategy, found[:, :2], budget, labels=labels, scores=found[:, 3], **about)
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    assert mask.sum() == budget
    assert table.column("row").to_pylist() == list(range(n))
    assert set(table.column("rule").to_pylist()) == {strategy}
    meanings = STRATEGIES.get(strategy).meanings
    for reason, is_kept in zip(table.column("reason").to_pylist(), mask, strict=True):
        assert reason == "kept" if is_kept else reason in meanings
    rows = np.asarray(data.draw(st.permutations(range(n))))
    shuffled = decided(
        strategy, found[rows, :2], budget, labels=labels[rows], scores=found[rows, 3], rows=rows,
        **about,
    )  # fmt: skip
    columns = ["row", "keep", "reason", "rank"]
    again = shuffled.sort_by("row").select(columns)
    assert again.to_pylist() == table.select(columns).to_pylist()


@every_case
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(
    strategy: str, params: dict[str, Any]
) -> None:
    features, labels = clouds(40)
    scores = np.random.default_rng(1).random(40)
    whole = order(decided(strategy, features, 40, labels=labels, scores=scores, **params))
    for budget in (1, 7, 20, 39):
        table = decided(strategy, features, budget, labels=labels, scores=scores, **params)
        assert order(table)[:budget] == whole[:budget]


@every_case
def test_rows_that_are_the_same_are_drawn_by_the_seed(
    strategy: str, params: dict[str, Any]
) -> None:
    same = np.ones((300, 4))
    first, again, other = (kept(decided(strategy, same, 150, seed=s, **params)) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert 45 < len(first & set(range(150))) < 105
    assert 45 < len({row for row in first if row % 2}) < 105


@every_case
def test_a_floor_is_held(strategy: str, params: dict[str, Any]) -> None:
    features, _ = clouds(30)
    labels = np.repeat([0, 1, 2], [26, 2, 2])
    table = decided(strategy, features, 9, labels=labels, floor=2, **params)
    rows = np.asarray(sorted(kept(table)))
    assert len(rows) == 9
    assert (np.bincount(labels[rows]) >= 2).all()


# All but those in units of the user's own, or by angles about 0.
@pytest.mark.parametrize(
    ("strategy", "params"),
    [(name, params) for name, params in CASES if name != "prototypes" and "unit" not in params],
)
def test_scale_and_place_of_the_features_change_nothing(
    strategy: str, params: dict[str, Any]
) -> None:
    features, labels = clouds(60)
    scores = np.random.default_rng(1).random(60)
    plain = order(decided(strategy, features, 20, labels=labels, scores=scores, **params))
    moved = features * 8 + 64
    assert order(decided(strategy, moved, 20, labels=labels, scores=scores, **params)) == plain


@pytest.mark.parametrize("strategy", [name for name, _ in CASES])
def test_without_features_it_is_said_how_to_have_them(strategy: str) -> None:
    from dataprune.selection import Pool

    plugin = STRATEGIES.get(strategy)
    assert plugin.needs_features
    assert plugin.order is not None
    with pytest.raises(UsageError, match="wants features") as caught:
        plugin.order(Pool(np.zeros(3), np.arange(3, dtype=np.uint64), 1))
    assert "--features" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("strategy", "params", "says"),
    [
        ("d2", {"neighbours": 0}, "neighbours is 0"),
        ("d2", {"neighbours": 2.5}, "neighbours is 2.5"),
        ("d2", {"gamma": -1}, "gamma is -1"),
        ("d2", {"hard_cutoff": 1.0}, "hard_cutoff is 1.0"),
        ("d2", {"hard_cutoff": 0.9}, "drops the hardest 27 of 30 rows, and 9 are to be kept"),
        ("d2", {"per_class": "yes"}, "per_class is 'yes'"),
        ("d2", {"unit": 0}, "unit is 0"),
        ("facility_location", {"neighbours": "most"}, "neighbours is 'most'"),
        ("prototypes", {"clusters": True}, "clusters is True"),
        ("prototypes", {"clusters": 31}, "31 clusters of 30 rows are too many"),
        ("prototypes", {"keep": "some"}, "keep is 'some'"),
    ],
)
def test_parameters_out_of_range_are_refused(
    strategy: str, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        decided(strategy, clouds(30)[0], 9, **params)


def test_every_pair_of_a_large_pool_is_refused_before_it_is_computed() -> None:
    with pytest.raises(UsageError, match="up to 8192 rows in a pool, and this one has 8193"):
        decided("facility_location", np.zeros((8193, 1)), 5, neighbours="all")


def test_reasons_are_told_for_every_row() -> None:
    features, labels = clouds(30)
    counts = count_reasons(decided("moderate", features, 10, labels=labels))
    assert counts == {"far_from_centre": 10, "kept": 10, "near_centre": 10}
