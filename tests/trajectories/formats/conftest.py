"""Tiny rows of each format, made by hand, and a folder to write them to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "find", "arguments": '{"city": "Oslo"}'},
}
_ASKED = {"role": "user", "content": "Where?"}
_EDIT = {
    "id": "t1",
    "type": "function",
    "function": {"name": "edit", "arguments": '{"path": "a.py"}'},
}
_RESPONSE = {"id": "r1", "choices": [{"message": {"content": "I edit.", "tool_calls": [_EDIT]}}]}
_META = {"function_name": "edit", "tool_call_id": "t1", "model_response": _RESPONSE}

_FOUND = "{'name': 'find', 'arguments': '{\"city\": \"Oslo\"}', 'response': 'north'}"

ROWS: dict[str, Any] = {
    "messages": {
        "task_id": 7,
        "trial": 2,
        "reward": 1.0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            _ASKED,
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "north"},
            {"role": "assistant", "content": "North."},
        ],
        "tools": [{"type": "function", "function": {"name": "find"}}],
        "cost": 3,
    },
    "mint": {
        "state": {
            "history": [_ASKED, {"role": "assistant", "content": "<solution>4</solution>"}],
            "success": True,
            "terminate_reason": "task_success",
            "agent_action_count": {"invalid_action": 0},
        },
        "task": {"task_name": "reasoning", "task_id": 3, "prompt": "2 + 2", "reference": "4"},
    },
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "Where?"},
            {"from": "function_call", "value": '{"name": "find", "arguments": {"city": "Oslo"}}'},
            {"from": "observation", "value": "north"},
            {"from": "gpt", "value": "North."},
        ],
        "system": "Be brief.",
        "tools": '[{"name": "find"}]',
    },
    "llama_factory": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "value": "Where?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "reasoning", "value": "Look it up."},
                    {"type": "tool_call", "value": '{"name": "find", "arguments": {}}'},
                ],
                "loss_weight": 0.0,
            },
            {"role": "tool", "content": [{"type": "text", "value": "north"}]},
            {"role": "assistant", "content": [{"type": "text", "value": "North."}]},
        ],
        "tools": "[]",
    },
    "atif": {
        "schema_version": "ATIF-v1.6",
        "session_id": "s1",
        "trajectory_id": "t1",
        "agent": {"name": "a", "version": "1", "tool_definitions": [{"name": "find"}]},
        "steps": [
            {"step_id": 1, "source": "user", "message": "Where?"},
            {
                "step_id": 2,
                "source": "agent",
                "message": "Earlier.",
                "is_copied_context": True,
            },
            {
                "step_id": 3,
                "source": "agent",
                "message": [{"type": "text", "text": "I look."}],
                "reasoning_content": "Look it up.",
                "metrics": {"prompt_tokens": 9},
                "tool_calls": [
                    {"tool_call_id": "c1", "function_name": "find", "arguments": {"city": "Oslo"}}
                ],
                "observation": {
                    "results": [
                        {
                            "source_call_id": "c1",
                            "content": "north",
                            "subagent_trajectory_ref": [{"session_id": "s2"}],
                        }
                    ]
                },
            },
        ],
        "subagent_trajectories": [
            {
                "schema_version": "ATIF-v1.6",
                "session_id": "s2",
                "steps": [{"step_id": 1, "source": "user", "message": "Look."}],
            }
        ],
    },
    "swe_agent": {
        "environment": "main",
        "trajectory": [{"action": "ls", "observation": "a.py", "response": "ls!", "state": "ok"}],
        "history": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "A demonstration", "is_demo": True},
            {"role": "user", "content": "Mend it."},
            {"role": "assistant", "content": "ls!", "action": "ls", "tool_calls": [_CALL]},
            {"role": "tool", "content": "a.py", "tool_call_ids": ["c1"]},
        ],
        "info": {"exit_status": "submitted", "submission": "diff"},
    },
    "mini_swe_agent": [
        {"role": "user", "content": "Mend it."},
        {"role": "assistant", "content": "```mswea_bash_command\nls\n```"},
    ],
    "openhands": {
        "instance_id": "i-1",
        "history": [
            {
                "id": 0,
                "source": "agent",
                "action": "system",
                "args": {"content": "Be brief.", "tools": [{"name": "edit"}]},
            },
            {"id": 1, "source": "user", "action": "message", "args": {"content": "Mend it."}},
            {"id": 2, "source": "user", "action": "recall", "args": {"query": "Mend it."}},
            {"id": 3, "source": "environment", "observation": "recall", "content": "", "cause": 2},
            {
                "id": 4,
                "source": "agent",
                "action": "edit",
                "args": {"thought": "I edit."},
                "tool_call_metadata": _META,
            },
            {"id": 5, "source": "agent", "observation": "edit", "content": "done", "cause": 4},
            {"id": 6, "source": "agent", "observation": "error", "content": "no such command"},
            {"id": 7, "source": "agent", "action": "finish", "args": {"final_thought": "Mended."}},
        ],
    },
    "dataprune": {
        "traj_id": "a",
        "query_id": "q",
        "prompt": "Where?",
        "tools": None,
        "answer": None,
        "reference": None,
        "reward": None,
        "success": True,
        "termination": None,
        "category": None,
        "files": [],
        "meta": "{}",
        "content_sha256": "0" * 64,
        "messages": [
            {"role": "user", "content": "Where?", "train": False, "tool_calls": None},
            {"role": "assistant", "content": "North.", "train": True, "tool_calls": [_CALL]},
        ],
    },
    "toolbench": {
        "query": "Where?",
        "available_tools": [{"name": "find"}],
        "answer": {
            "method": "CoT",
            "final_answer": '{"return_type": "give_answer", "final_answer": "North."}',
            "answer_details": [
                {
                    "role": "system",
                    "message": "",
                    "next": [
                        {"role": "user", "message": "first try", "next": []},
                        {
                            "role": "user",
                            "message": "Where?",
                            "next": [
                                {
                                    "role": "tool",
                                    "message": _FOUND,
                                    "next": [
                                        {
                                            "role": "tool",
                                            "message": "{'name': 'find', 'arguments': '{}', "
                                            "'response': 'cut sh",
                                            "next": [],
                                        }
                                    ],
                                }
                            ],
                        },
                    ],
                }
            ],
        },
    },
}


@pytest.fixture
def rows() -> dict[str, Any]:
    """A row of each format; a copy, to be changed at will."""
    copied: dict[str, Any] = json.loads(json.dumps(ROWS))
    return copied


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], Path]:
    """Write a file by its name in a folder of the test."""

    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
