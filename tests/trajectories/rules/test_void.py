"""Void turns: neither a complete action nor an answer, of kinds, in any turn or the last."""

from __future__ import annotations

import pytest

from dataprune.core.recipe_curate import VoidRules
from tests.trajectories.rules.reading import TAGGED, calls, findings, reply, talk

ANSWER = "a: <answer>1</answer>"


def kinds(*said: str, dialect: str | None = None, termination: str | None = None) -> list[str]:
    found = findings(talk(*said, termination=termination), dialect or TAGGED)
    return [f.detail.removeprefix("kind=") for f in found if f.code == "F_VOID_TURN"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("let me see", "text_only"),
        ("<think>hm</think>", "text_only"),
        ("<think><code>1</code></think>", "text_only"),
        ("<code>print(1)", "partial_action"),
        ("<answer>42", "partial_action"),
        ("<code>def f(:</code>", "unparsable"),
        ("<code> \n</code>", "unparsable"),
    ],
)
def test_each_kind_of_void_turn(text: str, kind: str) -> None:
    assert kinds("u: q", f"a: {text}", "u: hm", ANSWER) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "<code>print(1)</code>",
        "<code>\n```python\nx = 1\n```\n</code>",
        "<code>!pip install x\nif 1:\n    %time f()\n</code>",
        "<code>%%bash\nls -l | wc\n</code>",
        "<answer>1</answer>",
        "<code>def f(:</code><answer>1</answer>",
        "<code>def f(:</code><code>f()</code>",
    ],
)
def test_a_turn_with_one_thing_that_runs_or_an_answer_is_not_void(text: str) -> None:
    assert kinds("u: q", f"a: {text}", "u: hm", ANSWER) == []


def test_a_last_turn_that_was_cut_off_is_truncated() -> None:
    assert kinds("u: q", "a: <code>pri", termination="length") == ["truncated"]
    assert kinds("u: q", "a: <code>pri", "u: hm", "a: so", termination="max_tokens") == [
        "partial_action",
        "truncated",
    ]


def test_talk_is_a_turn_where_agents_talk() -> None:
    assert kinds("u: q", "a: hello", dialect="tools") == []
    assert kinds("u: q", "a: ", dialect="tools") == ["empty"]


def test_code_that_does_not_compile_is_no_void_turn_of_mint() -> None:
    assert kinds("u: q", "a: <execute>def f(:</execute>", dialect="mint") == []


def test_calls_whose_arguments_are_no_json_are_unparsable() -> None:
    for arguments, void in (("{}", 0), ("", 0), ("{", 1)):
        run = talk("u: q", calls(("look", arguments, "1")), reply("x", "1"), "a: ok")
        found = [f for f in findings(run, "tools") if f.code == "F_VOID_TURN"]
        assert len(found) == void


def test_a_recipe_allows_some_looks_at_the_last_only_or_at_some_kinds() -> None:
    run = talk("u: q", "a: hm", "u: go", "a: <code>1", "u: go", ANSWER)

    def steps(**void: object) -> list[int | None]:
        rules = VoidRules.model_validate(void)
        return [f.step for f in findings(run, void=rules) if f.code == "F_VOID_TURN"]

    assert steps() == [1, 3]
    assert steps(max=1) == [1, 3]
    assert steps(max=2) == []
    assert steps(scope="last_only") == []
    assert steps(kinds=("partial_action",)) == [3]
