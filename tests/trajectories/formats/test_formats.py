"""Each format on a tiny row: what is said and done, who wrote it, and what came of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataprune.trajectories import Trajectory
from dataprune.trajectories.formats import FORMATS


def _read(name: str, row: Any) -> list[Trajectory]:
    return list(FORMATS.get(name).read(row, "runs:1", "line 1 of runs.jsonl"))


def _told(trajectory: Trajectory) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in trajectory.messages]


@pytest.mark.parametrize("name", FORMATS.names())
def test_a_row_shows_its_format_and_no_other_that_is_as_narrow(
    name: str, rows: dict[str, Any]
) -> None:
    shown = [other for other in FORMATS.names() if FORMATS.get(other).evidence(rows[name])]
    assert name in shown
    assert set(shown) <= {name, "messages"}


def test_messages_keep_calls_ids_names_and_every_other_field(rows: dict[str, Any]) -> None:
    [run] = _read("messages", rows["messages"])
    call = run.messages[2].tool_calls[0]
    assert (call.name, call.arguments, call.call_id) == ("find", '{"city": "Oslo"}', "c1")
    assert (run.messages[3].call_id, run.messages[3].name) == ("c1", "find")
    assert [m.train for m in run.messages] == [False, False, True, False, True]
    assert (run.traj_id, run.query_id, run.reward, run.prompt) == ("runs:7-2", "7", 1.0, "Where?")
    assert json.loads(run.meta) == {"task_id": 7, "trial": 2, "cost": 3}
    assert run.tools is not None
    assert json.loads(run.tools) == rows["messages"]["tools"]


def test_messages_of_older_and_other_spellings_are_read() -> None:
    row = {
        "conversation": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, "b"]},
            {"role": "assistant", "function_call": {"name": "f", "arguments": {"b": 1, "a": 2}}},
            {"role": "function", "name": "f", "content": {"ok": True}},
            {"role": "assistant", "content": "c", "reasoning": "why", "weight": 0},
        ],
        "functions": [{"name": "f"}],
        "answer": [["42"]],
        "resolved": 1,
    }
    [run] = _read("messages", row)
    assert _told(run) == [
        ("system", "a\nb"),
        ("assistant", ""),
        ("tool", '{"ok":true}'),
        ("assistant", "c"),
    ]
    assert run.messages[1].tool_calls[0].arguments == '{"a":2,"b":1}'
    assert run.messages[3].reasoning == "why"
    assert (run.reference, run.success, run.tools) == ("42", True, '[{"name":"f"}]')
    written = FORMATS.get("messages").write(run)  # type: ignore[misc]
    assert written["messages"][0]["role"] == "developer"
    assert written["messages"][0]["content"] == row["conversation"][0]["content"]  # type: ignore[index]


def test_messages_in_a_text_are_parsed() -> None:
    row = {"messages": json.dumps([{"role": "user", "content": "q"}])}
    assert FORMATS.get("messages").evidence(row)
    assert _told(_read("messages", row)[0]) == [("user", "q")]


def test_runs_of_one_prompt_are_one_query_where_no_id_is_given() -> None:
    same = [{"role": "user", "content": "q"}]
    first, second = (
        _read("messages", {"messages": [*same, {"role": "assistant", "content": c}]}) for c in "ab"
    )
    other = _read("messages", {"messages": [{"role": "user", "content": "p"}]})
    assert first[0].query_id == second[0].query_id != other[0].query_id
    assert len(first[0].query_id) == 16


def test_a_missing_or_odd_reward_is_no_reward_and_stays_in_meta() -> None:
    row = {"messages": [{"role": "user", "content": "q"}], "reward": "high", "score": float("nan")}
    [run] = _read("messages", row)
    assert run.reward is None
    assert json.loads(run.meta)["reward"] == "high"


def test_mint_takes_task_outcome_and_counts(rows: dict[str, Any]) -> None:
    [run] = _read("mint", rows["mint"])
    assert (run.prompt, run.reference, run.success) == ("2 + 2", "4", True)
    assert run.termination == "task_success"
    assert run.query_id.startswith("reasoning-3-")
    assert json.loads(run.meta)["state"]["agent_action_count"] == {"invalid_action": 0}
    rows["mint"]["task"]["prompt"] = "another data set's third task"
    assert _read("mint", rows["mint"])[0].query_id != run.query_id


def test_sharegpt_takes_calls_and_the_system_text(rows: dict[str, Any]) -> None:
    [run] = _read("sharegpt", rows["sharegpt"])
    assert [m.role for m in run.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert run.messages[2].tool_calls[0].name == "find"
    assert json.loads(run.messages[2].tool_calls[0].arguments) == {"city": "Oslo"}
    rows["sharegpt"]["conversations"][1]["value"] = "no JSON {"
    broken = _read("sharegpt", rows["sharegpt"])[0].messages[2].tool_calls[0]
    assert (broken.name, broken.arguments) == ("", "no JSON {")


def test_llama_factory_parts_become_text_thoughts_and_calls(rows: dict[str, Any]) -> None:
    [run] = _read("llama_factory", rows["llama_factory"])
    assert run.messages[1].reasoning == "Look it up."
    assert run.messages[1].tool_calls[0].name == "find"
    assert [m.train for m in run.messages] == [False, False, False, True]


def test_atif_steps_become_messages_and_their_results(rows: dict[str, Any]) -> None:
    run, inner = _read("atif", rows["atif"])
    assert _told(run) == [
        ("user", "Where?"),
        ("assistant", "Earlier."),
        ("assistant", "I look."),
        ("tool", "north"),
    ]
    assert [m.train for m in run.messages] == [False, False, True, False]
    assert run.messages[2].tool_calls[0].arguments == '{"city":"Oslo"}'
    assert "subagent_trajectory_ref" in (run.messages[3].extra or "")
    assert (run.traj_id, run.tools) == ("t1", '[{"name":"find"}]')
    assert (inner.traj_id, _told(inner)) == ("runs:1/1", [("user", "Look.")])


def test_swe_agent_reads_the_history_and_keeps_the_outcome(rows: dict[str, Any]) -> None:
    [run] = _read("swe_agent", rows["swe_agent"])
    assert run.messages[4].call_id == "c1"
    assert (run.termination, run.answer, run.prompt) == ("submitted", "diff", "Mend it.")
    assert json.loads(run.meta)["trajectory"] == [{"state": "ok"}]
    only = {"history": rows["swe_agent"]["history"]}
    assert _told(_read("swe_agent", only)[0]) == _told(run)


@pytest.mark.parametrize("key", ["query", "messages"])
def test_swe_agent_without_history_reads_the_last_steps_query(key: str) -> None:
    step = {"action": "ls", "observation": "a.py", "response": "ls!", "thought": ""}
    asked = [{"role": "user", "content": "Mend it."}]
    row = {"trajectory": [step, {**step, key: asked}]}
    assert _told(_read("swe_agent", row)[0]) == [
        ("user", "Mend it."),
        ("assistant", "ls!"),
        ("user", "a.py"),
    ]


def test_mini_swe_agent_in_both_shapes(rows: dict[str, Any]) -> None:
    listed = rows["mini_swe_agent"]
    whole = {
        "trajectory_format": "mini-swe-agent-1.1",
        "messages": listed,
        "info": {"exit_status": "Submitted", "submission": "diff"},
    }
    [first], [second] = _read("mini_swe_agent", listed), _read("mini_swe_agent", whole)
    assert _told(first) == _told(second)
    assert (second.termination, second.answer) == ("Submitted", "diff")


def test_openhands_pairs_observations_with_their_cause(rows: dict[str, Any]) -> None:
    [run] = _read("openhands", rows["openhands"])
    assert _told(run) == [
        ("system", "Be brief."),
        ("user", "Mend it."),
        ("assistant", "I edit."),
        ("tool", "done"),
        ("user", "no such command"),
        ("assistant", ""),
    ]
    call = run.messages[2].tool_calls[0]
    assert (call.name, call.arguments, call.call_id) == ("edit", '{"path": "a.py"}', "t1")
    assert run.messages[3].call_id == "t1"
    assert (run.query_id, run.answer, run.tools) == ("i-1", "Mended.", '[{"name":"edit"}]')
    assert [event["id"] for event in json.loads(run.meta)["events"]] == [2, 3]


def test_openhands_calls_of_one_response_are_one_message(rows: dict[str, Any]) -> None:
    events = rows["openhands"]["history"]
    second = json.loads(json.dumps(events[4]))
    second["id"] = 40
    second["tool_call_metadata"]["tool_call_id"] = "t2"
    calls = second["tool_call_metadata"]["model_response"]["choices"][0]["message"]["tool_calls"]
    calls.append({**calls[0], "id": "t2"})
    rows["openhands"]["history"] = [events[1], events[4], events[5], second]
    [run] = _read("openhands", rows["openhands"])
    assert [m.role for m in run.messages] == ["user", "assistant", "tool"]
    assert [call.call_id for call in run.messages[1].tool_calls] == ["t1", "t2"]


@pytest.mark.parametrize("as_pairs", [True, False])
def test_openhands_of_old_pairs_by_order(*, as_pairs: bool) -> None:
    pairs = [
        [
            {"action": "run", "thought": "look", "command": "ls"},
            {"observation": "run", "content": "a"},
        ],
        [
            {"action": "run", "thought": "", "command": "cat"},
            {"observation": "run", "content": "b"},
        ],
    ]
    history = pairs if as_pairs else [event for pair in pairs for event in pair]
    row = {"history": history, "issue": {"owner": "o", "repo": "r", "number": 5}}
    assert FORMATS.get("openhands").evidence(row)
    [run] = _read("openhands", row)
    assert _told(run) == [("assistant", "look"), ("tool", "a"), ("assistant", ""), ("tool", "b")]
    assert [m.call_id for m in run.messages if m.role == "tool"] == [
        m.tool_calls[0].call_id for m in run.messages if m.role == "assistant"
    ]
    assert run.messages[0].tool_calls[0].arguments == '{"command":"ls"}'
    assert run.query_id == "o/r#5"


def test_toolbench_follows_the_branch_that_was_tried_last(rows: dict[str, Any]) -> None:
    [run] = _read("toolbench", rows["toolbench"])
    assert _told(run) == [
        ("system", ""),
        ("user", "Where?"),
        ("assistant", ""),
        ("tool", "north"),
        ("assistant", ""),
        ("tool", "cut sh"),
    ]
    assert run.messages[2].tool_calls[0].arguments == '{"city": "Oslo"}'
    assert (run.answer, run.termination, run.prompt) == ("North.", "give_answer", "Where?")


def test_toolbench_cut_inside_the_arguments_has_no_answer(rows: dict[str, Any]) -> None:
    rows["toolbench"]["answer"]["answer_details"] = [
        {"role": "tool", "message": "{'name': 'find', 'arguments': '{\\n \"ci", "next": []}
    ]
    [run] = _read("toolbench", rows["toolbench"])
    assert len(run.messages) == 1
    assert run.messages[0].tool_calls[0].arguments == '{\n "ci'


def test_toolbench_chats_to_train_on(rows: dict[str, Any]) -> None:
    chat = rows["messages"]["messages"]
    row = {"answer_generation": {"query": "Where?", "train_messages": [chat[:2], chat]}}
    assert _told(_read("toolbench", row)[0])[-1] == ("assistant", "North.")
