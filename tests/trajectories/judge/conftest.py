"""Judges' servers for a test, and a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.trajectories.judge.server import Handle, JudgeServer

KEY = "sk-loopback-1234567890"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment, under a name of the tests' own; no proxy."""
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return KEY


Serve = Callable[[Handle], JudgeServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers; they end with the test, and none of their threads may have crashed."""
    started: list[JudgeServer] = []

    def start(handle: Handle) -> JudgeServer:
        started.append(JudgeServer(handle))
        return started[-1]

    yield start
    for server in started:
        server.die()
    assert [crash for server in started for crash in server.crashes] == []
