"""Each strategy that reads features, against a slow reference that follows the paper's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.selection import kcenter
from dataprune.selection._cloud import Cloud, unit_length
from dataprune.selection.facility_location import dense, lazy_greedy, sparse
from dataprune.selection.kcenter import farthest_first
from tests.selection.clouds import clouds, decided, kept, order, reasons

few = st.integers(-2, 2)
grids = st.lists(st.tuples(few, few), min_size=1, max_size=40)


def distances_of(features: Any) -> Any:
    exact = np.asarray(features, dtype=np.float64)
    return np.sqrt(((exact[:, None] - exact[None]) ** 2).sum(axis=2))


def slow_farthest_first(features: Any, budget: int) -> list[int]:
    distances = distances_of(features).astype(np.float32)
    exact = np.asarray(features, dtype=np.float64)
    from_mean = ((exact - exact.mean(axis=0)) ** 2).sum(axis=1).astype(np.float32)
    chosen = [int(np.argmin(from_mean))]
    while len(chosen) < budget:
        nearest = distances[:, chosen].min(axis=1)
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return chosen


@pytest.mark.parametrize("candidates", [1, 2, 7, 1024])
@settings(max_examples=30, deadline=None)
@given(points=grids, data=st.data())
def test_kcenter_takes_the_farthest_each_time_and_the_first_of_equals(
    candidates: int, points: list[Any], data: st.DataObject
) -> None:
    features = np.asarray(points, dtype=np.float32)
    budget = data.draw(st.integers(1, len(points)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kcenter, "_CANDIDATES", candidates)
        chosen, nearest = farthest_first(Cloud(features), budget)
    assert chosen.tolist() == slow_farthest_first(features, budget)
    left = np.setdiff1d(np.arange(len(points)), chosen)
    exact = distances_of(features)[np.ix_(left, chosen)].min(axis=1)
    assert np.allclose(np.sqrt(nearest[left]), exact, rtol=1e-6)


@pytest.mark.parametrize("candidates", [5, 50])
def test_kcenter_on_points_in_general_place(
    candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcenter, "_CANDIDATES", candidates)
    features = clouds(300, 8)[0]
    assert farthest_first(Cloud(features), 120)[0].tolist() == slow_farthest_first(features, 120)


def test_kcenter_leaves_no_row_farther_than_twice_the_best_radius() -> None:
    features = clouds(30, 2)[0]
    chosen = sorted(kept(decided("kcenter", features, 3)))
    radius = distances_of(features)[:, chosen].min(axis=1).max()
    best = min(
        distances_of(features)[:, [a, b, c]].min(axis=1).max()
        for a in range(30)
        for b in range(a)
        for c in range(b)
    )
    assert radius <= 2 * best


def slow_greedy(similar: Any, budget: int) -> list[int]:
    """Plain greedy on similarities (rows that are stood for, rows that stand)."""
    chosen: list[int] = []
    covered = np.zeros(len(similar))
    while len(chosen) < budget:
        gains = np.maximum(similar - covered[:, None], 0).sum(axis=0)
        gains[chosen] = -1
        chosen.append(int(np.argmax(gains)))
        covered = np.maximum(covered, similar[:, chosen[-1]])
    return chosen


def value_of(similar: Any, chosen: Any) -> float:
    return float(similar[:, chosen].max(axis=1).sum())


@pytest.mark.parametrize("neighbours", [1, 5, 40, None])
def test_facility_location_is_plain_greedy_on_its_similarities(neighbours: int | None) -> None:
    features = clouds(120, 4)[0]
    distances = distances_of(features)
    nearer = np.ones((120, 120), dtype=bool)
    if neighbours is not None:
        order = np.argsort(distances, axis=1, kind="stable")[:, : neighbours + 1]
        nearer[:] = False
        np.put_along_axis(nearer, order, values=True, axis=1)
    similar = np.where(nearer, distances[nearer].max() - distances, 0)
    cloud = Cloud(features)
    served, gains = dense(cloud) if neighbours is None else sparse(cloud, neighbours)
    assert np.allclose(gains, similar.sum(axis=0), rtol=1e-5)
    chosen, left = lazy_greedy(served, gains, 40)
    expected = slow_greedy(similar, 40)
    assert value_of(similar, chosen) == pytest.approx(value_of(similar, expected), rel=1e-5)
    assert len(set(chosen.tolist()) & set(expected)) > 36  # gains that are equal but for rounding
    added = np.maximum(similar - similar[:, chosen].max(axis=1)[:, None], 0).sum(axis=0)
    added[chosen] = -1
    assert np.allclose(left, added, atol=1e-3)


def test_facility_location_takes_one_row_of_each_of_three_heaps() -> None:
    features, labels = clouds(90)
    features += 100 * np.eye(3, 5, dtype=np.float32)[labels]
    for neighbours in ("all", 40):
        rows = sorted(kept(decided("facility_location", features, 3, neighbours=neighbours)))
        assert sorted(labels[rows].tolist()) == [0, 1, 2]


def slow_d2(features: Any, scores: Any, k: int, gamma: float, budget: int) -> list[int]:
    """Dense, in the paper's words; distances in units of the median between neighbours."""
    n, distances = len(features), distances_of(features)
    joined = np.zeros((n, n), dtype=bool)
    for i in range(n):
        others = [j for j in np.argsort(distances[i], kind="stable") if j != i][:k]
        joined[i, others] = joined[others, i] = True
    distances /= np.median(distances[joined])
    x = (scores - scores.min()) / np.ptp(scores)
    worth = x + np.where(joined, np.exp(-distances), 0) @ x
    chosen: list[int] = []
    while len(chosen) < budget:
        masked = worth.copy()
        masked[chosen] = -np.inf
        i = int(np.argmax(masked))
        chosen.append(i)
        worth = worth - np.where(joined[i], np.exp(-gamma * distances[i]) * worth[i], 0)
    return chosen


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("k", [1, 6])
def test_d2_is_the_papers_message_passing(gamma: float, k: int) -> None:
    features, scores = clouds(150)[0], np.random.default_rng(0).normal(size=150)
    expected = slow_d2(features, scores, k, gamma, 150)
    table = decided("d2", features, 150, scores=scores, neighbours=k, gamma=gamma)
    assert order(table) == expected


def test_d2_joins_rows_of_one_class_only_unless_it_is_told_to() -> None:
    features = np.asarray([[0, 0], [0, 0.1], [9, 0], [9, 0.1]], np.float32)
    scores = [1.0, 0.9, 0.5, 0.4]
    of_two = {"labels": [0, 1, 0, 1], "scores": scores, "neighbours": 1, "gamma": 0.0}
    assert kept(decided("d2", features, 2, per_class=False, **of_two)) == {0, 2}
    assert kept(decided("d2", features, 2, **of_two)) == {0, 1}


def test_d2_drops_the_hardest_first_by_whichever_score() -> None:
    features, scores = clouds(40)[0], np.arange(40.0)
    table = decided("d2", features, 10, scores=scores, hard_cutoff=0.25)
    assert {row for row, why in reasons(table).items() if why == "among_hardest"} == set(
        range(30, 40)
    )
    other = decided("d2", features, 10, scores=scores, hard_cutoff=0.25, hard_by="aum")
    assert reasons(other) == reasons(table)  # aum falls as the score rises


def test_moderate_keeps_the_middle_band_of_distances_to_the_class_median() -> None:
    features, labels = clouds(90)
    away = np.empty(90)
    for label in range(3):
        centre = np.median(features[labels == label], axis=0)
        away[labels == label] = np.linalg.norm(features[labels == label] - centre, axis=1)
    rising = np.argsort(away)
    table = decided("moderate", features, 30, labels=labels)
    assert kept(table) == set(rising[30:60].tolist())
    why = reasons(table)
    assert {why[row] for row in rising[:30].tolist()} == {"near_centre"}
    assert {why[row] for row in rising[60:].tolist()} == {"far_from_centre"}
    per_class = kept(decided("moderate", features, 30, labels=labels, balance="equal"))
    for label in range(3):
        of_class = [row for row in rising.tolist() if labels[row] == label]
        assert {row for row in per_class if labels[row] == label} == set(of_class[10:20])


@pytest.mark.parametrize("per_class", [True, False])
def test_prototypes_rank_by_cosine_to_their_centre(per_class: bool) -> None:  # noqa: FBT001
    features, labels = clouds(90)
    units = unit_length(features).astype(float)
    away = np.empty(90)
    for group in [labels == k for k in range(3)] if per_class else [np.ones(90, bool)]:
        centre = units[group].mean(axis=0)
        away[group] = 1 - units[group] @ centre / np.linalg.norm(centre)
    rising = np.argsort(away).tolist()
    params = {"labels": labels, "per_class": per_class}
    assert kept(decided("prototypes", features, 20, **params)) == set(rising[-20:])
    assert kept(decided("prototypes", features, 20, keep="near", **params)) == set(rising[:20])
