"""What holds for every registered strategy: budget, ties, order, reasons; then each one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.selection import STRATEGIES, Column, Pool, _decide
from dataprune.selection._choice import Choice
from dataprune.selection._quotas import class_quotas
from dataprune.tables.examples import examples_table

Values = np.ndarray[Any, np.dtype[np.float64]]

# Parameters to try of every strategy; one that is not here fails the tests below.
CASES: dict[str, list[dict[str, Any]]] = {
    "beta": [{}],
    "ccs": [{"beta": 0}, {"beta": 0.25, "bins": 3}],
    "drop": [{}],
    "easiest": [{}],
    "gumbel": [{"temperature": 2.0}],
    "hardest": [{}],
    "random": [{}],
    "window": [{"offset": 0}, {"offset": 2}, {"offset": 0.25}, {"skip_hardest": 2}],
}
# Parameters that skip rows whatever the budget is.
SKIPS = ("offset", "skip_hardest", "beta")
# These fill no budget: see test_steps.py.
FILTERS = ["duplicates", "flagged", "semantic_dedup", "threshold"]
# These read features, too: see test_geometric.py.
GEOMETRIC = ["d2", "facility_location", "kcenter", "moderate", "prototypes"]
# Those whose kept set only grows with the budget, with any parameters above.
MONOTONE = {"easiest": {}, "gumbel": {"temperature": 1.0}, "hardest": {}, "random": {}}
NAMES = ["a", "b", "c", "d"]
BALANCES = ["none", "proportional", "equal"]


def every_strategy() -> list[Any]:
    return [
        pytest.param(name, params, id=f"{name}-{i}")
        for name in STRATEGIES.names()
        if name not in FILTERS + GEOMETRIC
        for i, params in enumerate(CASES.get(name, [{}]))
    ]


def test_every_registered_strategy_has_a_case_here_and_is_named_like_its_file() -> None:
    assert STRATEGIES.names() == sorted([*CASES, *FILTERS, *GEOMETRIC])
    assert all(STRATEGIES.get(name).name == name for name in STRATEGIES.names())
    assert [n for n in STRATEGIES.names() if STRATEGIES.get(n).order is None] == FILTERS


def examples_of(labels: Any) -> pa.Table:
    hashes = np.arange(len(labels), dtype=np.uint64) * np.uint64(7919)
    return examples_table(hashes, np.asarray(labels, dtype=np.int64))


def kept_rows(table: pa.Table) -> set[int]:
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    return set(table.column("row").to_numpy()[mask].tolist())


def decide(examples: pa.Table, scores: Values, names: list[str], choice: Choice) -> pa.Table:
    """Decisions, with a score that others read beside, and none below 0 where none may be."""
    if choice.strategy in {"beta", "drop"}:
        scores = np.abs(scores)
    columns = {"confidence": Column(-1 / (1 + np.exp(-np.abs(scores))))}
    return _decide.decide(examples, scores, names, choice, columns=columns)


def keep(strategy: str, scores: Any, budget: int, *, seed: int = 0, **params: Any) -> set[int]:
    """Rows kept of one pool."""
    table = examples_of(np.zeros(len(scores)))
    choice = Choice(strategy, budget, params, seed=seed)
    return kept_rows(decide(table, np.asarray(scores, dtype=np.float64), NAMES, choice))


tied_scores = st.integers(0, 4).map(float)
any_scores = st.floats(-1e6, 1e6)
pools = st.lists(st.tuples(st.one_of(tied_scores, any_scores), st.integers(0, 3)), min_size=1)


def does_not_fit(params: dict[str, Any], balance: str, budget: int, labels: Any) -> bool:
    """Whether some pool has too few rows for what a strategy leaves out and its quota together."""
    sizes, quotas = np.array([len(labels)]), np.array([budget])
    if balance != "none":
        sizes = np.bincount(labels)
        quotas = class_quotas(balance, budget, sizes, 0, NAMES)
    offset = next((params[name] for name in SKIPS if name in params), 0)
    return any(
        (offset if isinstance(offset, int) else round(offset * size)) + quota > size
        for size, quota in zip(sizes.tolist(), quotas.tolist(), strict=True)
        if size
    )


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize(("strategy", "params"), every_strategy())
@settings(max_examples=25, deadline=None)
@given(pool=pools, data=st.data())
def test_decisions_are_exact_whole_and_blind_to_row_order(
    strategy: str, params: dict[str, Any], balance: str, pool: list[Any], data: st.DataObject
) -> None:
    scores = np.asarray([score for score, _ in pool])
    labels = np.asarray([label for _, label in pool])
    budget = data.draw(st.integers(1, len(pool)), label="budget")
    choice = Choice(strategy, budget, params, balance, seed=data.draw(st.integers(0, 3)))
    examples = examples_of(labels)
    try:
        table = decide(examples, scores, NAMES, choice)
    except UsageError:
        own_quotas = STRATEGIES.get(strategy).own_quotas and balance != "none"
        assert own_quotas or does_not_fit(params, balance, budget, labels)
        return
    assert not does_not_fit(params, balance, budget, labels)
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    assert mask.sum() == budget
    assert table.column("row").to_pylist() == list(range(len(pool)))
    assert set(table.column("rule").to_pylist()) == {strategy}
    shown = np.abs(scores) if strategy in {"beta", "drop"} else scores
    assert np.array_equal(table.column("value").to_numpy(), shown.astype(np.float32))
    for reason, kept in zip(table.column("reason").to_pylist(), mask, strict=True):
        assert reason
        assert (reason == "kept") == kept
    ranks = table.column("rank").to_numpy()
    of_pool = np.zeros_like(labels) if balance == "none" else labels
    for label in np.unique(of_pool):
        here = of_pool == label
        assert sorted(ranks[here]) == list(range(here.sum()))
        assert np.array_equal(mask[here], ranks[here] < mask[here].sum())
    order = np.asarray(data.draw(st.permutations(range(len(pool))), label="order"))
    shuffled = decide(examples.take(order), scores[order], NAMES, choice)
    assert shuffled.sort_by("row").to_pylist() == table.to_pylist()


@pytest.mark.parametrize(("strategy", "params"), every_strategy())
@settings(max_examples=25, deadline=None)
@given(pool=pools, floor=st.integers(0, 6), data=st.data())
def test_a_floor_is_held_for_every_class_in_every_balance_or_is_a_usage_error(
    strategy: str, params: dict[str, Any], pool: list[Any], floor: int, data: st.DataObject
) -> None:
    scores = np.asarray([score for score, _ in pool])
    labels = np.asarray([label for _, label in pool])
    budget = data.draw(st.integers(1, len(pool)), label="budget")
    own_quotas = STRATEGIES.get(strategy).own_quotas
    balance = data.draw(st.sampled_from(["none"] if own_quotas else BALANCES), label="balance")
    sizes = np.bincount(labels)
    present = sizes[sizes > 0]
    possible = (present >= floor).all() and floor * len(present) <= budget
    choice = Choice(strategy, budget, params, balance, min_per_class=floor)
    try:
        table = decide(examples_of(labels), scores, NAMES, choice)
    except UsageError:
        assert not possible or any(params.get(name) for name in SKIPS)
        return
    assert possible
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    assert mask.sum() == budget
    kept = np.bincount(labels[mask], minlength=len(sizes))
    assert (kept[sizes > 0] >= floor).all()
    for reason, row_kept in zip(table.column("reason").to_pylist(), mask, strict=True):
        assert (reason in {"kept", "kept_for_floor"}) == row_kept


@pytest.mark.parametrize("strategy", MONOTONE)
@settings(max_examples=30, deadline=None)
@given(pool=st.lists(st.tuples(tied_scores, st.integers(0, 3)), min_size=1, max_size=14))
def test_keeping_more_never_drops_a_row_that_was_kept(strategy: str, pool: list[Any]) -> None:
    scores = np.asarray([score for score, _ in pool])
    examples = examples_of([label for _, label in pool])
    for balance in ("none", "equal"):
        before: set[int] = set()
        for budget in range(1, len(pool) + 1):
            choice = Choice(strategy, budget, MONOTONE[strategy], balance)
            now = kept_rows(decide(examples, scores, NAMES, choice))
            assert before < now
            before = now


@pytest.mark.parametrize(("strategy", "params"), every_strategy())
def test_ties_are_broken_by_the_seed_and_not_by_the_rows_place(
    strategy: str, params: dict[str, Any]
) -> None:
    tied = np.ones(400)
    first, again, other = (keep(strategy, tied, 200, seed=s, **params) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert 70 < len(first & other) < 130  # half of 200 by chance
    assert 70 < len(first & set(range(200))) < 130
    assert 70 < len({row for row in first if row % 2}) < 130


@pytest.mark.parametrize(("strategy", "params"), every_strategy())
def test_a_rows_tie_break_does_not_depend_on_which_other_rows_there_are(
    strategy: str, params: dict[str, Any]
) -> None:
    params = {**params, **{name: 0 for name in SKIPS if name in params}}
    examples = examples_of(np.zeros(60))
    choice = Choice(strategy, 1.0, params)
    whole = decide(examples, np.ones(60), NAMES, choice).column("rank").to_numpy()
    half = decide(examples.slice(30), np.ones(30), NAMES, choice).column("rank").to_numpy()
    assert np.array_equal(np.argsort(whole[30:]), np.argsort(half))


@settings(max_examples=60, deadline=None)
@given(st.lists(any_scores, min_size=1), st.data())
def test_hardest_keeps_the_highest_scores_and_easiest_the_lowest(
    scores: list[float], data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, len(scores)))
    rising = sorted(scores)
    assert sorted(scores[r] for r in keep("easiest", scores, budget)) == rising[:budget]
    assert sorted(scores[r] for r in keep("hardest", scores, budget)) == rising[-budget:]


def test_dropped_rows_say_on_which_side_they_fell() -> None:
    scores = np.arange(10.0)
    examples = examples_of(np.zeros(10))

    def reasons(strategy: str, **params: Any) -> list[str]:
        choice = Choice(strategy, 4, params)
        return decide(examples, scores, NAMES, choice).column("reason").to_pylist()

    assert reasons("hardest") == ["too_easy"] * 6 + ["kept"] * 4
    assert reasons("easiest") == ["kept"] * 4 + ["too_hard"] * 6
    assert reasons("window", offset=3) == (
        ["below_window"] * 3 + ["kept"] * 4 + ["above_window"] * 3
    )
    assert sorted(reasons("random")) == ["kept"] * 4 + ["not_drawn"] * 6


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(tied_scores, any_scores), min_size=1), st.data())
def test_a_window_drops_the_lowest_offset_rows_and_keeps_the_next(
    scores: list[float], data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, len(scores)), label="budget")
    offset = data.draw(st.integers(0, len(scores) - budget), label="offset")
    kept = keep("window", scores, budget, offset=offset)
    assert sorted(scores[row] for row in kept) == sorted(scores)[offset : offset + budget]


@settings(max_examples=60, deadline=None)
@given(st.lists(any_scores, min_size=1, unique=True), st.booleans(), st.data())
def test_a_window_can_skip_the_hardest_and_keep_the_next_hardest(
    scores: list[float],
    easier: bool,  # noqa: FBT001
    data: st.DataObject,
) -> None:
    budget = data.draw(st.integers(1, len(scores)), label="budget")
    skip = data.draw(st.integers(0, len(scores) - budget), label="skip_hardest")
    pool = Pool(np.asarray(scores), np.arange(len(scores), dtype=np.uint64), budget, easier)
    order = STRATEGIES.get("window").order
    assert order is not None
    found = order(pool, skip_hardest=skip)
    falling = sorted(range(len(scores)), key=lambda i: scores[i], reverse=not easier)
    assert found.places[:budget].tolist() == falling[skip : skip + budget]
    reasons = dict(
        zip(falling, ["among_hardest"] * skip + ["easier_than_window"] * len(scores), strict=False)
    )
    assert found.dropped.tolist() == [reasons[i] for i in range(len(scores))]


def test_a_windows_ranks_rise_from_its_lower_end_and_then_go_down_below_it() -> None:
    choice = Choice("window", 4, {"offset": 3})
    table = decide(examples_of(np.zeros(10)), np.arange(10.0), NAMES, choice)
    assert table.column("rank").to_pylist() == [9, 8, 7, 0, 1, 2, 3, 4, 5, 6]


@settings(max_examples=60, deadline=None)
@given(st.lists(any_scores, min_size=1, unique=True), st.data())
def test_hardest_is_the_window_that_ends_at_the_top_and_easiest_the_one_from_the_bottom(
    scores: list[float], data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, len(scores)))
    top = keep("window", scores, budget, offset=len(scores) - budget)
    assert top == keep("hardest", scores, budget)
    assert keep("window", scores, budget, offset=0) == keep("easiest", scores, budget)


def test_a_fractional_offset_is_a_share_of_each_pool() -> None:
    scores = np.arange(30.0)
    assert keep("window", scores, 10, offset=0.1) == set(range(3, 13))
    labels = [0] * 10 + [1] * 20
    choice = Choice("window", 15, {"offset": 0.1}, "proportional")
    kept = kept_rows(decide(examples_of(labels), scores, NAMES, choice))
    assert kept == {*range(1, 6), *range(12, 22)}


@pytest.mark.parametrize("offset", [-1, -0.1, 1.0, 2.5, True, "3", float("nan")])
def test_an_offset_that_is_neither_a_count_nor_a_fraction_is_refused(offset: object) -> None:
    with pytest.raises(UsageError, match="offset is"):
        keep("window", np.arange(10.0), 2, offset=offset)


def test_a_window_that_does_not_fit_says_how_far_it_could_be_moved() -> None:
    with pytest.raises(UsageError, match="skips 7 and keeps 4 does not fit 10 rows") as caught:
        keep("window", np.arange(10.0), 4, offset=7)
    assert "6 at most" in (caught.value.hint or "")


def test_random_ignores_the_scores_and_draws_every_row_equally_often() -> None:
    rising, falling = np.arange(40.0), np.arange(40.0)[::-1]
    assert keep("random", rising, 10) == keep("random", falling, 10)
    drawn = np.zeros(40)
    for seed in range(400):
        drawn[list(keep("random", rising, 10, seed=seed))] += 1
    assert drawn.min() > 60  # 100 expected, standard deviation 8.7
    assert drawn.max() < 140
    assert not STRATEGIES.get("random").needs_score
