"""What is written and read again is the same: by content hash, and field by field where it can."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.trajectories import Message, ToolCall, Trajectory, content_sha256
from dataprune.trajectories.formats import FORMATS

_TEXTS = st.text(max_size=20)  # with lone surrogates, which JSON may hold
_MAYBE = st.none() | _TEXTS
_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_ARGUMENTS = _TEXTS | st.dictionaries(_TEXTS, st.integers() | _TEXTS | st.none()).map(json.dumps)
_CALLS = st.lists(st.builds(ToolCall, _TEXTS, _ARGUMENTS, _MAYBE), max_size=2).map(tuple)
_EXTRA = st.none() | st.just('{"agent":"main"}') | st.just('{"metrics":{"n":1}}')
_MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=_TEXTS,
    reasoning=_MAYBE,
    tool_calls=_CALLS,
    call_id=_MAYBE,
    name=_MAYBE,
    train=st.booleans(),
    extra=_EXTRA,
)
_TRAJECTORIES = st.builds(
    Trajectory,
    traj_id=_IDS,
    query_id=_IDS,
    messages=st.lists(_MESSAGES, max_size=5).map(tuple),
    tools=st.none() | st.just('[{"name":"f"}]') | st.just("not JSON"),
    prompt=_TEXTS,
    reward=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    success=st.none() | st.booleans(),
    termination=_MAYBE,
    reference=st.none() | st.text(min_size=1, max_size=5),
    answer=_MAYBE,
    category=_MAYBE,
    files=st.lists(st.text(min_size=1, max_size=5), max_size=2).map(tuple),
    meta=st.sampled_from(["{}", '{"cost":3}', '{"id":"x","reward":"high"}']),
    where=st.just("line 1 of runs.jsonl"),
)


def _again(trajectory: Trajectory, name: str) -> Trajectory:
    """Written, through JSON's text, and read."""
    plugin = FORMATS.get(name)
    assert plugin.write is not None
    row: Any = json.loads(json.dumps(plugin.write(trajectory)))
    assert plugin.evidence(row) or not trajectory.messages
    [read] = plugin.read(row, "other:1", trajectory.where)
    return read


def _fields(trajectory: Trajectory) -> dict[str, Any]:
    return {f.name: getattr(trajectory, f.name) for f in dataclasses.fields(trajectory)}


def _hash(trajectory: Trajectory) -> str:
    return content_sha256(trajectory.messages, trajectory.tools)


@given(_TRAJECTORIES)
@settings(deadline=None, max_examples=60)
def test_messages_hold_everything(trajectory: Trajectory) -> None:
    assert _again(trajectory, "messages") == trajectory


@given(_TRAJECTORIES)
@settings(deadline=None, max_examples=60)
def test_atif_holds_everything_but_the_spelling_of_json(trajectory: Trajectory) -> None:
    read = _again(trajectory, "atif")
    assert _hash(read) == _hash(trajectory)
    assert [m.train for m in read.messages] == [m.train for m in trajectory.messages]
    assert [m.extra for m in read.messages] == [m.extra for m in trajectory.messages]
    said = {"messages": trajectory.messages, "tools": trajectory.tools}
    assert {**_fields(read), **said} == _fields(trajectory)


@given(_TRAJECTORIES)
@settings(deadline=None, max_examples=60)
def test_messages_to_atif_and_back_is_the_same(trajectory: Trajectory) -> None:
    assert _hash(_again(_again(trajectory, "atif"), "messages")) == _hash(trajectory)


@given(_TRAJECTORIES)
@settings(deadline=None, max_examples=60)
def test_sharegpt_holds_the_content_or_says_what_it_cannot(trajectory: Trajectory) -> None:
    with contextlib.suppress(UsageError):
        assert _hash(_again(trajectory, "sharegpt")) == _hash(trajectory)


_LOST = {
    "thoughts": Message("assistant", "a", reasoning="r"),
    "ids of calls": Message("assistant", "", tool_calls=(ToolCall("f", "{}", "c1"),)),
    "the name": Message("tool", "a", name="f"),
    "a text beside": Message("assistant", "a", tool_calls=(ToolCall("f", "{}"),)),
    "others than the agent": Message("user", "", tool_calls=(ToolCall("f", "{}"),)),
}


@pytest.mark.parametrize("what", _LOST)
def test_sharegpt_names_what_it_cannot_hold(what: str) -> None:
    with pytest.raises(UsageError, match=what):
        _again(Trajectory("t", "q", (_LOST[what],)), "sharegpt")


@pytest.mark.parametrize("name", ["messages", "sharegpt", "atif"])
def test_rows_of_a_format_come_back(name: str, rows: dict[str, Any]) -> None:
    first = next(FORMATS.get(name).read(rows[name], "runs:1", ""))
    assert _hash(_again(first, name)) == _hash(first)


def test_a_changed_text_is_written_not_the_parts_it_came_in() -> None:
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "old"}]}]}
    [read] = FORMATS.get("messages").read(row, "runs:1", "")
    changed = dataclasses.replace(
        read, messages=(dataclasses.replace(read.messages[0], content="new"),)
    )
    assert _again(changed, "messages").messages[0].content == "new"


def test_what_atif_says_of_a_step_stands_there_again(rows: dict[str, Any]) -> None:
    plugin = FORMATS.get("atif")
    run = next(plugin.read(rows["atif"], "runs:1", ""))
    assert plugin.write is not None
    steps = plugin.write(run)["steps"]
    assert steps[1]["is_copied_context"] is True
    assert [step["step_id"] for step in steps] == [1, 2, 3]
    assert plugin.write(run)["agent"]["name"] == "a"
