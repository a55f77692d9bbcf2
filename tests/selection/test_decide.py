"""Decisions: choices and their defaults, pools and quotas together, and what is warned of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import UsageError
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection._choice import Choice, make_choice
from dataprune.selection._decide import decide
from dataprune.selection._warnings import warnings_for
from dataprune.tables import decisions
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.examples import examples_table

CLASSES = ["cat", "dog", "owl"]
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def examples(labels: Any = LABELS) -> pa.Table:
    hashes = np.arange(len(labels), dtype=np.uint64) + np.uint64(100)
    return examples_table(hashes, np.asarray(labels, dtype=np.int64))


def scores(num_rows: int = 100) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(0).permutation(num_rows).astype(np.float64)


def decided(choice: Choice, labels: Any = LABELS, values: Any = None) -> pa.Table:
    found = scores(len(labels)) if values is None else np.asarray(values, dtype=np.float64)
    return decide(examples(labels), found, CLASSES, choice)


def kept_per_class(table: pa.Table) -> list[int]:
    return [count["kept"] for count in count_by_class(table, CLASSES).values()]


@pytest.mark.parametrize(
    ("keep", "balance", "kept"),
    [
        (0.5, "proportional", [30, 15, 5]),
        (0.33, "proportional", [20, 10, 3]),
        (0.5, "equal", [20, 20, 10]),
        (50, "equal", [20, 20, 10]),
        (1.0, "equal", [60, 30, 10]),
        (1, "proportional", [1, 0, 0]),
    ],
)
def test_balanced_decisions_keep_their_quota_of_each_class(
    keep: float, balance: str, kept: list[int]
) -> None:
    assert kept_per_class(decided(Choice("hardest", keep, {}, balance))) == kept


def test_within_each_class_the_hardest_rows_are_kept() -> None:
    table = decided(Choice("hardest", 0.5, {}, "proportional"))
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    for label, quota in enumerate([30, 15, 5]):
        of_class = scores()[label == LABELS]
        kept = scores()[(label == LABELS) & mask]
        assert sorted(kept) == sorted(of_class)[-quota:]


def test_matched_quotas_are_kept_as_they_are_given() -> None:
    choice = Choice("random", 23, {}, "matched", quotas=(3, 20, 0))
    assert kept_per_class(decided(choice)) == [3, 20, 0]


def test_a_class_without_rows_gets_no_quota_and_breaks_nothing() -> None:
    labels = [0] * 6 + [2] * 6
    table = decided(Choice("easiest", 4, {}, "equal", min_per_class=2), labels)
    assert kept_per_class(table) == [2, 0, 2]


def test_in_one_pool_a_floor_replaces_the_last_of_the_rest_and_says_so() -> None:
    values = np.concatenate([np.arange(60) + 200, np.arange(30) + 100, np.arange(10)])
    table = decided(Choice("hardest", 40, {}, min_per_class=4), values=values)
    assert kept_per_class(table) == [32, 4, 4]
    assert count_reasons(table) == {
        "displaced_by_floor": 8,
        "kept": 32,
        "kept_for_floor": 8,
        "too_easy": 52,
    }
    for_floor = [r["value"] for r in table.to_pylist() if r["reason"] == "kept_for_floor"]
    assert sorted(for_floor) == [6, 7, 8, 9, 126, 127, 128, 129]
    kept = sorted(r["value"] for r in table.to_pylist() if r["reason"] == "kept")
    assert kept == [float(v) for v in range(228, 260)]


def test_a_floor_that_the_order_meets_anyway_changes_nothing_but_can_be_asked_for() -> None:
    plain = decided(Choice("random", 50, {}))
    assert min(kept_per_class(plain)) >= 1
    floored = decided(Choice("random", 50, {}, min_per_class=1))
    assert floored.to_pylist() == plain.to_pylist()


@pytest.mark.parametrize("balance", ["none", "proportional", "equal"])
def test_floors_that_cannot_be_held_are_refused_in_every_balance(balance: str) -> None:
    with pytest.raises(UsageError, match="class owl has 10 rows, fewer than the 11"):
        decided(Choice("hardest", 90, {}, balance, min_per_class=11))
    with pytest.raises(UsageError, match="more than the 20 to keep"):
        decided(Choice("hardest", 20, {}, balance, min_per_class=7))


def test_decisions_have_a_row_for_every_example_in_the_contracts_columns() -> None:
    table = decided(Choice("random", 0.3, {}))
    assert table.schema.equals(decisions.SCHEMA)
    assert table.select(examples().schema.names).equals(examples())
    counts = count_by_class(table, CLASSES)
    assert all(c["kept"] + c["dropped"] == c["source"] for c in counts.values())
    assert sum(count_reasons(table).values()) == 100


def test_score_columns_beside_the_examples_do_not_leak_into_decisions() -> None:
    wide = examples().append_column("el2n", pa.array(scores()))
    choice = Choice("hardest", 10, {})
    assert decide(wide, scores(), CLASSES, choice).equals(decided(choice))


@pytest.mark.parametrize(
    ("strategy", "params", "message", "hint"),
    [
        ("hardset", {}, "no strategy named hardset", "did you mean hardest"),
        ("hardest", {"offset": 3}, "strategy hardest has no parameter offset", "no parameters"),
        ("window", {"ofset": 3}, "strategy window has no parameter ofset", "did you mean offset"),
        (
            "window",
            {},
            "strategy window needs the parameter offset or skip_hardest",
            "offset=VALUE",
        ),
        (
            "window",
            {"offset": 1, "skip_hardest": 1},
            "strategy window takes one of offset or skip_hardest, not both",
            "offset=VALUE",
        ),
    ],
)
def test_a_mistyped_strategy_or_parameter_is_named_with_the_nearest(
    strategy: str, params: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        decided(Choice(strategy, 0.5, params))
    assert hint in (caught.value.hint or "")


DEFAULTS = PruneRecipe(
    keep=0.4,
    strategy="window",
    params={"offset": 5},
    class_balance="equal",
    min_per_class=2,
    seed=3,
)
NOTHING: dict[str, Any] = dict.fromkeys(
    ("keep", "strategy", "params", "balance", "min_per_class", "seed")
)


def test_what_is_not_asked_for_comes_from_the_recipe() -> None:
    choice = make_choice(DEFAULTS, **NOTHING)
    assert choice == Choice("window", 0.4, {"offset": 5}, "equal", 2, 3)


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        ({"keep": 25}, {"keep": 25}),
        ({"balance": "none"}, {"balance": "none"}),
        ({"min_per_class": 0}, {"min_per_class": 0}),
        ({"seed": 0}, {"seed": 0}),
        ({"params": {"offset": 0.1}}, {"params": {"offset": 0.1}}),
        ({"strategy": "window"}, {}),
        ({"strategy": "hardest"}, {"strategy": "hardest", "params": {}}),
    ],
)
def test_what_is_asked_for_overrides_the_recipe(
    asked: dict[str, Any], changed: dict[str, Any]
) -> None:
    expected = replace(make_choice(DEFAULTS, **NOTHING), **changed)
    assert make_choice(DEFAULTS, **{**NOTHING, **asked}) == expected


def test_a_choice_without_any_budget_is_refused_with_examples() -> None:
    with pytest.raises(UsageError, match="how much to keep") as caught:
        make_choice(PruneRecipe(), **NOTHING)
    assert "--keep 0.5" in (caught.value.hint or "")


def test_a_keep_of_zero_is_not_taken_for_no_keep() -> None:
    choice = make_choice(DEFAULTS, **{**NOTHING, "keep": 0})
    with pytest.raises(UsageError, match="keep is 0"):
        decided(replace(choice, strategy="hardest", params={}))


def test_keeping_the_hardest_below_40_percent_is_warned_of() -> None:
    def warned(choice: Choice) -> list[str]:
        return warnings_for(decided(choice), choice, CLASSES)

    (warning,) = warned(Choice("hardest", 0.39, {}, "proportional"))
    assert "hardest keeps 39%" in warning
    assert "--control" in warning
    assert warned(Choice("hardest", 0.4, {}, "proportional")) == []
    assert warned(Choice("easiest", 0.2, {}, "proportional")) == []


def test_where_low_scores_are_hard_the_easiest_by_them_are_warned_of() -> None:
    for strategy, easier, warned in (
        ("easiest", True, True),
        ("hardest", True, False),
        ("easiest", False, False),
    ):
        choice = Choice(strategy, 0.2, {}, "proportional")
        said = warnings_for(decided(choice), choice, CLASSES, easier=easier)
        assert any(f"{strategy} keeps 20%" in warning for warning in said) == warned


def test_a_class_that_keeps_far_less_than_its_share_is_warned_of() -> None:
    values = np.concatenate([np.arange(60) + 100, [1000.0] * 2, np.arange(28), np.arange(10) + 900])
    choice = Choice("hardest", 0.5, {})
    (warning,) = warnings_for(decided(choice, values=values), choice, CLASSES)
    assert "1 class keeps less than a fifth of the share" in warning
    assert "dog 2 of 30" in warning
    balanced = Choice("hardest", 0.5, {}, "proportional")
    assert warnings_for(decided(balanced, values=values), balanced, CLASSES) == []


def test_classes_of_which_nothing_is_kept_are_warned_of_by_name() -> None:
    values = np.concatenate([np.arange(60) + 200, np.arange(30), np.arange(10)])
    choice = Choice("hardest", 0.5, {})
    (warning,) = warnings_for(decided(choice, values=values), choice, CLASSES)
    assert "no row is kept of 2 classes: dog, owl" in warning
    assert "--min-per-class" in warning


def test_a_class_that_had_no_rows_is_not_said_to_have_lost_them() -> None:
    choice = Choice("random", 10, {})
    assert warnings_for(decided(choice, [0] * 6 + [2] * 6), choice, CLASSES) == []


def test_many_vanished_classes_are_counted_and_the_first_five_named() -> None:
    names = [f"c{i}" for i in range(8)]
    table = decide(examples(range(8)), np.arange(8.0), names, Choice("easiest", 1, {}))
    (warning,) = warnings_for(table, Choice("easiest", 1, {}), names)
    assert "of 7 classes: c1, c2, c3, c4, c5, ...;" in warning
