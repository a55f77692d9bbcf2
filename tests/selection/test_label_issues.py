"""Likely label issues are dropped first; the rest competes as if they had never been there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import RecipeError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.core.recipe_prune import PruneRecipe
from dataprune.selection._choice import Choice, make_choice
from dataprune.selection._decide import decide
from dataprune.selection._decided import decide_from_scores
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.examples import examples_table
from dataprune.tables.flags import in_score_table, read_flags
from dataprune.tables.scores import ScoreTable
from tests.tables.flagged import put_flags

CLASSES = ["a", "b", "c"]
Mask = npt.NDArray[np.bool_]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flags")


def flagged(folder: Path, likely: Any, *, suspect: Any = None, groups: Any = None) -> pa.Table:
    """Examples in three classes, with the columns that flags have in a score table."""
    labels = np.arange(len(likely)) % 3
    labels[:3] = [0, 1, 2][: len(labels)]
    table = examples_table(np.arange(len(labels), dtype=np.uint64), labels, groups=groups)
    path = put_flags(folder / "flags.parquet", labels, np.asarray(likely), suspect=suspect)
    columns = in_score_table(read_flags(path).table)
    for field in columns.schema:
        table = table.append_column(field, columns.column(field.name))
    return table


def draw(n: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(n).integers(0, 5, n).astype(np.float64)  # many ties


def keep_of(table: pa.Table) -> Mask:
    keep: Mask = table.column("keep").to_numpy(zero_copy_only=False)
    return keep


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = table.column(name).to_numpy(zero_copy_only=False)
    return values


WORLDS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 9)), min_size=4, max_size=40
)


@settings(max_examples=80, deadline=None)
@given(
    world=WORLDS,
    balance=st.sampled_from(["none", "proportional", "equal"]),
    strategy=st.sampled_from(["hardest", "easiest", "random"]),
    share=st.floats(0.01, 1),
    limit=st.sampled_from([None, 1, 2]),
)
def test_no_likely_row_is_kept_and_budgets_are_exact(
    folder: Path,
    world: list[tuple[bool, bool, int]],
    balance: str,
    strategy: str,
    share: float,
    limit: int | None,
) -> None:
    likely, suspect, numbers = (np.asarray(part) for part in zip(*world, strict=True))
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    groups = first[inverse]
    n, scores = len(likely), draw(len(likely))
    left = np.flatnonzero(~likely)
    room = len(left)
    if limit is not None and len(left):
        room = int(np.minimum(np.unique(groups[left], return_counts=True)[1], limit).sum())
    table = flagged(folder, likely, suspect=suspect, groups=groups)
    for keep in (None, max(1, round(share * n)), share):
        choice = Choice(strategy, keep, {}, balance, max_per_group=limit, drop_likely=True)
        wanted = {type(None): room, int: keep, float: round(share * n)}[type(keep)]
        if not len(left) or wanted > room or wanted == 0:
            with pytest.raises(UsageError):
                decide(table, scores, CLASSES, choice)
            continue
        decided = decide(table, scores, CLASSES, choice)
        kept = keep_of(decided)
        assert kept.sum() == wanted
        assert not kept[likely].any()
        reasons = column(decided, "reason")
        assert ((reasons == "label_issue") == likely).all()
        assert set(reasons[kept]) <= {"kept"}
        counts = count_reasons(decided)
        assert sum(counts.values()) == n
        assert counts.get("label_issue", 0) == likely.sum()
        for count in count_by_class(decided, CLASSES).values():
            assert count["kept"] + count["dropped"] == count["source"]
        if limit is not None:
            assert np.bincount(groups[kept]).max() <= limit


@settings(max_examples=60, deadline=None)
@given(
    likely=st.lists(st.booleans(), min_size=4, max_size=40),
    balance=st.sampled_from(["none", "proportional", "equal"]),
    strategy=st.sampled_from(["hardest", "easiest", "random", "window"]),
)
def test_the_rest_is_decided_as_if_likely_rows_were_not_there(
    folder: Path, likely: list[bool], balance: str, strategy: str
) -> None:
    mask = np.asarray(likely)
    table, scores = flagged(folder, mask), draw(len(mask))
    rest = table.filter(pa.array(~mask))
    if len(rest) < 2:
        return
    params = {"offset": 1} if strategy == "window" else {}
    choice = Choice(strategy, max(1, len(rest) // 3), params, balance)
    try:
        alone = decide(rest, scores[~mask], CLASSES, choice)
    except UsageError:
        return  # a window that does not fit a small class
    decided = decide(table, scores, CLASSES, replace(choice, drop_likely=True))
    names = ["row", "keep", "reason", "rank", "rule", "value"]
    assert decided.filter(pa.array(~mask)).select(names).equals(alone.select(names))


@settings(max_examples=40, deadline=None)
@given(likely=st.lists(st.booleans(), min_size=4, max_size=30), seed=st.integers(0, 99))
def test_decisions_do_not_depend_on_the_order_of_rows(
    folder: Path, likely: list[bool], seed: int
) -> None:
    if all(likely):
        return
    table, scores = flagged(folder, likely), draw(len(likely))
    choice = Choice("hardest", None, {}, drop_likely=True)
    decided = decide(table, scores, CLASSES, choice)
    order = np.random.default_rng(seed).permutation(len(table))
    shuffled = decide(table.take(pa.array(order)), scores[order], CLASSES, choice)
    assert shuffled.sort_by("row").equals(decided)


def test_likely_rows_are_ranked_after_all_others_the_least_suspicious_first(folder: Path) -> None:
    likely = np.asarray([True, False, True, False, True, False])
    for balance in ("none", "equal"):
        choice = Choice("hardest", None, {}, balance, drop_likely=True)
        decided = decide(flagged(folder, likely), draw(6), CLASSES, choice)
        assert column(decided, "rank")[likely].tolist() == [3, 4, 5]
        assert column(decided, "rank")[~likely].max() < 3
        assert set(column(decided, "rule")[likely]) == {"drop_likely"}


def test_suspects_compete(folder: Path) -> None:
    suspect = np.asarray([True, False, False, False])
    table = flagged(folder, [False, True, False, False], suspect=suspect)
    scores = np.asarray([9.0, 8.0, 1.0, 2.0])
    decided = decide(table, scores, CLASSES, Choice("hardest", 1, {}, drop_likely=True))
    assert keep_of(decided).tolist() == [True, False, False, False]


def test_floors_count_among_the_rows_that_are_left(folder: Path) -> None:
    likely = np.asarray([True, False, False, True, False, False])  # all of class a
    scores = np.asarray([9.0, 3.0, 1.0, 8.0, 4.0, 0.0])
    choice = Choice("hardest", 2, {}, min_per_class=1, drop_likely=True)
    decided = decide(flagged(folder, likely), scores, CLASSES, choice)
    assert keep_of(decided).tolist() == [False, False, True, False, True, False]
    with pytest.raises(UsageError, match="class b has 2 rows, fewer than the 3"):
        decide(flagged(folder, likely), scores, CLASSES, replace(choice, keep=4, min_per_class=3))


@pytest.mark.parametrize("keep", [4, 0.7])
def test_a_budget_beyond_the_rows_that_are_left_tells_how_many_there_are(
    folder: Path, keep: float
) -> None:
    table = flagged(folder, [True, True, True, False, False, False])
    choice = Choice("hardest", keep, {}, drop_likely=True)
    message = "3 of 6 rows are left without the likely label issues, and 4 are to be kept"
    with pytest.raises(UsageError, match=message) as caught:
        decide(table, draw(6), CLASSES, choice)
    assert "leave --keep out" in str(caught.value.hint)


def test_a_window_cannot_keep_all_and_says_what_it_can(folder: Path) -> None:
    table = flagged(folder, [True, False, False, False, False, False])
    choice = Choice("window", None, {"offset": 2}, drop_likely=True)
    with pytest.raises(UsageError, match="skips 2 and keeps 5 does not fit 5 rows") as caught:
        decide(table, draw(6), CLASSES, choice)
    assert "keep 3 at most" in str(caught.value.hint)


# --- what is asked for

NOTHING: dict[str, Any] = dict.fromkeys(
    ("keep", "strategy", "params", "balance", "min_per_class", "seed")
)


@pytest.mark.parametrize("option", ["drop_likely", "relabel"])
@pytest.mark.parametrize(
    ("recipe", "asked", "on", "keep"),
    [
        ({"keep": 0.5}, {}, False, 0.5),
        ({"keep": 0.5}, {"on": True}, True, None),
        ({"keep": 0.5}, {"on": True, "keep": 0.8}, True, 0.8),
        ({"keep": 0.5, "on": True}, {}, True, 0.5),
        ({"keep": 0.5, "on": True}, {"on": True}, True, 0.5),
        ({"keep": 0.5, "on": True}, {"on": False}, False, 0.5),
        ({"keep": 0.5, "on": True}, {"keep": 9}, True, 9),
        ({"on": True}, {}, True, None),
        ({}, {"on": True}, True, None),
    ],
)
def test_without_a_keep_of_its_own_the_option_keeps_all_others(
    option: str, recipe: dict[str, Any], asked: dict[str, Any], *, on: bool, keep: float | None
) -> None:
    def named(values: dict[str, Any]) -> dict[str, Any]:
        return {option if k == "on" else k: v for k, v in values.items()}

    choice = make_choice(PruneRecipe(**named(recipe)), **{**NOTHING, **named(asked)})
    assert (getattr(choice, option), choice.keep) == (on, keep)


@pytest.mark.parametrize(("own", "other"), [("relabel", "drop_likely"), ("drop_likely", "relabel")])
def test_the_option_in_place_of_the_recipes_other_one_keeps_all_others(
    own: str, other: str
) -> None:
    recipe = PruneRecipe(**{"keep": 0.5, own: True})
    choice = make_choice(recipe, **NOTHING, **{own: False, other: True})
    assert choice.keep is None


def test_off_by_the_recipe_and_off_by_hand_want_a_keep() -> None:
    with pytest.raises(UsageError, match="nothing says how much to keep"):
        make_choice(PruneRecipe(drop_likely=True), **NOTHING, drop_likely=False)


def test_relabelling_what_is_dropped_is_refused() -> None:
    for recipe, asked in (
        (PruneRecipe(), {"drop_likely": True, "relabel": True}),
        (PruneRecipe(drop_likely=True), {"relabel": True}),
    ):
        with pytest.raises(UsageError, match="relabel has no effect with drop_likely"):
            make_choice(recipe, **NOTHING, **asked)
    data = {
        "name": "r",
        "source": {"uri": "digits"},
        "prune": {"drop_likely": True, "relabel": True},
    }
    with pytest.raises(RecipeError, match="prune: relabel has no effect with drop_likely"):
        parse_recipe(data, where="r.yaml")


# --- what is said

RECIPE: dict[str, Any] = {
    "name": "r",
    "source": {"uri": "digits"},
    "scores": {"names": ["el2n"]},
    "prune": {"strategy": "easiest"},
}


def said(table: pa.Table, choice: Choice, by: str | None = None, **about: Any) -> list[str]:
    scores = pa.array(draw(len(table)).astype(np.float32))
    meta = {
        "scores": {"el2n": {}, "label_issue": {"higher_is": "noisier"}},
        "source": {"class_names": CLASSES},
        "status": "complete",
        "flags": {"label_issue": about},
    }
    scored = ScoreTable(table.append_column("el2n", scores), meta)
    return decide_from_scores(scored, parse_recipe(RECIPE, where="r"), choice, by).warnings


def test_weak_and_unaudited_flags_and_lost_classes_are_warned_of(folder: Path) -> None:
    likely = np.asarray([True, True, False] + [True, False, False] + [False] * 6)
    drop = Choice("easiest", None, {}, drop_likely=True)
    warned = said(flagged(folder, likely), drop, warnings=["votes agree on 60 % only", "x"])
    assert warned[0].startswith("more than 30% of the rows of 1 class is dropped")
    assert "a 50%" in warned[0]
    assert warned[1:3] == ["the flags are weak: votes agree on 60 % only", "the flags are weak: x"]
    assert warned[3] == (
        "these flags were not audited: `dataprune audit FLAGS.parquet --out DIR` draws a sample "
        "for a person to check"
    )
    assert len(warned) == 4
    relabel = replace(drop, drop_likely=False, relabel=True)
    assert said(flagged(folder, likely), relabel) == [warned[3]]


def test_audited_flags_are_not_warned_of(folder: Path) -> None:
    drop = Choice("easiest", None, {}, drop_likely=True)
    table = flagged(folder, [True] + [False] * 11)
    assert said(table, drop, audit={"judged": 50}) == []
    assert said(table, drop, audit=None) != []


def test_flags_without_a_likely_row_are_no_error_and_told(folder: Path) -> None:
    table = flagged(folder, [False] * 6)
    warned = said(table, Choice("easiest", None, {}, drop_likely=True), audit={})
    assert warned == ["no row is flagged likely, so the flags drop nothing"]
    keep_ok = Choice("easiest", 3, {}, relabel=True)
    table = flagged(folder, [False, True, False, False, False, False])
    likely_kept = [said(table, replace(keep_ok, keep=keep), audit={}) for keep in (1, 6)]
    assert ["change no label" in " ".join(warned) for warned in likely_kept] == [True, False]


def test_rows_that_did_not_compete_are_not_said_to_tie(folder: Path) -> None:
    table = flagged(folder, [True, False, False] * 4)  # scores tie across what is dropped
    assert not any("tie" in w for w in said(table, Choice("easiest", 8, {}, drop_likely=True)))


def test_a_class_that_is_dropped_whole_is_told(folder: Path) -> None:
    likely = np.asarray([True, False, False] * 3)
    warned = said(flagged(folder, likely), Choice("easiest", None, {}, drop_likely=True), audit={})
    assert "no row is kept of 1 classes: a" in warned[0]
    assert "a 100%" in warned[1]


def test_choosing_without_a_budget_is_told(folder: Path) -> None:
    table = flagged(folder, [True] + [False] * 11)
    choice = Choice("hardest", None, {}, "equal", drop_likely=True)
    (warned,) = said(table, choice, by="label_issue", audit={})
    assert "--by, --strategy, --class-balance chooses nothing" in warned


def test_flags_that_are_not_there_are_named_with_both_ways_to_have_them() -> None:
    table = examples_table(np.arange(4, dtype=np.uint64), np.arange(4) % 3)
    meta = {"scores": {"el2n": {}}, "source": {"class_names": CLASSES}, "status": "complete"}
    scored = ScoreTable(table.append_column("el2n", pa.array(np.ones(4, np.float32))), meta)
    recipe = parse_recipe(RECIPE, where="r")
    for option in ("drop_likely", "relabel"):
        choice = Choice("hardest", None, {}, **{option: True})
        with pytest.raises(UsageError, match=f"{option} wants flags of labels") as caught:
            decide_from_scores(scored, recipe, choice, None)
        assert "--with FLAGS.parquet" in str(caught.value.hint)
        assert "--flag label_issue" in str(caught.value.hint)


def test_the_least_suspicious_rows_can_be_kept(folder: Path) -> None:
    likely = np.asarray([False, True, False, True, False, False])
    table = flagged(folder, likely)
    decided = decide(table, column(table, "label_issue"), CLASSES, Choice("easiest", 4, {}))
    assert keep_of(decided).tolist() == (~likely).tolist()
