"""At most so many rows of a group: exact budgets still, and the strategy chooses which."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.selection._choice import Choice
from dataprune.selection._decide import decide
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.examples import examples_table

CLASSES = ["a", "b"]


def table(labels: np.ndarray, groups: np.ndarray | None) -> pa.Table:  # type: ignore[type-arg]
    return examples_table(np.arange(len(labels), dtype=np.uint64), labels, groups=groups)


def first_rows(groups: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Groups as tables hold them: the smallest row of each."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    limit=st.integers(1, 3),
    balance=st.sampled_from(["none", "proportional", "equal"]),
    strategy=st.sampled_from(["hardest", "easiest", "random"]),
)
def test_no_group_keeps_more_than_its_limit_and_the_budget_is_exact(
    groups: list[int], limit: int, balance: str, strategy: str
) -> None:
    numbers = first_rows(np.asarray(groups))
    labels = np.arange(len(groups)) % 2
    scores = np.random.default_rng(len(groups)).random(len(groups))
    room = int(np.minimum(np.unique(numbers, return_counts=True)[1], limit).sum())
    budget = max(1, room // 2)
    choice = Choice(strategy, budget, {}, balance, max_per_group=limit)
    try:
        decided = decide(table(labels, numbers), scores, CLASSES, choice)
    except UsageError as error:
        assert "quota" in error.message or "classes" in error.message or "class" in error.message  # noqa: PT017
        return
    kept = decided.column("keep").to_numpy(zero_copy_only=False)
    assert kept.sum() == budget
    assert np.bincount(numbers[kept]).max() <= limit


def test_the_strategy_chooses_which_row_of_a_group_stays() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.2, 0.3])
    groups = np.array([0, 0, 0, 3, 4])
    examples = table(np.array([0, 1, 0, 1, 0]), groups)
    for strategy, stays in (("hardest", 1), ("easiest", 0)):
        choice = Choice(strategy, 3, {}, max_per_group=1)
        decided = decide(examples, scores, CLASSES, choice)
        kept = np.flatnonzero(decided.column("keep").to_numpy(zero_copy_only=False)).tolist()
        assert kept == [stays, 3, 4]
        assert count_reasons(decided) == {"group_is_full": 2, "kept": 3}
        counts = count_by_class(decided, CLASSES)
        assert sum(c["kept"] + c["dropped"] for c in counts.values()) == 5


def test_a_budget_that_the_groups_cannot_fill_is_refused_with_the_numbers() -> None:
    examples = table(np.array([0, 1, 0, 1]), np.array([0, 0, 0, 3]))
    with pytest.raises(UsageError, match="2 rows are left with 1 of each group, and 3 are to be"):
        decide(examples, np.arange(4.0), CLASSES, Choice("hardest", 3, {}, max_per_group=1))


def test_a_table_without_groups_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="has no group column") as caught:
        decide(
            table(np.array([0, 1]), None),
            np.arange(2.0),
            CLASSES,
            Choice("hardest", 1, {}, max_per_group=1),
        )
    assert "score again" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.uint8),
        np.arange(4.0)[:, None],
        np.empty((4, 0)),
    ],
    ids=["multilabel", "regression", "none"],
)
def test_rows_of_no_one_class_are_one_pool_and_class_balance_is_refused(labels: np.ndarray) -> None:  # type: ignore[type-arg]
    examples = table(labels, None)
    decided = decide(examples, np.arange(4.0), CLASSES, Choice("hardest", 0.5, {}))
    assert decided.column("keep").to_pylist() == [False, False, True, True]
    assert decided.column("label").equals(examples.column("label"))
    with pytest.raises(UsageError, match="wants one class per row"):
        decide(examples, np.arange(4.0), CLASSES, Choice("hardest", 0.5, {}, "equal"))
    with pytest.raises(UsageError, match="wants one class per row"):
        decide(examples, np.arange(4.0), CLASSES, Choice("hardest", 0.5, {}, min_per_class=1))


def test_multilabel_classes_are_counted_once_for_each_row_that_has_them() -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=np.uint8)
    decided = decide(table(labels, None), np.arange(4.0), CLASSES, Choice("hardest", 2, {}))
    assert count_by_class(decided, CLASSES) == {
        "a": {"source": 2, "kept": 0, "dropped": 2},
        "b": {"source": 2, "kept": 1, "dropped": 1},
    }
    assert count_by_class(decided, []) == {"all": {"source": 4, "kept": 2, "dropped": 2}}
