"""Distances, neighbours and clusters, against what they should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.selection import _cloud, _kmeans, _knn
from dataprune.selection._cloud import Cloud, unit_length
from dataprune.selection._kmeans import k_means
from dataprune.selection._knn import both_ways, nearest_neighbours
from tests.selection.clouds import clouds

few = st.integers(-2, 2)


def distances_of(features: Any) -> Any:
    """All pairs, one by one."""
    exact = np.asarray(features, dtype=np.float64)
    return np.sqrt(((exact[:, None] - exact[None]) ** 2).sum(axis=2))


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cloud, "BLOCK_NUMBERS", 64)
    monkeypatch.setattr(_knn, "BLOCK_NUMBERS", 64)


def neighbours_of(features: Any, k: int) -> tuple[list[list[int]], Any]:
    squared = (distances_of(features) ** 2).astype(np.float32)
    np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return order.tolist(), np.sqrt(np.take_along_axis(squared, order, axis=1))


def test_distances_are_right_and_none_between_equal_points_far_from_0() -> None:
    features = clouds(50, 7)[0] + np.float32(1000)
    features[30:] = features[:20]
    squared = Cloud(features).squared(slice(None), slice(None))
    assert np.allclose(np.sqrt(squared), distances_of(features), rtol=1e-6)
    assert (squared[np.arange(20), np.arange(30, 50)] == 0).all()
    assert (np.diag(squared) == 0).all()


@pytest.mark.parametrize("k", [1, 4, 200])
@pytest.mark.parametrize("num_features", [1, 3, 300])
def test_neighbours_are_those_of_a_full_sort(k: int, num_features: int) -> None:
    features = clouds(180, num_features)[0]
    found, distances = nearest_neighbours(Cloud(features), k)
    expected, exact = neighbours_of(features, min(k, 179))
    assert found.tolist() == expected
    assert np.allclose(distances, exact, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(points=st.lists(st.tuples(few, few), min_size=1, max_size=40), k=st.integers(1, 6))
def test_of_equally_near_points_the_first_are_neighbours(points: list[Any], k: int) -> None:
    features = np.asarray(points, dtype=np.float32)
    found, _ = nearest_neighbours(Cloud(features), k)
    assert found.tolist() == neighbours_of(features, min(k, len(points) - 1))[0]


@pytest.mark.usefixtures("tiny_blocks")
def test_blocks_change_nothing() -> None:
    for features in (clouds(90)[0], np.round(clouds(90, 2)[0]), np.ones((90, 3), np.float32)):
        found, _ = nearest_neighbours(Cloud(features), 3)
        assert found.tolist() == neighbours_of(features, 3)[0]


def test_a_graph_has_each_edge_once_in_each_direction() -> None:
    neighbours, distances = nearest_neighbours(Cloud(clouds(40)[0]), 3)
    sources, targets, weights = both_ways(neighbours, distances)
    edges = list(zip(sources.tolist(), targets.tolist(), strict=True))
    assert edges == sorted(set(edges))
    wanted = {(i, j) for i, row in enumerate(neighbours.tolist()) for j in row}
    assert set(edges) == wanted | {(j, i) for i, j in wanted}
    exact = distances_of(clouds(40)[0])
    assert np.allclose(weights, exact[sources, targets], rtol=1e-6)


def test_k_means_finds_clouds_that_lie_apart() -> None:
    features, labels = clouds(150)
    features += 100 * np.eye(3, 5, dtype=np.float32)[labels]
    of, centres = k_means(features, 3, seed=0)
    assert len({(a, b) for a, b in zip(of.tolist(), labels.tolist(), strict=True)}) == 3
    for k in range(3):
        assert np.allclose(centres[k], features[of == k].mean(axis=0), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(points=st.lists(st.tuples(few, few), min_size=1, max_size=30), seed=st.integers(0, 5))
def test_every_point_has_the_nearest_centre(points: list[Any], seed: int) -> None:
    features = np.asarray(points, dtype=np.float32)
    k = min(3, len(points))
    of, centres = k_means(features, k, seed)
    away = ((features[:, None].astype(float) - centres[None]) ** 2).sum(axis=2)
    assert np.allclose(away[np.arange(len(of)), of], away.min(axis=1), atol=1e-5)
    if len(set(points)) >= k:  # no centre is without points where there are points to have
        assert len(set(of.tolist())) == k


def test_more_clusters_than_points_are_refused() -> None:
    with pytest.raises(UsageError, match="4 clusters of 3 rows"):
        _kmeans.k_means(np.zeros((3, 2), np.float32), 4, 0)


def test_points_of_length_1_and_of_length_0() -> None:
    scaled = unit_length(np.asarray([[3, 4], [0, 0], [-2, 0]], np.float32))
    assert np.allclose(scaled, [[0.6, 0.8], [0, 0], [-1, 0]])
