"""Temperatures, votes and margins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataprune.flags._evidence import fit_temperature, weigh, weigh_again
from dataprune.flags._votes import check_vote


def slow_loss(logits: list[list[float]], labels: list[int], temperature: float) -> float:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        scaled = [z / temperature for z in row]
        peak = max(scaled)
        losses.append(peak + math.log(sum(math.exp(z - peak) for z in scaled)) - scaled[label])
    return math.fsum(losses) / len(losses)


def slow_temperature(logits: list[list[float]], labels: list[int]) -> float:
    """Thirds of a shrinking range of log T."""
    low, high = math.log(0.05), math.log(20)
    for _ in range(60):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if slow_loss(logits, labels, math.exp(a)) < slow_loss(logits, labels, math.exp(b)):
            high = b
        else:
            low = a
    return math.exp(low)


@pytest.mark.parametrize("overconfident", [0.5, 1.0, 2.0])
def test_a_temperature_equals_a_slow_search(
    noisy: Callable[..., Any], overconfident: float
) -> None:
    data = noisy(n=150, num_classes=4, overconfident=overconfident)
    logits = np.log(data.votes[0].astype(np.float64))
    expected = slow_temperature(logits.tolist(), data.given.tolist())
    assert fit_temperature(logits, data.given) == pytest.approx(expected, rel=1e-5)


def test_overconfidence_is_undone(noisy: Callable[..., Any]) -> None:
    once, twice = (noisy(overconfident=c) for c in (1.0, 2.0))
    found = [
        weigh([check_vote(d.votes[0], name="a", is_logits=False)], d.given, seed=0)
        for d in (once, twice)
    ]
    assert found[1].temperatures[0] == pytest.approx(2 * found[0].temperatures[0], rel=1e-3)
    assert found[1].means.p_nR == pytest.approx(found[0].means.p_nR, abs=1e-4)


def test_votes_that_are_always_right_are_sharpened() -> None:
    assert fit_temperature(np.tile([2.0, 0.0], (20, 1)), np.zeros(20, dtype=np.int64)) < 0.1


def test_votes_that_are_always_wrong_are_flattened_as_far_as_it_goes() -> None:
    found = fit_temperature(np.tile([9.0, 0.0], (20, 1)), np.ones(20, dtype=np.int64))
    assert found == pytest.approx(100, rel=1e-6)


def test_votes_that_know_nothing_keep_their_temperature() -> None:
    assert fit_temperature(np.zeros((10, 3)), np.arange(10) % 3) == 1


def test_margin_fraction_and_count_are_over_the_votes_that_held_a_row_out() -> None:
    a = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0 + 1e-9], [np.nan] * 3]))
    b = np.log(np.array([[0.2, 0.7, 0.1], [np.nan] * 3, [0.1, 0.1, 0.8]]))
    labels = np.array([0, 1, 2])
    votes = [check_vote(v, name="v", is_logits=True) for v in (a, b)]
    found = weigh(votes, labels, seed=0)
    t, u = found.temperatures
    first = (math.log(0.7 / 0.2) / t + math.log(0.2 / 0.7) / u) / 2
    assert found.margin.tolist() == pytest.approx([first, 0, math.log(8) / u])
    assert found.vote_frac.tolist() == [0.5, 0, 0]  # a tie is for the label
    assert found.num_votes.tolist() == [2, 1, 1]
    assert found.choices_Sn.tolist() == [[0, 0, -1], [1, -1, 2]]


def test_a_probability_of_zero_is_read_as_half_the_least_that_the_vote_expresses() -> None:
    vote = check_vote(np.array([[0.0, 1.0], [0.25, 0.75]]), name="trees", is_logits=False)
    assert np.exp(vote.logits(slice(0, 2))[0]).tolist() == pytest.approx([0.125, 1])


def test_columns_that_stand_for_several_classes_weigh_as_much_as_those_classes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3))
    labels = rng.integers(0, 2, 200)
    whole = np.concatenate([logits, logits[:, 2:], logits[:, 2:]], axis=1)
    times = np.tile(np.log([1.0, 1.0, 3.0]), (200, 1))
    expected = fit_temperature(whole, labels)
    assert fit_temperature(logits, labels, times) == pytest.approx(expected, rel=1e-9)


def test_many_classes_are_calibrated_as_all_of_them_would_be(noisy: Callable[..., Any]) -> None:
    data = noisy(n=1000, num_classes=60, votes=2, overconfident=2.0)
    votes = [check_vote(v, name="v", is_logits=False) for v in data.votes]
    found = weigh(votes, data.given, seed=0)
    scaled = [v.logits(slice(None)) / t for v, t in zip(votes, found.temperatures, strict=True)]
    mean = np.mean([np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in scaled], axis=0)
    again = fit_temperature(np.log(mean), data.given)
    assert found.mean_temperature == pytest.approx(again, rel=0.02)
    whole = mean ** (1 / again)
    whole /= whole.sum(axis=1, keepdims=True)
    own = whole[np.arange(1000), data.given]
    assert found.means.own() == pytest.approx(own, rel=0.1, abs=1e-4)


def test_labels_that_rows_might_have_had_are_weighed_by_the_same_votes(
    noisy: Callable[..., Any],
) -> None:
    data = noisy(n=500, num_classes=40, votes=2)
    votes = [check_vote(v, name="v", is_logits=False) for v in data.votes]
    found = weigh(votes, data.given, seed=0)
    rows = np.arange(100, 150)
    means, frac = weigh_again(votes, found, data.given[rows], rows)
    assert frac.tolist() == found.vote_frac[rows].tolist()
    assert means.p_nR == pytest.approx(found.means.p_nR[rows], rel=1e-5)
