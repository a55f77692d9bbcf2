"""Features of several seeds, put together: whitened, turned onto each other, and their mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataprune.scores import _features
from dataprune.scores._features import RIDGE, mean_of_seeds, rotation_onto, whitened


def rows(n: int = 200, d: int = 6, *, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3).astype(np.float32)


def rotation(d: int = 6, *, seed: int = 1) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def distances(features: Any) -> Any:
    exact = features.astype(np.float64)
    return np.sqrt(((exact[:, None] - exact[None]) ** 2).sum(axis=2))


def test_whitening_is_the_formula() -> None:
    features = rows()
    exact = features.astype(np.float64)
    left, sizes, directions = np.linalg.svd(exact - exact.mean(axis=0), full_matrices=False)
    variances = sizes**2 / len(features)
    scale = np.sqrt(len(features) * variances / (variances + RIDGE * variances.mean()))
    assert np.allclose(whitened(features), left * scale @ directions, atol=1e-4)


def test_without_a_ridge_every_direction_has_variance_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_features, "RIDGE", 1e-9)
    monkeypatch.setattr(_features, "_BLOCK_ROWS", 7)
    variances = whitened(rows()).astype(float)
    assert np.allclose(variances.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(variances.T @ variances / 200, np.eye(6), atol=1e-3)


def test_a_seeds_turned_space_changes_no_distance() -> None:
    seeds = [rows(), rows(seed=2), rows(seed=3)]
    plain = distances(mean_of_seeds(iter(seeds)))
    for turned in range(3):
        spaces = [s @ rotation() if k == turned else s for k, s in enumerate(seeds)]
        found = distances(mean_of_seeds(iter([s.astype(np.float32) for s in spaces])))
        assert np.allclose(found, plain, atol=1e-3)


def test_seeds_that_see_the_same_up_to_a_rotation_agree() -> None:
    features = rows()
    turned = [(features @ rotation(seed=s) + s).astype(np.float32) for s in (1, 2, 3)]
    found = mean_of_seeds(iter([features, *turned]))
    assert np.allclose(found, whitened(features), atol=1e-3)
    onto = rotation_onto(whitened(turned[0]), whitened(features))
    assert np.allclose(onto @ onto.T, np.eye(6), atol=1e-5)
    assert np.allclose(onto, rotation(seed=1).T, atol=1e-3)


def test_what_one_seed_alone_sees_shrinks_and_what_all_see_stays() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(500, 2))
    seeds = [
        np.hstack([shared, rng.normal(size=(500, 2))]).astype(np.float32) @ rotation(4, seed=s)
        for s in range(8)
    ]
    found = mean_of_seeds(iter([s.astype(np.float32) for s in seeds]))
    variances = np.sort(np.linalg.eigvalsh(np.cov(found.T)))
    one = np.sort(np.linalg.eigvalsh(np.cov(whitened(seeds[0].astype(np.float32)).T)))
    assert (variances[2:] > 0.9 * one[2:]).all()
    assert (variances[:2] < 0.5 * one[:2]).all()


def test_dead_features_and_rows_that_are_all_the_same() -> None:
    dead = rows()
    dead[:, 2] = 0
    assert np.isfinite(mean_of_seeds(iter([dead, rows(seed=2)]))).all()
    assert np.allclose(whitened(dead)[:, 2], 0, atol=1e-6)
    same = np.ones((9, 4), np.float32)
    assert (mean_of_seeds(iter([same, same])) == 0).all()
