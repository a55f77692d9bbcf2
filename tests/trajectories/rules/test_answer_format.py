"""Stage 2: one answer, whole marks, an observation for each action, nothing outside of marks."""

from __future__ import annotations

import pytest

from dataprune.trajectories.rules.answer_format import RULE
from tests.trajectories.rules.reading import codes, findings, pointed, talk

SEEN = "u: <interpreter>1</interpreter>"


def formatted(*said: str, dialect: str | None = None, **fields: str) -> list[tuple[str, str]]:
    run = talk(*said, **fields)
    found = findings(run, dialect) if dialect else findings(run)
    return [(f.code, pointed(run, f)) for f in found if f.code in RULE.codes]


def test_a_strict_run_has_no_reason() -> None:
    run = talk(
        "s: be good",
        "u: count",
        "a: <think>run it</think>\n<code>\nprint(1)\n</code>",
        SEEN,
        "a: <think>so</think>\n<answer>1</answer>",
    )
    assert codes(run) == []


def test_a_run_without_a_complete_answer() -> None:
    assert formatted("u: q", "a: <code>1</code>", SEEN, "a: <answer>1") == [
        ("F_NO_ANSWER", "<answer>1"),
        ("F_TAG_UNBALANCED", "<answer>"),
    ]
    assert formatted("u: q", "a: <think><answer>1</answer></think>")[0][0] == "F_NO_ANSWER"


def test_agents_that_talk_and_runs_that_end_anywhere_need_no_answer() -> None:
    assert codes(talk("u: q", "a: so it is"), "tools") == []


def test_an_answer_kept_apart_counts() -> None:
    assert formatted("u: q", "a: <code>1</code>", SEEN, "a: <code>2</code>", answer="7") == []


def test_two_answers_in_one_turn_are_one_too_many() -> None:
    found = formatted("u: q", "a: <answer>1</answer><answer>2</answer>")
    assert found == [("F_MULTI_ANSWER", "<answer>2</answer>")]


def test_another_answer_after_a_reply_is_no_second_one() -> None:
    assert formatted("u: q", "a: <answer>1</answer>", "u: wrong", "a: <answer>2</answer>") == []
    assert formatted("u: q", "a: <answer>1</answer>", "a: <answer>2</answer>") == [
        ("F_MULTI_ANSWER", "<answer>2</answer>")
    ]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("<answer>1</answer><think>more", "<think>"),
        ("oh</think><answer>1</answer>", "</think>"),
        ("<answer>1</answer></answer>", "</answer>"),
        ("<code>x</code></code> <answer>1</answer>", "</code>"),
    ],
)
def test_marks_that_open_or_close_alone_are_pointed_at(text: str, mark: str) -> None:
    found = formatted("u: q", f"a: {text}")
    assert ("F_TAG_UNBALANCED", mark) in found


def test_marks_inside_code_and_thoughts_are_text() -> None:
    text = "a: <think>use <answer></think><code>print('</think><answer>')</code>"
    assert formatted("u: q", text, SEEN, "a: <answer>1</answer>") == []


def test_an_action_needs_an_observation_and_the_other_way_round() -> None:
    two = formatted("u: q", "a: <code>1</code><code>2</code>", SEEN, "a: <answer>1</answer>")
    assert ("F_CODE_OBS_MISMATCH", "<code>2</code>") in two
    none = formatted("u: q", "a: <code>1</code>", "u: go on", "a: <answer>1</answer>")
    assert none == [("F_CODE_OBS_MISMATCH", "<code>1</code>")]
    alone = formatted("u: q", "a: <think>hm</think>", SEEN, "a: <answer>1</answer>")
    assert alone == [("F_CODE_OBS_MISMATCH", SEEN[3:])]


def test_several_observations_in_one_message_are_counted() -> None:
    both = "u: <interpreter>1</interpreter><interpreter>2</interpreter>"
    two = "a: <code>1</code><code>2</code>"
    assert formatted("u: q", two, both, "a: <answer>1</answer>") == []


def test_nags_and_replies_to_an_answer_are_no_observations() -> None:
    nag = "u: Your previous action is invalid. Again."
    assert formatted("u: q", "a: <code>1</code>", nag, "a: <answer>1</answer>") == []
    wrong = "u: Your answer is wrong."
    run = ("u: q", "a: <code>1</code><answer>1</answer>", wrong, "a: <answer>2</answer>")
    assert formatted(*run) == []


def test_text_outside_of_marks_is_noted_and_rejects_where_asked() -> None:
    run = talk("u: q", "a: <think>a</think> so: <answer>1</answer>. ")
    found = [f for f in findings(run) if f.code == "F_TEXT_OUTSIDE_TAGS"]
    assert [(pointed(run, f), f.severity) for f in found] == [("so:", "flag")]
    strict = findings(run, reject=("F_TEXT_OUTSIDE_TAGS",))
    assert [f.severity for f in strict if f.code == "F_TEXT_OUTSIDE_TAGS"] == ["reject"]


def test_thoughts_of_mint_may_go_on_around_actions() -> None:
    text = "a: Assistant:\n<thought>first\n<execute>1</execute>\nthen</thought>\n"
    assert formatted("u: q", text + "<solution>1</solution>", dialect="mint") == []
    assert formatted("u: q", text + "And: <solution>1</solution>", dialect="mint") == [
        ("F_TEXT_OUTSIDE_TAGS", "And:")
    ]
