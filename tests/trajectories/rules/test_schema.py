"""Stage 0: conversations that are none, and calls and answers that do not fit."""

from __future__ import annotations

import json

import pytest

from dataprune.trajectories import Message
from dataprune.trajectories.rules.schema import duplicate_ids
from tests.trajectories.rules.reading import calls, codes, findings, pointed, reply, talk

OPENAI = json.dumps([{"type": "function", "function": {"name": "look"}}])


def test_no_assistant_message_is_empty() -> None:
    assert codes(talk("s: be good", "u: hello")) == ["S_EMPTY"]
    assert codes(talk()) == ["S_EMPTY"]


def test_two_assistant_messages_in_a_row_and_a_start_by_the_assistant() -> None:
    twice = talk("u: go", "a: one", "a: two")
    found = [f for f in findings(twice, "tools") if f.code == "S_ROLE_ORDER"]
    assert [pointed(twice, f) for f in found] == ["two"]
    assert "S_ROLE_ORDER" in codes(talk("s: be good", "a: hello", "u: hi", "a: so?"), "tools")
    assert codes(talk("s: be good", "u: hi", "a: hello", "u: and", "a: so?"), "tools") == []


def test_an_answer_to_no_earlier_call_is_an_orphan() -> None:
    asked = calls(("look", "{}", "1"))
    assert codes(talk("u: go", asked, reply("x", "1"), "a: done"), "tools") == []
    assert codes(talk("u: go", asked, reply("x", "2"), "a: done"), "tools") == ["S_ORPHAN_OBS"]
    early = talk("u: go", reply("x", "1"), asked, reply("x", "1"), "a: done")
    assert [(f.code, f.step) for f in findings(early, "tools")] == [("S_ORPHAN_OBS", 1)]


def test_formats_without_ids_need_only_some_turn_before() -> None:
    asked = calls(("look", "{}", None))
    assert codes(talk("u: go", asked, reply("x"), "a: done"), "tools") == []
    assert codes(talk("u: go", asked, reply("x", "7"), "a: done"), "tools") == []
    assert "S_ORPHAN_OBS" in codes(talk("u: go", reply("x"), asked, reply("x"), "a: ok"), "tools")


def test_a_last_action_without_observation_dangles_unless_the_environment_says_why() -> None:
    run = talk("u: go", "a: <code>1</code>")
    assert "S_DANGLING_CALL" in codes(run)
    stopped = talk("u: go", "a: <code>1</code>", termination="timeout")
    assert "S_DANGLING_CALL" not in codes(stopped)
    seen = talk("u: go", "a: <code>1</code>", "u: <interpreter>1</interpreter>")
    assert "S_DANGLING_CALL" not in codes(seen)
    assert codes(talk("u: go", calls(("look", "{}", "1"))), "tools") == []


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [("{}", ""), ("", ""), ('{"a": [1]}', ""), ("{'a': 1}", "not JSON"), ("{", "not JSON"),
     ("[" * 200_000, "nested too deeply")],
)  # fmt: skip
def test_arguments_must_be_json(arguments: str, wrong: str) -> None:
    run = talk("u: go", calls(("look", arguments, "1")), reply("x", "1"), "a: done")
    found = [f for f in findings(run, "tools") if f.code == "S_ARGS_JSON"]
    assert [f.detail for f in found] == ([f"arguments of call 0: {wrong}"] if wrong else [])
    assert all((f.start, f.end) == (0, len(arguments)) for f in found)


@pytest.mark.parametrize(
    "tools",
    [
        OPENAI,
        json.dumps(OPENAI),
        json.dumps({"name": "look", "parameters": {}}),
        json.dumps({"tools": [{"name_for_model": "look"}]}),
        json.dumps(["look", "find"]),
        json.dumps({"look": {"description": "by name"}}),
    ],
)
def test_tools_of_all_shapes_are_known_by_name(tools: str) -> None:
    def run(name: str) -> list[str]:
        asked = calls((name, "{}", "1"))
        return codes(talk("u: go", asked, reply("x", "1"), "a: ok", tools=tools), "tools")

    assert run("look") == []
    assert run("lok") == ["S_UNKNOWN_TOOL"]


@pytest.mark.parametrize("tools", ["not json", "[]", "7", json.dumps([{"odd": 1}])])
def test_tools_that_cannot_be_read_judge_nothing(tools: str) -> None:
    asked = calls(("look", "{}", "1"))
    assert codes(talk("u: go", asked, reply("x", "1"), "a: ok", tools=tools), "tools") == []


def test_tools_named_in_tags_are_checked_too() -> None:
    tools = json.dumps([{"name_for_model": "search"}])

    def run(name: str) -> list[str]:
        text = f'a: <tool_call>{{"name": "{name}", "arguments": {{}}}}</tool_call>'
        seen = "u: <tool_response>x</tool_response>"
        return codes(talk("u: q", text, seen, "a: <answer>1</answer>", tools=tools), "webdancer")

    assert "S_UNKNOWN_TOOL" not in run("search")
    assert "S_UNKNOWN_TOOL" in run("visit")


def test_an_empty_message_is_pointed_at_without_characters() -> None:
    run = talk("u: go", "a: one", Message("assistant", ""))
    found = [f for f in findings(run, "tools") if f.code == "S_ROLE_ORDER"]
    assert [(f.step, f.start, f.end) for f in found] == [(2, None, None)]


def test_duplicate_ids_are_the_later_positions() -> None:
    assert duplicate_ids(["a", "b", "a", "c", "b", "a"]) == [2, 4, 5]
    assert duplicate_ids([]) == []
