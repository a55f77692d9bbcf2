"""What the agent writes in the environment's name."""

from __future__ import annotations

import pytest

from tests.trajectories.rules.reading import TAGGED, findings, pointed, talk


def made_up(text: str, dialect: str | None = None) -> list[str]:
    run = talk("u: q", f"a: {text}")
    found = findings(run, dialect or TAGGED)
    return [pointed(run, f) for f in found if f.code == "F_FABRICATED_OBS"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<execute>1</execute>\nObservation: 1\nSo", "Observation: 1"),
        ("Assistant:\n<execute>1</execute>\n\nHuman: no", "Human: no"),
        ("<solution>1</solution>Observation: 1", "Observation: 1"),
        ("<execute>1</execute>\nHuman: a\nObservation: b", "Human: a"),
    ],
)
def test_mint_makes_up_what_follows_an_action(text: str, line: str) -> None:
    assert made_up(text, "mint") == [line]


@pytest.mark.parametrize(
    "text",
    [
        "Observation: before\n<execute>1</execute>",
        "<thought>Observation: 1</thought>",
        "<execute>\nObservation: in code\n</execute>",
        "<execute>1</execute>\n an Observation: amid a line",
        "<execute>1\nObservation: never closed",
    ],
)
def test_in_mint_it_is_nothing_elsewhere(text: str) -> None:
    assert made_up(text, "mint") == []


def test_other_dialects_have_it_anywhere_but_in_thoughts_and_actions() -> None:
    assert made_up("<interpreter>7</interpreter>") == ["<interpreter>7</interpreter>"]
    assert made_up("<think>a</think>\n<interpreter>7") == ["<interpreter>7"]
    assert made_up("<think>a\n<interpreter>7</think>") == []
    assert made_up("<code>x = '''\n<interpreter>'''</code>") == []
    assert made_up("<think>a\n<interpreter>never closed") == ["<interpreter>never closed"]
    assert made_up("<think>\nUser:</think>\nUser: real") == ["User: real"]


def test_one_reason_for_a_turn() -> None:
    assert len(made_up("<code>1</code>" + "\n<interpreter>1</interpreter>" * 50)) == 1
