"""Phases by the paper's tables, and the history that tells forgetting from confusion."""

from __future__ import annotations

import pytest

from dataprune.reproductions.phases import classify


@pytest.mark.parametrize(
    ("train", "test", "xi", "best", "phase"),
    [
        (0.978, 0.983, 0.35, 0.983, "coexistence"),
        (0.7855, 1.0, 0.35, 1.0, "partial inversion"),
        (0.6537, 1.0, 0.35, 1.0, "full inversion"),
        (0.0091, 0.0108, 0.35, 1.0, "forgetting"),
        (0.0091, 0.0108, 0.35, 0.02, "confusion"),
        (0.8043, 1.0, 0.2, 1.0, "full inversion"),
        (1.0, 0.35, 0.35, 0.35, "memorization"),
        (1.0, 0.35, 0.35, 0.95, "memorization"),
        (1.0, 1.0, 0.0, 1.0, "coexistence"),
        (0.9, 0.9, 0.35, 0.9, "coexistence"),
        (0.701, 0.9, 0.35, 0.9, "partial inversion"),
        (0.699, 0.9, 0.35, 0.9, "full inversion"),
        (0.899, 0.899, 0.35, 0.899, "confusion"),
    ],
)
def test_the_phase_of(train: float, test: float, xi: float, best: float, phase: str) -> None:
    assert classify(train, test, xi=xi, best_test=best) == phase
