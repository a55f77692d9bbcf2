"""ToolBench: a tree of what was tried (tooleval's `answer_details`), or chats to train on.

The tree is read down to where the search ended: at each fork the last child, which is the one that
was tried last. A node `tool` is a call and its answer; its message is Python's text of a dict,
often cut short by the tool that wrote it: then as much is read as there is, and nothing made up.
Files of ToolBench are objects of rows by the query's id, which is found as the row's `id`.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from typing import Any

from dataprune.trajectories import Message, ToolCall, Trajectory, json_value
from dataprune.trajectories.formats import TrajectoryFormat
from dataprune.trajectories.formats._rows import (
    Unreadable,
    as_id,
    as_text,
    dump,
    dump_text,
    listing,
    mapping,
    trajectory_of,
)
from dataprune.trajectories.formats.messages import arguments_text, read_message

_ANSWERS = ("answer", "answer_generation")
_LONGEST_LITERAL = 1_000_000  # characters that Python's parser is trusted with
_NAME, _ARGUMENTS, _RESPONSE = "{'name': '", "', 'arguments': '", "', 'response': '"


def _evidence(row: Any) -> str | None:
    if not isinstance(row, dict):
        return None
    answer, made = (row.get(key) for key in _ANSWERS)
    if isinstance(answer, dict) and isinstance(answer.get("answer_details"), list):
        return "answer.answer_details is a tree"
    if isinstance(made, dict) and isinstance(made.get("train_messages"), list):
        return "answer_generation has train_messages"
    return None


def _read(row: Any, name: str, where: str) -> Iterator[Trajectory]:
    whole = mapping(row, "it")
    held = (whole[key] for key in _ANSWERS if isinstance(whole.get(key), dict))
    answer: dict[str, Any] = next(held, {})
    query = as_text(whole.get("query")) or as_text(answer.get("query"))
    tools = whole.get("available_tools") or answer.get("function")
    if "answer_details" in answer:
        messages = _of_tree(answer)
    else:
        chats = listing(answer.get("train_messages"), "train_messages")
        last = listing(chats[-1] if chats else [], "train_messages")
        messages = [read_message(message, at) for at, message in enumerate(last)]
    fields = {**whole, **({"prompt": query} if query else {})}
    ended, final = _final(answer.get("final_answer"))
    taken = {"available_tools", "query", *_ANSWERS}
    made = trajectory_of(
        fields, messages, taken, name, where, tools=dump_text(tools) if tools else None
    )
    left = {
        key: value
        for key, value in answer.items()
        if key not in ("answer_details", "train_messages", "final_answer", "function", "query")
    }
    meta = {**mapping(json_value(made.meta), "meta"), **({"answer": left} if left else {})}
    yield dataclasses.replace(
        made,
        query_id=as_id(fields.get("id")) or made.query_id,  # rows are kept by their query's id
        termination=ended or made.termination,
        answer=final,
        meta=dump(meta),
    )


def _final(value: Any) -> tuple[str | None, str | None]:
    """How it ended and the answer, of {"return_type": "give_answer", "final_answer": ...}."""
    text = as_text(value)
    said = json_value(text) if text else None
    if isinstance(said, dict):
        return as_text(said.get("return_type")), as_text(said.get("final_answer"))
    return None, text or None


def _of_tree(answer: dict[str, Any]) -> list[Message]:
    messages: list[Message] = []
    children = listing(answer.get("answer_details"), "answer_details")
    while children:
        node = mapping(children[-1], "a node")
        messages.extend(_of_node(node, len(messages)))
        children = listing(node.get("next", []), "next of a node")
    return messages


def _of_node(node: dict[str, Any], at: int) -> Iterator[Message]:
    role, said = node.get("role"), node.get("message")
    if role != "tool":
        yield read_message({"role": role, "content": said}, at)
        return
    name, arguments, response = _parts(said)
    call_id = f"call_{at}"
    calls = (ToolCall(name, arguments, call_id),)
    yield Message("assistant", "", tool_calls=calls, train=True)
    if response is not None:
        yield Message("tool", response, call_id=call_id, name=name)


def _parts(said: Any) -> tuple[str, str, str | None]:
    """Name, arguments and response of a node; response None where it was cut off before."""
    value = _literal(said) if isinstance(said, str) else said
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value["name"], arguments_text(value.get("arguments")), _answer(value)
    if not isinstance(said, str) or not said.startswith(_NAME):
        raise Unreadable("a node of a tool has no name")
    name, _, behind = said[len(_NAME) :].partition(_ARGUMENTS)
    arguments, is_there, response = behind.partition(_RESPONSE)
    return name, _unescaped(arguments), _unescaped(response) if is_there else None


def _answer(value: dict[str, Any]) -> str | None:
    response = value.get("response")
    return response if response is None or isinstance(response, str) else dump_text(response)


def _literal(text: str) -> Any:
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _unescaped(text: str) -> str:
    """A stretch of a Python text in single quotes, as far as it goes."""
    for cut in (text, text.rstrip("\\")):
        value = _literal(f"'{cut}'")
        if isinstance(value, str):
            return value
    return text


FORMAT = TrajectoryFormat("toolbench", _evidence, _read)
