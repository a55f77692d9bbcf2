"""Stage 5: runs that teach nothing, by narrow signs."""

from __future__ import annotations

import pytest

from dataprune.trajectories.rules._numbers import is_grounded, numbers
from dataprune.trajectories.rules.substance import RULE
from tests.trajectories.rules.reading import TAGGED, calls, findings, pointed, reply, talk

SEEN = "u: <interpreter>12</interpreter>"
DO = "a: <code>f()</code>"


def substance(*said: object, dialect: object = TAGGED, **fields: object) -> dict[str, str]:
    run = talk("u: q", *said, **fields)  # type: ignore[arg-type]
    found = findings(run, dialect)  # type: ignore[arg-type]
    return {
        f.code: "" if f.start is None else pointed(run, f) for f in found if f.code in RULE.codes
    }


def answered(text: str) -> set[str]:
    return set(substance(DO, SEEN, f"a: <answer>{text}</answer>"))


@pytest.mark.parametrize(
    "text",
    [
        "[insert value]",
        "The mean is [Your Answer Here].",
        "<your answer>",
        "x.xx",
        "It is X.XX%",
        "TODO",
    ],
)
def test_blanks_that_were_left_in(text: str) -> None:
    assert answered(text) == {"X_PLACEHOLDER_ANSWER"}


@pytest.mark.parametrize(
    "text", ["def f():\n    # TODO: faster\n    return 12", "x[12]", "<yourself>", "max.xxl", "12"]
)
def test_answers_that_only_look_like_blanks(text: str) -> None:
    assert answered(text) == set()


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't assist with that request.", "I cannot help with this.",
     "As an AI language model, I don't have access to the file."],
)  # fmt: skip
def test_refusals(text: str) -> None:
    assert answered(text) == {"X_REFUSAL"}


@pytest.mark.parametrize(
    "text", ["Unknown", "I don't know.", "N/A", "Unable to determine", "We cannot determine it."]
)
def test_giving_up(text: str) -> None:
    assert answered(text) == {"X_GIVE_UP"}


@pytest.mark.parametrize(
    "text",
    ["none", "The unknown is 12", "It is not known to be 12",
     "I know 12", "cannot be determined"],
)  # fmt: skip
def test_answers_that_only_sound_like_it(text: str) -> None:
    assert answered(text) == set()


def test_what_an_agent_says_to_a_user_is_no_refusal() -> None:
    last = "a: I'm sorry, but I can't assist with that."
    assert substance(last, dialect="tools") == {}


def test_the_same_action_to_the_same_effect_three_times() -> None:
    thrice = [DO, SEEN] * 3
    assert "X_REPEAT_ACTION" in substance(*thrice, "a: <answer>12</answer>")
    assert "X_REPEAT_ACTION_2" in substance(*[DO, SEEN] * 2, "a: <answer>12</answer>")
    assert substance(DO, SEEN, "a: <code>g()</code>", SEEN, "a: <answer>12</answer>") == {}


def test_the_same_tests_with_another_outcome_are_work() -> None:
    said = [
        text
        for what in ("no", "one fails", "passed")
        for text in (DO, f"u: <interpreter>{what}</interpreter>")
    ]
    assert set(substance(*said, "a: <answer>ok</answer>")) == {"X_REPEAT_ACTION_2"}


def test_counters_in_observations_make_no_other_outcome() -> None:
    said = [text for left in "321" for text in (DO, f"u: <interpreter>{left} left</interpreter>")]
    assert "X_REPEAT_ACTION" in substance(*said, "a: <answer>ok</answer>")


def test_calls_with_the_same_arguments_are_the_same_action() -> None:
    said = [
        message
        for call_id in "123"
        for message in (calls(("look", '{"a": 1}', call_id)), reply("x", call_id))
    ]
    assert set(substance(*said, "a: ok", dialect="tools")) == {"X_REPEAT_ACTION"}


def test_failing_executions_are_noted() -> None:
    bad = "u: <interpreter>Traceback (most recent call last)\n12</interpreter>"
    once = substance("a: <code>a</code>", bad, DO, SEEN, "a: <answer>12</answer>")
    assert once == {}
    twice = substance("a: <code>a</code>", bad, DO, bad, "a: <answer>ok</answer>")
    assert set(twice) == {"X_ERRORS"}
    assert set(substance(DO, bad, "a: <answer>12</answer>")) == {"X_ERRORS"}
    assert substance(DO, bad, "a: <answer>it failed</answer>") == {}


@pytest.mark.parametrize("text", ["12", "12.05", "1,200 %", "0.12", "between 3 and 12"])
def test_a_number_within_half_a_percent_was_seen(text: str) -> None:
    assert answered(text) == set()


@pytest.mark.parametrize("text", ["13", "-12", "12.1", "1.2e3 or so"])
def test_a_number_that_was_not_seen_is_noted(text: str) -> None:
    if text == "1.2e3 or so":  # a hundred times what was seen
        assert answered(text) == set()
    else:
        assert answered(text) == {"X_UNGROUNDED"}


def test_numbers_have_signs_exponents_and_thousands() -> None:
    assert numbers("-5, 1e-5, 1,234.5; v2 3.") == [-5, 1e-5, 1234.5, 3]
    assert numbers("9" * 100) == numbers("9" * 100)
    assert is_grounded([0.0], ["0"])
    assert not is_grounded([5.0], ["-5"])


def test_an_answer_without_any_observation() -> None:
    assert set(substance("a: <answer>12</answer>")) == {"X_NO_OBSERVATION"}
    assert set(substance("a: <answer>12</answer>", files=("a.csv",))) == {"X_NEVER_EXECUTED"}
    assert substance("a: hello", files=("a.csv",), dialect="tools") == {}


def leak(prompt: str, reference: str) -> str | None:
    run = talk("u: Do this: " + prompt, DO, SEEN, "a: <answer>x</answer>",
               prompt=prompt, reference=reference)  # fmt: skip
    found = [pointed(run, f) for f in findings(run) if f.code == "X_PROMPT_LEAK"]
    return found[0] if found else None


def test_a_reference_in_the_prompt_is_a_leak() -> None:
    assert leak("Who? Answer: johann sebastian bach.", "Johann Sebastian Bach") == (
        "johann sebastian bach"
    )


@pytest.mark.parametrize(
    ("prompt", "reference"),
    [
        ("Which is 4?", "4"),
        ("Who was it?\nA) Johann Sebastian Bach\nB) Wolfgang Mozart", "Johann Sebastian Bach"),
        ("Who was born first, Johann Sebastian Bach or Haydn?", "Johann Sebastian Bach"),
        ("Who?", "Johann Sebastian Bach"),
    ],
)
def test_short_references_and_choices_are_no_leaks(prompt: str, reference: str) -> None:
    assert leak(prompt, reference) is None
