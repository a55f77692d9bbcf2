"""SemDeDup as a filter: of rows that are alike, the one farthest from its centre stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import mix64
from dataprune.selection import STRATEGIES, Left, Pool, _cloud, semantic_dedup
from dataprune.selection._choice import Choice, Step
from dataprune.selection._cloud import unit_length
from dataprune.selection._decide import decide
from dataprune.selection._steps import waterfall
from dataprune.selection.semantic_dedup import like_an_earlier
from dataprune.tables.examples import examples_table
from tests.selection.clouds import NAMES, clouds, kept, reasons


def dropped(features: Any, *, labels: Any = None, seed: int = 0, **params: Any) -> set[int]:
    n = len(features)
    ties = mix64(np.arange(n), seed)
    features = np.asarray(features, dtype=np.float32)
    pool = Pool(np.zeros(n), ties, n, labels=labels, features=features)
    table = examples_table(np.arange(n, dtype=np.uint64), np.zeros(n, dtype=np.int64))
    plugin = STRATEGIES.get("semantic_dedup")
    assert plugin.drop is not None
    found = plugin.drop(Left(table, pool), **params)
    assert set(found.reasons.tolist()) <= set(plugin.meanings)
    assert len(set(found.places.tolist())) == len(found.places)
    return set(found.places.tolist())


def slow(features: Any, eps: float) -> set[int]:
    """The paper's rule in one cluster."""
    units = unit_length(np.asarray(features, np.float32)).astype(float)
    rising = np.argsort(units @ units.mean(axis=0), kind="stable").tolist()
    cosine = units @ units.T
    return {
        row
        for place, row in enumerate(rising)
        if any(cosine[row, before] > 1 - eps for before in rising[:place])
    }


@pytest.mark.parametrize("eps", [0.001, 0.05, 0.3])
def test_in_one_cluster_it_is_the_papers_rule(eps: float) -> None:
    features = clouds(80, 3)[0]
    found = dropped(features, eps=eps, clusters=1)
    assert found == slow(features, eps)
    if eps == 0.05:
        assert 0 < len(found) < 80


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = clouds(80, 3)[0]
    whole = dropped(features, eps=0.05, clusters=2)
    for module in (_cloud, semantic_dedup):
        monkeypatch.setattr(module, "BLOCK_NUMBERS", 300)
    assert dropped(features, eps=0.05, clusters=2) == whole


@settings(max_examples=40, deadline=None)
@given(
    copies=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    clusters=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 3),
)
def test_of_copies_one_stays_and_nothing_else_goes(
    copies: list[int], clusters: int | None, seed: int
) -> None:
    apart = np.eye(6, dtype=np.float32)[copies] * (1 + np.arange(len(copies))[:, None])
    found = dropped(apart, eps=0.01, clusters=clusters, seed=seed)
    left = [copy for row, copy in enumerate(copies) if row not in found]
    assert sorted(left) == sorted(set(copies))


def test_classes_are_kept_apart_when_it_is_asked_for() -> None:
    same = np.ones((6, 2))
    labels = np.asarray([0, 0, 0, 1, 1, 1])
    assert len(dropped(same, labels=labels, eps=0.1)) == 5
    found = dropped(same, labels=labels, eps=0.1, per_class=True)
    assert np.bincount(labels[sorted(found)]).tolist() == [2, 2]


def test_like_an_earlier_looks_back_only() -> None:
    units = unit_length(np.asarray([[1, 0], [0, 1], [1, 0.01], [0, 1]], np.float32))
    assert like_an_earlier(units, 0.99).tolist() == [2, 3]


def test_it_comes_before_the_strategy_that_fills_the_budget() -> None:
    features = np.concatenate([clouds(20)[0]] * 2)
    examples = examples_table(np.arange(40, dtype=np.uint64), np.zeros(40, dtype=np.int64))
    before = (Step("semantic_dedup", {"eps": 1e-6}),)
    choice = Choice("kcenter", 10, {}, before=before)
    table = decide(examples, np.zeros(40), NAMES, choice, features=features)
    assert len({row % 20 for row in kept(table)}) == 10
    assert list(reasons(table).values()).count("near_duplicate") == 20
    assert [vars(stage)["left"] for stage in waterfall(table, choice)] == [20, 10]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"eps": 0}, "eps is 0"),
        ({"eps": 1}, "eps is 1"),
        ({"eps": "much"}, "eps is 'much'"),
        ({"eps": 0.1, "clusters": 0}, "clusters is 0"),
        ({"eps": 0.1, "per_class": 1}, "per_class is 1"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        dropped(np.ones((3, 2)), **params)
