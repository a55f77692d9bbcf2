"""Random: the control score, uniform per row and seed, against splitmix64 in Python integers."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from scipy import stats

from dataprune.core.recipe import parse_recipe
from dataprune.scores import SCORES, Seen, Values
from dataprune.scores._aggregate import compute_scores
from dataprune.scores._reliability import reliability
from dataprune.tables.trace import Trace

MASK = 2**64 - 1


def slow_random(row: int, root_seed: int, seed: int) -> float:
    salt = json.dumps(["random score", root_seed, seed], separators=(",", ":")).encode()
    x = row + int.from_bytes(hashlib.blake2b(salt, digest_size=8).digest(), "little") & MASK
    for _ in range(2):
        x = (x + 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        x ^= x >> 31
    return (x >> 11) / 2**53


def draw(num_rows: int, *, seed: int = 0, root_seed: int = 0, epoch: int = 1) -> Values:
    mask, labels = np.ones(num_rows, dtype=np.bool_), np.zeros(num_rows, dtype=np.int64)
    return SCORES.get("random").compute(Seen({}, epoch, seed, root_seed, num_rows, mask, labels))


@pytest.mark.parametrize(("root_seed", "seed"), [(0, 0), (0, 7), (41, 2)])
def test_random_equals_a_reference_in_python_integers(root_seed: int, seed: int) -> None:
    values = draw(300, seed=seed, root_seed=root_seed)
    assert values.tolist() == [slow_random(row, root_seed, seed) for row in range(300)]


def test_random_is_uniform_over_the_unit_interval() -> None:
    values = draw(20_000)
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_random_of_a_row_does_not_depend_on_how_many_rows_follow() -> None:
    assert np.array_equal(draw(50), draw(500)[:50])


def test_seeds_and_root_seeds_draw_independently() -> None:
    first = draw(5000)
    for other in (draw(5000, seed=1), draw(5000, root_seed=1)):
        assert abs(stats.spearmanr(first, other).statistic) < 0.05


def test_random_needs_no_probe_and_its_seeds_do_not_agree() -> None:
    recipe = parse_recipe(
        {"name": "r", "source": {"uri": "digits"}, "probe": {"schedule_epochs": 2}, "seeds": 6},
        where="tests",
    )
    columns = compute_scores(recipe, [SCORES.get("random")], {}, np.zeros(3000))
    assert abs(columns.reliability["random"]["split_half_spearman"]) < 0.06
    assert columns.values["random"] == pytest.approx(
        np.mean([draw(3000, seed=seed) for seed in range(6)], axis=0)
    )
    every = np.ones((6, 3000), dtype=np.bool_)
    seeds_SN = np.stack([draw(3000, seed=seed) for seed in range(6)])
    assert reliability(seeds_SN, every, "in_sample", root_seed=0) == columns.reliability["random"]


def test_random_is_the_same_whichever_probes_ran() -> None:
    recipe = parse_recipe({"name": "r", "source": {"uri": "digits"}, "seeds": 3}, where="tests")
    mask, labels = np.arange(50) % 2 == 0, np.zeros(50)
    traces = {
        0: Trace(mask, {20: {"el2n": np.linspace(0, 1, 50)}}),
        1: Trace(~mask, {20: {"el2n": np.linspace(0, 1, 50)}}),
    }
    alone = compute_scores(recipe, [SCORES.get("random")], {}, labels)
    beside = compute_scores(recipe, [SCORES.get("el2n"), SCORES.get("random")], traces, labels)
    assert np.array_equal(alone.values["random"], beside.values["random"])
    assert "model" not in alone.specs["random"]
