"""Strategies that draw: each against its formula, in the mean over many seeds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import mix64
from dataprune.selection import STRATEGIES, Column, Pool
from dataprune.selection._choice import Choice
from dataprune.selection._decide import decide
from dataprune.selection._sampling import gumbel_noise
from dataprune.tables.examples import examples_table

Values = np.ndarray[Any, np.dtype[np.float64]]
SEEDS = 4000


def places(name: str, scores: Any, budget: int, seed: int = 0, **given: Any) -> list[int]:
    """Rows kept; a Column among what is given is a score that may be named, the rest parameters."""
    columns = {k: v for k, v in given.items() if isinstance(v, Column)}
    params = {k: v for k, v in given.items() if not isinstance(v, Column)}
    values = np.asarray(scores, dtype=np.float64)
    pool = Pool(values, mix64(np.arange(len(values)), "t", seed), budget, columns=columns)
    order = STRATEGIES.get(name).order
    assert order is not None
    kept: list[int] = order(pool, **params).places[:budget].tolist()
    return kept


def drawn_shares(weights: Values, budget: int) -> Values:
    """How often each row is among `budget` drawn one by one without replacement, by enumeration."""
    shares = np.zeros(len(weights))
    for rows in itertools.permutations(range(len(weights)), budget):
        chance, left = 1.0, weights.sum()
        for row in rows:
            chance *= weights[row] / left
            left -= weights[row]
        shares[list(rows)] += chance
    return shares


def counted(name: str, scores: Any, budget: int, **given: Any) -> Values:
    counts = np.zeros(len(scores))
    for seed in range(SEEDS):
        counts[places(name, scores, budget, seed, **given)] += 1
    return counts / SEEDS


def test_the_noise_is_standard_gumbel_and_finite_at_both_ends() -> None:
    noise = gumbel_noise(mix64(np.arange(100_000), "n"))
    assert abs(noise.mean() - 0.5772) < 0.02
    assert abs(noise.std() - math.pi / math.sqrt(6)) < 0.02
    ends = gumbel_noise(np.asarray([0, 2**64 - 1], dtype=np.uint64))
    assert np.isfinite(ends).all()
    assert ends[0] < -3 and ends[1] > 30  # noqa: PT018 - one statement about both ends


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_gumbel_draws_by_the_exponential_of_the_score(temperature: float) -> None:
    scores = np.asarray([-1.0, 0.0, 0.5, 2.0])
    wanted = drawn_shares(np.exp(scores / temperature), 2)
    assert np.abs(counted("gumbel", scores, 2, temperature=temperature) - wanted).max() < 0.03


@pytest.mark.parametrize("temperature", [1e-12, 1e-300, 5e-324])
def test_gumbel_at_a_low_temperature_is_hardest(temperature: float) -> None:
    scores = np.random.default_rng(0).normal(size=50)
    kept = places("gumbel", scores, 20, temperature=temperature)
    assert kept == np.argsort(-scores)[:20].tolist()


def test_gumbel_at_a_high_temperature_is_random() -> None:
    scores = np.arange(400.0)
    kept = set(places("gumbel", scores, 200, temperature=1e12))
    assert 70 < len(kept & set(range(200))) < 130


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan, "1", True])
def test_a_temperature_that_is_not_above_0_is_refused(temperature: object) -> None:
    with pytest.raises(UsageError, match="temperature is"):
        places("gumbel", np.arange(4.0), 2, temperature=temperature)


def beta_weights(scores: Values, mean_p: Values, budget: int, c: float, c_d: float) -> Values:
    """The authors' formula, with the density of the Beta distribution written out."""
    mu = mean_p[np.argsort(-scores)[:10]].mean()
    b = c * (1 - mu) * (1 - (1 - budget / len(scores)) ** c_d)
    a = c + 1 - b
    constant = math.gamma(a + b) / (math.gamma(a) * math.gamma(b))
    weights: Values = scores * constant * mean_p ** (a - 1) * (1 - mean_p) ** (b - 1)
    return weights


def test_beta_draws_by_score_times_the_density_at_the_mean_prediction() -> None:
    scores = np.asarray([0.3, 0.25, 0.2, 0.1, 0.05, 0.02])
    mean_p = np.asarray([0.4, 0.6, 0.5, 0.8, 0.9, 0.2])
    wanted = drawn_shares(beta_weights(scores, mean_p, 2, 15, 4), 2)
    found = counted("beta", scores, 2, confidence=Column(-mean_p))
    assert np.abs(found - wanted).max() < 0.03
    easier = Column(mean_p, easier=True)
    assert np.array_equal(counted("beta", scores, 2, p=easier, by_mean="p"), found)


def test_beta_turns_to_easier_rows_the_less_is_kept() -> None:
    rng = np.random.default_rng(0)
    mean_p = rng.random(2000)
    scores = mean_p * (1 - mean_p) * (1 - 0.7 * mean_p)  # highest near 0.4, as DUAL is
    means = [
        mean_p[places("beta", scores, budget, confidence=Column(-mean_p))].mean()
        for budget in (1400, 1000, 600, 200)
    ]
    assert means == sorted(means)
    assert means[-1] > means[0] + 0.15


def test_beta_never_draws_a_row_of_score_0_while_others_are_left_and_bears_p_of_0_and_1() -> None:
    scores = np.asarray([0.0, 0.1, 0.0, 0.2, 0.3])
    mean_p = np.asarray([0.5, 0.0, 1.0, 1.0, 0.5])
    for seed in range(50):
        assert set(places("beta", scores, 3, seed, confidence=Column(-mean_p))) == {1, 3, 4}


def test_beta_refuses_scores_below_0_and_a_mean_that_is_no_probability() -> None:
    with pytest.raises(UsageError, match="the lowest is -1"):
        places("beta", [-1.0, 1.0], 1, confidence=Column(np.zeros(2)))
    with pytest.raises(UsageError, match="confidence is no mean of p_label"):
        places("beta", [1.0, 1.0], 1, confidence=Column(np.asarray([0.2, -0.5])))
    with pytest.raises(UsageError, match="c_d is 0"):
        places("beta", [1.0, 1.0], 1, c_d=0, confidence=Column(np.zeros(2)))


def drop_quotas(errors: Values, labels: Any, budget: int) -> list[float]:
    """The paper's shares: d_k = d * (1 - r_k) / Z of a class, what is above 1 shared on."""
    sizes, open_classes = np.bincount(labels), set(range(int(labels.max()) + 1))
    recall = np.asarray([1 - errors[labels == k].mean() for k in open_classes])
    quotas, left = np.zeros(len(sizes)), float(budget)
    while True:
        here = sorted(open_classes)
        z = sum((1 - recall[k]) * sizes[k] for k in here)
        for k in here:
            quotas[k] = left * (1 - recall[k]) * sizes[k] / z
        full = [k for k in here if quotas[k] > sizes[k]]
        if not full:
            return quotas.tolist()
        for k in full:
            quotas[k] = sizes[k]
            left -= sizes[k]
            open_classes.discard(k)


@pytest.mark.parametrize("budget", [17, 50, 101, 180, 200])
def test_drop_gives_each_class_its_share_by_error_and_the_budget_exactly(budget: int) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    errors = (rng.random(200) < np.asarray([0.1, 0.3, 0.9])[labels]).astype(float)
    table = examples_table(np.arange(200, dtype=np.uint64), labels)
    for values, easier in ((errors, False), (errors - 1, False), (1 - errors, True)):
        decided = decide(table, values, list("abc"), Choice("drop", budget, {}), easier=easier)
        keep = decided.column("keep").to_numpy(zero_copy_only=False)
        kept = np.bincount(labels[keep], minlength=3)
        assert kept.sum() == budget
        assert np.abs(kept - drop_quotas(errors, labels, budget)).max() < 1


def test_drop_keeps_rows_at_random_within_a_class() -> None:
    labels = np.repeat([0, 1], [200, 200])
    table = examples_table(np.arange(400, dtype=np.uint64), labels)
    scores = np.arange(400.0)
    decided = decide(table, scores, ["a", "b"], Choice("drop", 200, {}))
    rows = np.flatnonzero(decided.column("keep").to_numpy(zero_copy_only=False))
    of_second = rows[rows >= 200]
    assert len(of_second) == 150  # the mean error of the second class is three times the first's
    assert 55 < (of_second < 300).sum() < 95


def test_drop_refuses_a_balance_of_classes_rows_without_and_what_is_no_error() -> None:
    table = examples_table(np.arange(4, dtype=np.uint64), np.asarray([0, 0, 1, 1]))
    with pytest.raises(UsageError, match=r"class balance \(equal\) has no effect with drop"):
        decide(table, np.ones(4), ["a", "b"], Choice("drop", 2, {}, "equal"))
    with pytest.raises(UsageError, match="the score decided by is -3 to 0"):
        decide(table, np.asarray([-3.0, 0, -1, -2]), ["a", "b"], Choice("drop", 2, {}))
    numbers = examples_table(np.arange(4, dtype=np.uint64), np.ones((4, 1)))
    with pytest.raises(UsageError, match=r"class balance \(drop\) wants one class per row"):
        decide(numbers, np.ones(4), [], Choice("drop", 2, {}))


def test_where_no_class_has_an_error_the_shares_are_those_of_their_sizes() -> None:
    table = examples_table(np.arange(8, dtype=np.uint64), np.repeat([0, 1], [6, 2]))
    keep = decide(table, np.zeros(8), ["a", "b"], Choice("drop", 4, {})).column("keep")
    assert sum(keep.to_pylist()[:6]) == 3
