"""Questions for a judge, and servers that answer them alike or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataprune.trajectories.judge.verdicts import (
    CorrectnessItem,
)
from tests.trajectories.judge.honest import honest
from tests.trajectories.judge.server import Act, JudgeServer

YES = {"reasoning": "r", "correct": True}
NO = {"reasoning": "r", "correct": False}


def items(n: int) -> list[CorrectnessItem]:
    """Every third answer is wrong."""
    return [CorrectnessItem(f"q{i}", "no" if i % 3 == 2 else "yes", "yes") for i in range(n)]


def always(act: Act) -> Callable[[JudgeServer, dict[str, Any]], Act]:
    return lambda _server, _request: act


def first(*acts: Act) -> Callable[[JudgeServer, dict[str, Any]], Act]:
    """These acts one after the other, then an honest judge."""
    left = list(acts)

    def handle(server: JudgeServer, request: dict[str, Any]) -> Act:
        return left.pop(0) if left else honest(server, request)

    return handle
