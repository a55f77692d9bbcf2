"""Waiting for processes: that they come to some point, that they end, what they printed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

HERE = Path(__file__).parent
HELD = HERE / "held"
REPO = HERE.parents[1]


class Process(Protocol):
    """A Popen, or a fork of ours."""

    @property
    def returncode(self) -> Any:
        """Of a process that has ended."""

    def poll(self) -> int | None:
        """The exit code, once it has ended."""

    def kill(self) -> None:
        """SIGKILL it, if it runs."""

    def communicate(self, *, timeout: float = ...) -> tuple[str, str]:
        """What it printed, once it has ended."""


def ended(process: Process, code: int = 0) -> dict[str, Any]:
    """What a driver printed, once it has ended with that exit code."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "Traceback" not in err, err
    printed: dict[str, Any] = json.loads(out)
    return printed


def wait_for(condition: Callable[[], Any], *, while_runs: Process) -> Any:
    """Wait until a condition holds, which must be before the process ends; returns its value."""
    deadline = time.monotonic() + 60
    while not (value := condition()):
        if time.monotonic() > deadline or while_runs.poll() is not None:
            while_runs.kill()
            pytest.fail(f"it did not come to that: {while_runs.communicate()}")
        time.sleep(0.01)
    return value


def wait_until_gone(*pids: int) -> None:
    """Wait until processes have ended."""
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "processes live on"
        time.sleep(0.02)
