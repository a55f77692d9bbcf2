"""Filters, and strategies in order: the first reason wins, and the counts reconcile."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import RecipeError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.core.recipe_prune import PruneRecipe, StepRecipe
from dataprune.selection import Column
from dataprune.selection._choice import Choice, Step, check_steps, make_choice
from dataprune.selection._decide import decide
from dataprune.selection._steps import Stage, waterfall
from dataprune.tables.decisions import count_reasons
from dataprune.tables.examples import examples_table
from tests.tables.flagged import flag_columns

CLASSES = ["a", "b", "c"]
NOTHING: dict[str, Any] = dict.fromkeys(
    ("keep", "strategy", "params", "balance", "min_per_class", "seed")
)


def table(
    n: int, *, groups: Any = None, hashes: Any = None, likely: Any = None, suspect: Any = None
) -> pa.Table:
    """Rows in three classes, with groups and flags of labels as a score table has them."""
    labels = np.arange(n) % 3
    hashes = np.arange(n) if hashes is None else np.asarray(hashes)
    groups = np.arange(n) if groups is None else np.asarray(groups)
    made = examples_table(hashes.astype(np.uint64), labels, groups=groups)
    flags = flag_columns(labels, np.zeros(n) if likely is None else likely, suspect)
    for name, column in (
        ("label_issue", "label_q"), ("is_label_issue", "is_label_issue"), ("tier", "tier")
    ):  # fmt: skip
        made = made.append_column(name, pa.array(flags[column]))
    return made


def first_rows(groups: Any) -> Any:
    """Groups as tables hold them: the smallest row of each."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def outcome(examples: pa.Table, *steps: Step, keep: Any = None, scores: Any = None) -> pa.Table:
    """Decisions of steps in order, and then hardest."""
    values = np.arange(len(examples)) if scores is None else np.asarray(scores)
    choice = Choice("hardest", keep, {}, before=steps)
    columns = {"other": Column(-values.astype(np.float64))}
    return decide(examples, values.astype(np.float64), CLASSES, choice, columns=columns)


def dropped(decisions: pa.Table) -> dict[int, str]:
    rows = decisions.to_pylist()
    return {row["row"]: row["reason"] for row in rows if not row["keep"]}


def test_duplicates_keep_the_first_row_of_each_group() -> None:
    examples = table(6, groups=[0, 1, 0, 3, 1, 0], hashes=[9, 8, 9, 7, 6, 5])
    every = outcome(examples, Step("duplicates"))
    assert dropped(every) == dict.fromkeys((2, 4, 5), "duplicate")
    exact = outcome(examples, Step("duplicates", {"of": "content"}))
    assert dropped(exact) == {2: "duplicate"}
    with pytest.raises(UsageError, match="of is 'pixels'"):
        outcome(examples, Step("duplicates", {"of": "pixels"}))
    with pytest.raises(UsageError, match="no group column"):
        outcome(examples.drop_columns(["group"]), Step("duplicates"))


def test_a_copy_stays_where_an_earlier_step_dropped_the_first_one() -> None:
    examples = table(4, groups=[0, 0, 0, 3], likely=[True, False, False, False])
    both = Step("flagged"), Step("duplicates")
    assert dropped(outcome(examples, *both)) == {0: "label_issue", 2: "duplicate"}
    others = dropped(outcome(examples, *both[::-1]))
    assert others == {0: "label_issue", 1: "duplicate", 2: "duplicate"}


def test_flagged_drops_the_likely_ones_and_the_suspects_only_if_asked() -> None:
    likely, suspect = np.arange(9) < 2, (np.arange(9) >= 2) & (np.arange(9) < 5)
    examples = table(9, likely=likely, suspect=suspect)
    assert dropped(outcome(examples, Step("flagged"))) == dict.fromkeys((0, 1), "label_issue")
    every = outcome(examples, Step("flagged", {"tier": "suspect"}))
    assert dropped(every) == dict.fromkeys(range(5), "label_issue")
    examples = examples.append_column("memorized", pa.array(np.linspace(0, 1, 9)))
    examples = examples.append_column("is_memorized", pa.array(np.arange(9) > 6))
    known = outcome(examples, Step("flagged", {"flag": "memorized"}))
    assert dropped(known) == dict.fromkeys((7, 8), "memorized")


def test_flagged_says_which_flags_there_are() -> None:
    with pytest.raises(UsageError, match="by the flag memorized, and") as caught:
        outcome(table(4), Step("flagged", {"flag": "memorized"}))
    assert caught.value.hint == "it has label_issue"
    plain = table(4).select(["row", "content_hash", "key", "label"])
    with pytest.raises(UsageError, match="no such flag") as caught:
        outcome(plain, Step("flagged"))
    assert "--with FLAGS.parquet" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="tier is 'ok'"):
        outcome(table(4), Step("flagged", {"tier": "ok"}))
    with pytest.raises(UsageError, match="tier has no effect"):
        outcome(table(4), Step("flagged", {"flag": "memorized", "tier": "suspect"}))


@settings(max_examples=60, deadline=None)
@given(
    likely=st.lists(st.booleans(), min_size=4, max_size=30).filter(lambda rows: not all(rows)),
    data=st.data(),
)
def test_a_flagged_step_decides_as_drop_likely_does(likely: list[bool], data: Any) -> None:
    examples = table(len(likely), likely=likely)
    keep = data.draw(st.one_of(st.none(), st.integers(1, likely.count(False))))
    scores = np.random.default_rng(len(likely)).integers(0, 3, len(likely)).astype(float)
    ours = outcome(examples, Step("flagged"), keep=keep, scores=scores)
    choice = Choice("hardest", keep, {}, drop_likely=True)
    theirs = decide(examples, scores, CLASSES, choice)
    assert ours.drop_columns(["rule"]).equals(theirs.drop_columns(["rule"]))
    assert set(ours.column("rule").to_pylist()) <= {"flagged", "hardest"}


def test_threshold_drops_what_is_beyond_either_limit_and_nothing_at_it() -> None:
    scores = np.asarray([0.1, 0.2, 0.3, 0.4], dtype=np.float32)  # as a table stores them
    examples = table(4)

    def left_out(**limits: Any) -> dict[int, str]:
        return dropped(outcome(examples, Step("threshold", limits), scores=scores))

    assert left_out(below=0.2) == {0: "below_threshold"}
    assert left_out(above=0.3) == {3: "above_threshold"}
    both = {0: "below_threshold", 3: "above_threshold"}
    assert left_out(below=0.2, above=0.3) == both
    assert left_out(by="other", below=-0.3) == {3: "below_threshold"}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "needs a limit"),
        ({"below": "x"}, "below is 'x'"),
        ({"above": float("nan")}, "above is nan"),
        ({"above": True}, "above is True"),
        ({"below": 2, "above": 1}, "no score is between them"),
    ],
)
def test_limits_that_say_nothing_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        outcome(table(4), Step("threshold", limits))


WORLDS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 9)), min_size=3, max_size=30
)


@settings(max_examples=80, deadline=None)
@given(world=WORLDS, order=st.permutations(["duplicates", "flagged", "threshold"]), data=st.data())
def test_steps_give_the_first_reason_an_exact_budget_and_a_waterfall_that_reconciles(
    world: list[tuple[bool, int, int]], order: list[str], data: st.DataObject
) -> None:
    likely, groups, scores = (np.asarray(column) for column in zip(*world, strict=True))
    n, groups = len(world), first_rows(groups)
    examples = table(n, groups=groups, likely=likely)
    params: dict[str, dict[str, Any]] = {"threshold": {"above": 7}}
    steps = tuple(Step(name, params.get(name, {})) for name in order)
    expected: dict[int, str] = {}
    for name in order:
        left = [row for row in range(n) if row not in expected]
        seen: set[int] = set()
        for row in left:
            if name == "flagged" and likely[row]:
                expected[row] = "label_issue"
            if name == "threshold" and scores[row] > 7:
                expected[row] = "above_threshold"
            if name == "duplicates" and groups[row] in seen:
                expected[row] = "duplicate"
            seen.add(int(groups[row]))
    num_left = n - len(expected)
    budget = data.draw(st.integers(1, n), label="budget")
    shuffle = np.asarray(data.draw(st.permutations(range(n)), label="shuffle"))
    if budget > num_left:
        with pytest.raises(UsageError):
            outcome(examples, *steps, keep=budget, scores=scores)
        return
    decided = outcome(examples, *steps, keep=budget, scores=scores)
    keep = decided.column("keep").to_numpy(zero_copy_only=False)
    assert keep.sum() == budget
    found = dropped(decided)
    assert {row: why for row, why in found.items() if why != "too_easy"} == expected
    assert sorted(decided.column("rank").to_pylist()) == list(range(n))
    assert all(rank < num_left for rank in decided.column("rank").filter(keep).to_pylist())
    stages = waterfall(decided, Choice("hardest", budget, {}, before=steps))
    assert [stage.step for stage in stages] == [*order, "hardest"]
    assert stages[0].rows_in == n
    assert stages[-1].left == budget
    assert all(s.rows_in - s.dropped == s.left for s in stages)
    assert all(a.left == b.rows_in for a, b in itertools.pairwise(stages))
    shuffled = outcome(examples.take(shuffle), *steps, keep=budget, scores=scores[shuffle])
    assert shuffled.sort_by("row").to_pylist() == decided.to_pylist()


def test_the_waterfall_counts_every_way_to_go_in_its_order() -> None:
    likely = np.arange(12) < 2
    examples = table(12, groups=first_rows(np.arange(12) // 2 * 2), likely=likely)
    steps = (Step("threshold", {"above": 10}), Step("threshold", {"by": "other", "above": -3}))
    choice = Choice("hardest", 3, {}, drop_likely=True, max_per_group=1, before=steps)
    values = np.arange(12.0)
    decided = decide(examples, values, CLASSES, choice, columns={"other": Column(-values)})
    assert waterfall(decided, choice) == [
        Stage("drop_likely", 12, 2, 10),
        Stage("threshold", 10, 1, 9),
        Stage("threshold-2", 9, 1, 8),
        Stage("max_per_group", 8, 3, 5),
        Stage("hardest", 5, 2, 3),
    ]
    assert count_reasons(decided)["group_is_full"] == 3


def test_a_budget_that_the_steps_leave_too_few_rows_for_names_them() -> None:
    examples = table(6, likely=np.arange(6) < 4)
    with pytest.raises(UsageError, match="2 of 6 rows are left without the rows that flagged"):
        outcome(examples, Step("flagged"), keep=3)
    with pytest.raises(UsageError, match="all 6 rows are rows that threshold drops"):
        outcome(examples, Step("threshold", {"above": -1}))


def chosen(defaults: PruneRecipe, **asked: Any) -> Choice:
    return make_choice(defaults, **{**NOTHING, **asked})


def test_steps_are_asked_for_in_order_and_parameters_by_the_name_of_their_step() -> None:
    choice = chosen(
        PruneRecipe(keep=0.5),
        strategy=["threshold", "flagged", "threshold", "ccs"],
        params={
            "threshold.above": 3,
            "threshold-2.below": 1,
            "beta": 0.2,
            "flagged.tier": "likely",
        },
    )
    assert choice.before == (
        Step("threshold", {"above": 3}),
        Step("flagged", {"tier": "likely"}),
        Step("threshold", {"below": 1}),
    )
    assert (choice.strategy, choice.params, choice.keep) == ("ccs", {"beta": 0.2}, 0.5)


def test_a_recipes_steps_hold_with_their_parameters_unless_others_are_named() -> None:
    steps = (StepRecipe(strategy="flagged", params={"tier": "suspect"}), StepRecipe(strategy="ccs"))
    recipe = PruneRecipe(keep=9, steps=steps)
    usual = chosen(recipe)
    assert usual.before == (Step("flagged", {"tier": "suspect"}),)
    assert (usual.strategy, usual.keep) == ("ccs", 9)
    assert chosen(recipe, strategy=["flagged", "ccs"], params={"bins": 5}).before == usual.before
    assert chosen(recipe, strategy="hardest").before == ()


def test_filters_alone_keep_all_the_others_whatever_the_recipe_keeps() -> None:
    choice = chosen(PruneRecipe(keep=0.5), strategy=["duplicates", "flagged"])
    assert choice.keep is None
    assert [step.strategy for step in choice.before] == ["duplicates", "flagged"]
    with pytest.raises(UsageError, match=r"0.5 is to be kept, and flagged chooses none"):
        chosen(PruneRecipe(), keep=0.5, strategy=["duplicates", "flagged"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategy": ["hardest", "flagged"]}, "hardest fills the budget, so nothing can come"),
        ({"strategy": ["ccs", "hardest"]}, "ccs fills the budget"),
        ({"strategy": ["duplicate", "hardest"]}, "no strategy named duplicate"),
        ({"strategy": ["duplicates", "ccs"], "params": {"duplicate.of": 1}}, "duplicate.of is of"),
        ({"strategy": ["duplicates", "ccs"], "params": {"duplicates.off": 1}}, "no parameter off"),
        ({"strategy": ["flagged", "ccs"], "relabel": True}, "relabel has no effect with flagged"),
    ],
)
def test_steps_that_cannot_be_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(PruneRecipe(keep=0.5), **asked)


def test_a_recipe_names_its_strategies_once_and_is_checked_before_anything_is_trained() -> None:
    source = {"name": "r", "source": {"uri": "x"}}
    steps = [{"strategy": "flagged"}, {"strategy": "ccs"}]
    with pytest.raises(RecipeError, match="steps and strategy say the same"):
        parse_recipe({**source, "prune": {"strategy": "hardest", "steps": steps}}, where="here")
    check_steps(parse_recipe({**source, "prune": {"steps": steps}}, where="here").prune)
    check_steps(PruneRecipe(steps=(StepRecipe(strategy="flagged"),)))
    with pytest.raises(UsageError, match="ccs fills the budget"):
        check_steps(PruneRecipe(steps=tuple(StepRecipe(strategy=s) for s in ("ccs", "random"))))
    with pytest.raises(UsageError, match="no parameter betta"):
        check_steps(PruneRecipe(steps=(StepRecipe(strategy="ccs", params={"betta": 1}),)))
