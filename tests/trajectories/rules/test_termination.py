"""Why runs ended: the environment's words, and too many turns without an answer."""

from __future__ import annotations

import pytest

from dataprune.trajectories.rules.termination import RULE, cause
from tests.trajectories.rules.reading import TAGGED, findings, talk

SEEN = "u: <interpreter>1</interpreter>"


def ended(*said: str, dialect: str | None = None, max_turns: int = 10, **fields: str) -> list[str]:
    found = findings(talk(*said, **fields), dialect or TAGGED, max_turns=max_turns)
    return [f.code for f in found if f.code in RULE.codes]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("length", "F_TRUNCATED"),
        ("max_tokens", "F_TRUNCATED"),
        ("submitted (exit_cost)", "F_TRUNCATED"),
        ("exit_context", "F_TRUNCATED"),
        ("timeout", "F_TIMEOUT"),
        ("Timed Out", "F_TIMEOUT"),
        ("error", "F_ENV_ERROR"),
        ("exit_error", "F_ENV_ERROR"),
        ("stop", None),
        ("task_success", None),
        ("no_error", None),
        ("submitted", None),
        ("", None),
        (None, None),
    ],
)
def test_words_of_the_environment(word: str | None, code: str | None) -> None:
    found = ended(
        "u: q", "a: <answer>1</answer>", **({} if word is None else {"termination": word})
    )
    assert found == ([code] if code else [])


def test_a_long_word_is_read_no_further_than_words_are_long() -> None:
    assert cause("x" * 10_000_000) is None


def test_too_many_turns_count_only_where_the_last_does_not_answer() -> None:
    turns = ["a: <code>1</code>", SEEN] * 3
    assert ended("u: q", *turns, max_turns=3) == ["F_MAX_TURNS"]
    assert ended("u: q", *turns, max_turns=4) == []
    assert ended("u: q", *turns, "a: <answer>1</answer>", max_turns=4) == []


def test_out_of_steps_rejects_a_run_of_any_length_unless_it_answers() -> None:
    assert ended("u: q", "a: <code>1</code>", termination="max_steps") == ["F_MAX_TURNS"]
    assert ended("u: q", "a: <answer>1</answer>", termination="max_steps") == []


def test_a_conversation_may_be_long() -> None:
    turns = ["a: hello", "u: and"] * 40
    assert ended("u: q", *turns, dialect="tools") == []


def test_a_reason_has_the_number_and_its_limit() -> None:
    run = talk("u: q", *["a: <code>1</code>", SEEN] * 3)
    (found,) = (f for f in findings(run, max_turns=2) if f.code == "F_MAX_TURNS")
    assert (found.score, found.threshold, found.step) == (3, 2, 5)
