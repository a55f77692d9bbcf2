"""Coverage-centric selection against a slow reference, and where public code goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.core.fingerprint import mix64
from dataprune.selection import STRATEGIES, Column, Pool
from dataprune.selection._choice import Choice
from dataprune.selection._decide import decide
from dataprune.tables.examples import examples_table

Values = np.ndarray[Any, np.dtype[np.float64]]


def pool(scores: Any, budget: int, **columns: Column) -> Pool:
    values = np.asarray(scores, dtype=np.float64)
    return Pool(values, mix64(np.arange(len(values)), "t"), budget, columns=columns)


def kept(scores: Any, budget: int, *, by: Column | None = None, **params: Any) -> set[int]:
    given = pool(scores, budget, **({} if by is None else {"hard": by}))
    order = STRATEGIES.get("ccs").order
    assert order is not None
    return set(order(given, **params).places[:budget].tolist())


def reference(scores: Values, budget: int, *, beta: float, bins: int) -> list[int]:
    """Rows kept of each bin, as Algorithm 1 of the paper says it, bin by bin."""
    left = sorted(scores)[: len(scores) - round(beta * len(scores))]
    low, high = left[0], left[-1]
    sizes = [0] * bins
    for score in left:
        share = (score - low) / (high - low) if high > low else 0.0
        sizes[min(int(share * bins), bins - 1)] += 1
    budgets, rest = [0] * bins, budget
    for visited, i in enumerate(sorted(range(bins), key=lambda i: (sizes[i], i))):
        budgets[i] = min(sizes[i], rest // (bins - visited))
        rest -= budgets[i]
    assert rest == 0
    return budgets


@settings(max_examples=150, deadline=None)
@given(
    scores=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60, unique=True),
    beta=st.sampled_from([0.0, 0.1, 0.3]),
    bins=st.integers(1, 7),
    data=st.data(),
)
def test_every_bin_keeps_as_many_as_the_papers_algorithm_gives_it(
    scores: list[float], beta: float, bins: int, data: st.DataObject
) -> None:
    values = np.asarray(scores)
    most = len(values) - round(beta * len(values))
    if not most:
        return
    budget = data.draw(st.integers(1, most))
    rows = kept(values, budget, beta=beta, bins=bins)
    assert len(rows) == budget
    left = np.sort(values)[:most]
    width = left[-1] - left[0]
    share = (values[sorted(rows)] - left[0]) / width if width > 0 else np.zeros(budget)
    found = np.bincount(np.minimum((share * bins).astype(int), bins - 1), minlength=bins)
    assert found.tolist() == reference(values, budget, beta=beta, bins=bins)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5, width=16), min_size=2, max_size=40), st.integers(1, 6))
def test_a_smaller_budgets_rows_are_among_those_of_a_larger_one(
    scores: list[float], bins: int
) -> None:
    before: set[int] = set()
    for budget in range(1, len(scores) + 1):
        now = kept(scores, budget, beta=0, bins=bins)
        assert before < now
        before = now


def test_the_hardest_are_dropped_by_another_score_in_that_scores_own_direction() -> None:
    scores = np.arange(10.0)
    mislabelled = np.asarray([0, 0, 9, 0, 8, 0, 0, 0, 0, 0.0])
    left = set(range(10)) - {2, 4}
    assert kept(scores, 8, beta=0.2, hard_by="hard", by=Column(mislabelled)) == left
    margins = Column(-mislabelled, easier=True)
    assert kept(scores, 8, beta=0.2, hard_by="hard", by=margins) == left
    assert kept(scores, 8, beta=0.2) == set(range(8))


def test_of_a_score_that_is_higher_for_easier_rows_the_lowest_are_the_hardest() -> None:
    given = Pool(np.arange(10.0), mix64(np.arange(10), "t"), 8, easier=True)
    order = STRATEGIES.get("ccs").order
    assert order is not None
    found = order(given, beta=0.2)
    assert set(found.places[:8].tolist()) == set(range(2, 10))
    assert found.dropped.tolist() == ["among_hardest"] * 2 + ["not_drawn"] * 8


@pytest.mark.parametrize("shift", [-1e3, -7.0, 0.0, 7.0])
def test_negative_scores_are_covered_as_well_as_positive_ones(shift: float) -> None:
    scores = np.linspace(0, 1, 101)
    plain, moved = (kept(values, 20, beta=0.1, bins=10) for values in (scores, scores + shift))
    assert len(moved) == 20
    per_bin = [len({r for r in moved if 9 * b <= r < 9 * b + 9}) for b in range(10)]
    assert min(per_bin) >= 1
    assert len(plain & moved) > 10  # edges move by rounding, the draw does not


def test_constant_scores_are_one_bin_and_the_draw_is_random() -> None:
    rows = kept(np.zeros(400), 100, beta=0.0)
    assert len(rows) == 100
    assert 30 < len(rows & set(range(200))) < 70


def test_every_class_has_its_own_bins_and_its_own_hardest() -> None:
    labels = np.repeat([0, 1], [60, 20])
    scores = np.concatenate([np.linspace(0, 1, 60), np.linspace(100, 200, 20)])
    table = examples_table(np.arange(80, dtype=np.uint64), labels)
    choice = Choice("ccs", 40, {"beta": 0.1, "bins": 5}, "proportional")
    decided = decide(table, scores, ["a", "b"], choice).to_pydict()
    keep = np.asarray(decided["keep"])
    assert [keep[labels == c].sum() for c in (0, 1)] == [30, 10]
    reasons = np.asarray(decided["reason"])
    assert np.flatnonzero(reasons == "among_hardest").tolist() == [*range(54, 60), 78, 79]
    for c in (0, 1):
        own = scores[labels == c][: -int((reasons[labels == c] == "among_hardest").sum())]
        sizes = np.bincount(
            np.minimum(((own - own[0]) / (own[-1] - own[0]) * 5).astype(int), 4)[
                keep[labels == c][: len(own)]
            ],
            minlength=5,
        )
        assert sizes.tolist() == reference(
            scores[labels == c], int(keep[labels == c].sum()), beta=0.1, bins=5
        )


def test_a_budget_that_the_hardest_leave_no_room_for_says_what_beta_could_be() -> None:
    with pytest.raises(UsageError, match="drops the hardest 30 of 100 rows, and 71") as caught:
        kept(np.arange(100.0), 71, beta=0.3)
    assert "0.29 at most" in (caught.value.hint or "")


@pytest.mark.parametrize("params", [{"beta": 1}, {"beta": -0.1}, {"beta": "x"}, {"beta": True}])
def test_a_beta_that_is_no_share_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="beta is"):
        kept(np.arange(10.0), 2, **params)


@pytest.mark.parametrize("bins", [0, -1, 2.5, True])
def test_bins_that_are_no_count_are_refused(bins: object) -> None:
    with pytest.raises(UsageError, match="bins is"):
        kept(np.arange(10.0), 2, bins=bins)
