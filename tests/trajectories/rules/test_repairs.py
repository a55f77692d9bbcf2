"""Stage 1: repairs that a recipe names, told with hashes; made twice they change nothing more."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from dataprune.core.recipe_curate import RulesRecipe
from dataprune.trajectories import Message, Trajectory
from dataprune.trajectories.dialects import DIALECTS, Dialect
from dataprune.trajectories.rules.repairs import RULE, Repair, repair
from tests.trajectories.rules.reading import TAGGED, codes, talk

TRIM, DROP = "P_TRIM_AFTER_ACTION", "P_DROP_TRAILING_NONASSISTANT"
NAG, THINK = "P_STRIP_NAG", "P_ORPHAN_THINK_CLOSE"
SEEN = "u: <interpreter>1</interpreter>"


def repaired(
    run: Trajectory, *names: str, dialect: Dialect = TAGGED
) -> tuple[list[str], list[Repair]]:
    new, made = repair(run, dialect, RulesRecipe(repair=names))
    return [f"{m.role[0]}: {m.content}" for m in new.messages], made


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_nothing_is_repaired_unless_named() -> None:
    run = talk("u: q", "a: </think><code>1</code> so", SEEN, "a: <answer>1</answer>", "u: thanks")
    assert repair(run, TAGGED, RulesRecipe()) == (run, [])
    assert repair(run, TAGGED, RulesRecipe(repair=(NAG,))) == (run, [])


def test_what_follows_an_observed_action_is_cut() -> None:
    run = talk(
        "u: q", "a: <code>1</code>\n<interpreter>9</interpreter>", SEEN, "a: <answer>1</answer>."
    )
    assert "F_FABRICATED_OBS" in codes(run)
    texts, made = repaired(run, TRIM)
    assert texts == ["u: q", "a: <code>1</code>", SEEN, "a: <answer>1</answer>"]
    assert [(r.code, r.step) for r in made] == [(TRIM, 1), (TRIM, 3)]
    assert made[0].sha_before == sha256(run.messages[1].content)
    assert made[0].sha_after == sha256("<code>1</code>")


def test_an_action_that_nothing_came_of_is_not_cut_off() -> None:
    run = talk("u: q", "a: <code>1</code> so <answer>1</answer>")
    assert repaired(run, TRIM)[1] == []
    nagged = talk("u: q", "a: <code>1</code> so", "u: Your previous action is invalid.", "a: x")
    assert repaired(nagged, TRIM)[1] == []


def test_space_behind_an_action_is_no_repair() -> None:
    assert repaired(talk("u: q", "a: <code>1</code>\n", SEEN, "a: ok"), TRIM)[1] == []


def test_messages_behind_the_last_turn_are_dropped() -> None:
    run = talk("u: q", "a: <answer>1</answer>", "u: thanks", "u: bye")
    texts, made = repaired(run, DROP)
    assert texts == ["u: q", "a: <answer>1</answer>"]
    assert [(r.step, r.sha_after) for r in made] == [(2, ""), (3, "")]
    assert repaired(run, DROP, dialect=DIALECTS.get("tools"))[1] == []
    assert repaired(talk("u: q"), DROP)[1] == []


def test_a_void_turn_goes_with_its_nag() -> None:
    nag = "u: Your previous action is invalid. Try again."
    run = talk("u: q", "a: hm", nag, "a: <code>1</code>", SEEN, "a: <answer>1</answer>")
    texts, made = repaired(run, NAG)
    assert texts == ["u: q", "a: <code>1</code>", SEEN, "a: <answer>1</answer>"]
    assert [r.step for r in made] == [1, 2]
    acted = talk("u: q", "a: <code>1</code>", nag, "a: <answer>1</answer>")
    assert repaired(acted, NAG)[1] == []


def test_a_refused_answer_of_mint_is_no_void_turn() -> None:
    run = talk(
        "u: q",
        "a: <solution>1</solution>",
        "u: Observation:\nYour answer is wrong.",
        "a: <solution>2</solution>",
    )
    assert repaired(run, NAG, dialect=DIALECTS.get("mint"))[1] == []


def test_a_thought_that_only_closes_is_opened() -> None:
    run = talk("u: q", "a: hm</think><answer>1</answer>")
    assert "F_TAG_UNBALANCED" in codes(run)
    texts, _ = repaired(run, THINK)
    assert texts[1] == "a: <think>hm</think><answer>1</answer>"
    whole = talk("u: q", "a: <think>hm</think></think><answer>1</answer>")
    assert repaired(whole, THINK)[1] == []


BITS = (
    "<think>", "</think>", "<code>", "</code>", "<answer>", "</answer>", "x", " ", "\n",
    "<interpreter>", "</interpreter>", "Your previous action is invalid.",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(BITS), max_size=8).map("".join)
ROLES = st.sampled_from(["user", "assistant", "user", "assistant", "tool", "system"])
RUNS = st.lists(st.builds(Message, ROLES, TEXTS), max_size=8)


@given(RUNS, st.sets(st.sampled_from(sorted(RULE.codes))))
def test_repairing_twice_changes_nothing_more(messages: list[Message], names: set[str]) -> None:
    rules = RulesRecipe(repair=tuple(sorted(names)))
    once, made = repair(Trajectory("t", "q", tuple(messages)), TAGGED, rules)
    assert repair(once, TAGGED, rules) == (once, [])
    assert {r.code for r in made} <= names
    assert bool(made) == (once.messages != tuple(messages))
    assert all(r.sha_before != r.sha_after for r in made)
