"""OpenHands: a list of events, alone or as the `history` of a run.

An action of the agent becomes its message with a call, an observation the tool's answer; they are
paired by `cause`, in older files by order. Where a model's response is kept, its own text, name,
arguments and id of the call are taken; where it is not, the action's name, its arguments, and an id
made of its place. Recalls and changes of state are no talk; they stay in `meta` under `events`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, ToolCall, Trajectory
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    as_text,
    dump,
    dump_text,
    listing,
    mapping,
    query_of,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import arguments_text

_NO_TALK = frozenset({"recall", "change_agent_state", "agent_state_changed", "null", "start"})
# What an older action has beside its arguments.
_NO_ARGUMENTS = frozenset(
    {"action", "thought", "id", "timestamp", "source", "message", "action_risk", "is_confirmed"}
)


def _evidence(row: Any) -> str | None:
    events = row.get("history") if isinstance(row, dict) else row
    at = "history" if isinstance(row, dict) else "it"
    if isinstance(events, list) and events and all(_is_pair(event) for event in events):
        return f"{at} is a list of pairs of action and observation"
    if isinstance(events, list) and events and all(_is_event(event) for event in events):
        return f"{at} is a list of events with action or observation"
    return None


def _is_event(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and "role" not in event
        and any(isinstance(event.get(key), str) for key in ("action", "observation"))
        and bool(event.keys() & {"source", "args", "content", "thought", "extras", "outputs"})
    )


def _is_pair(event: Any) -> bool:
    return isinstance(event, list) and len(event) == 2 and all(_is_event(one) for one in event)


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    fields = row if isinstance(row, dict) else {}
    listed = listing(fields.get("history") if isinstance(row, dict) else row, "history")
    events: list[Any] = []
    for event in listed:
        events.extend(event if isinstance(event, list) else [event])
    talk = _Talk()
    for at, event in enumerate(events):
        talk.add(mapping(event, f"event {at}"), at)
    made = trajectory_of(fields, talk.messages, {"history"}, name, where, tools=talk.tools)
    left = {**fields, **({"events": talk.left} if talk.left else {})}
    left.pop("history", None)
    yield dataclasses.replace(
        made,
        query_id=_query_of(fields) or made.query_id,
        termination=as_text(fields.get("error")) or talk.ended,
        answer=talk.answer,
        meta=dump(left),
    )


def _query_of(fields: dict[str, Any]) -> str | None:
    """The issue that a resolver was asked to fix."""
    issue = fields.get("issue")
    if "instance_id" in fields or not isinstance(issue, dict):
        return None
    keys = [issue.get(key) for key in ("owner", "repo", "number")]
    return query_of(dump(keys)) if None in keys else "{}/{}#{}".format(*keys)


class _Talk:
    """Messages out of events, in their order."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.tools: str | None = None
        self.answer: str | None = None
        self.ended: str | None = None
        self.left: list[dict[str, Any]] = []
        self._calls: dict[Any, ToolCall] = {}  # by the id of the action
        self._last: ToolCall | None = None
        self._skipped: set[Any] = set()
        self._responses: dict[str, int] = {}  # {id of a model's response: its message's place}

    def add(self, event: dict[str, Any], at: int) -> None:
        """Read the next event."""
        action, observation = event.get("action"), event.get("observation")
        event_id = event.get("id", at)
        if not isinstance(event_id, int | str):
            raise Unreadable(f"the id of event {at} is no number")
        said = action if isinstance(action, str) else observation
        if not isinstance(said, str):
            raise Unreadable(f"event {at} is neither action nor observation")
        if said in _NO_TALK:
            self.left.append(event)
        elif isinstance(action, str):
            self._act(event, said, event_id)
        else:
            self._observe(event, said)

    def _act(self, event: dict[str, Any], action: str, event_id: int | str) -> None:
        args = event.get("args")
        args = args if isinstance(args, dict) else event
        text = as_text(args.get("content")) or as_text(event.get("message")) or ""
        is_agent = event.get("source") == "agent" or (
            "source" not in event and (action != "message" or bool(self.messages))
        )
        if action == "system":
            self.messages.append(Message("system", text))
            tools = args.get("tools")
            self.tools = dump_text(tools) if isinstance(tools, list) else None
        elif not is_agent:
            self.messages.append(Message("user", text))
        elif action == "message" and "tool_call_metadata" not in event:
            self.messages.append(Message("assistant", text, train=True))
        else:
            self._call(event, action, args, event_id)

    def _call(
        self, event: dict[str, Any], action: str, args: dict[str, Any], event_id: int | str
    ) -> None:
        if action == "finish":
            said = (args.get("final_thought"), event.get("message"), args.get("thought"))
            self.answer = next((t for t in said if isinstance(t, str) and t), None)
            self.ended = "finish"
        response = _response_of(event)
        call = _called(event, response) or ToolCall(action, _arguments(args), f"event_{event_id}")
        self._last = self._calls[event_id] = call
        whose = as_text(response.get("id"))
        if whose is not None and whose in self._responses:  # one response with several calls
            place = self._responses[whose]
            first = self.messages[place]
            self.messages[place] = dataclasses.replace(first, tool_calls=(*first.tool_calls, call))
            return
        if whose is not None:
            self._responses[whose] = len(self.messages)
        said_too = as_text(_message_of(response).get("content")) or as_text(args.get("thought"))
        self.messages.append(Message("assistant", said_too or "", tool_calls=(call,), train=True))

    def _observe(self, event: dict[str, Any], observation: str) -> None:
        cause = event.get("cause")
        is_known = isinstance(cause, int | str)
        call = self._calls.get(cause) if is_known else self._last
        if not is_known and ("source" in event or call is None):
            call = None  # newer files name the cause of every answer: this one answers nothing
        if not is_known:
            self._last = None
        content = as_text(event.get("content")) or ""
        extra = dump({"observation": observation})
        if call is None:
            self.messages.append(Message("user", content, extra=extra))
        else:
            self.messages.append(
                Message("tool", content, call_id=call.call_id, name=call.name, extra=extra)
            )


def _response_of(event: dict[str, Any]) -> dict[str, Any]:
    metadata = event.get("tool_call_metadata")
    response = metadata.get("model_response") if isinstance(metadata, dict) else None
    return response if isinstance(response, dict) else {}


def _message_of(response: dict[str, Any]) -> dict[str, Any]:
    """The message in a model's response."""
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    return message if isinstance(message, dict) else {}


def _called(event: dict[str, Any], response: dict[str, Any]) -> ToolCall | None:
    """The call as the model made it."""
    metadata = event.get("tool_call_metadata")
    if not isinstance(metadata, dict):
        return None
    call_id, name = metadata.get("tool_call_id"), metadata.get("function_name")
    calls = _message_of(response).get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and call.get("id") == call_id and isinstance(name, str):
            return ToolCall(name, arguments_text(function.get("arguments")), as_text(call_id))
    return None


def _arguments(args: dict[str, Any]) -> str:
    return dump_text({key: v for key, v in args.items() if key not in _NO_ARGUMENTS})


FORMAT = TrajectoryFormat("openhands", _evidence, _read)
