"""A judge over HTTP: what it says when its server stalls, fails, dies or refuses."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import UsageError
from dataprune.trajectories.judge.client import HopelessError
from dataprune.trajectories.judge.judge import (
    MOST_FAILURES,
    Judge,
    undecided_share,
)
from tests.trajectories.judge.conftest import Serve
from tests.trajectories.judge.handles import YES, always, first, items
from tests.trajectories.judge.honest import honest, settings, texts_of
from tests.trajectories.judge.server import Act, JudgeServer, says

# --- it stalls, fails and recovers


@pytest.mark.parametrize(
    "act",
    [
        Act(500),
        Act(503, b"busy"),
        Act(429),
        Act(429, headers={"Retry-After": "0.1"}),
        Act(429, headers={"Retry-After": "soon"}),
        Act(429, headers={"Retry-After": format_datetime(datetime.now(UTC) - timedelta(1))}),
        Act(200, b'{"choices": []}', half=True),
        Act(200, stall_s=0.8),
    ],
)
def test_a_passing_failure_is_retried(serve: Serve, tmp_path: Path, act: Act) -> None:
    server = serve(first(act, act))
    wanted = settings(server, timeout_s=0.5 if act.stall_s else 5)
    assert Judge(wanted, tmp_path, 0).correct(items(1))[0].value is True
    assert len(server.requests) == 3


def test_retry_after_is_waited_for(serve: Serve, tmp_path: Path) -> None:
    server = serve(first(Act(429, headers={"Retry-After": "0.4"})))
    start = time.monotonic()
    assert Judge(settings(server), tmp_path, 0).correct(items(1))[0].value is True
    assert time.monotonic() - start >= 0.4


def test_a_wait_beyond_the_deadline_is_not_begun(serve: Serve, tmp_path: Path) -> None:
    server = serve(always(Act(429, headers={"Retry-After": "3600"})))
    start = time.monotonic()
    verdict = Judge(settings(server), tmp_path, 0).correct(items(1))[0]
    assert verdict.value is None
    assert "HTTP 429" in verdict.detail
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "act", [Act(stall_s=30), Act(body=says(YES).body, drip_s=0.05), Act(500), Act(half=True,
     body=b"xx")],
)  # fmt: skip
def test_a_lasting_failure_is_undecided_within_the_deadline(
    serve: Serve, tmp_path: Path, act: Act
) -> None:
    wanted = settings(serve(always(act)), timeout_s=0.2, deadline_s=0.5)
    start = time.monotonic()
    verdict = Judge(wanted, tmp_path, 0).correct(items(1))[0]
    assert time.monotonic() - start < 8
    assert verdict.value is None
    assert "tried" in verdict.detail


def test_one_question_that_is_refused_spoils_no_other(serve: Serve, tmp_path: Path) -> None:
    def handle(server: JudgeServer, request: dict[str, Any]) -> Act:
        is_long = texts_of(request)["QUESTION"] == "q0"
        return Act(400, b"context length") if is_long else honest(server, request)

    verdicts = Judge(settings(serve(handle)), tmp_path, 0).correct(items(3))
    assert [v.value for v in verdicts] == [None, True, False]


# --- it dies


def test_a_server_that_dies_leaves_undecided_and_a_rerun_asks_for_the_rest(
    serve: Serve, tmp_path: Path
) -> None:
    def dying(server: JudgeServer, request: dict[str, Any]) -> Act:
        if len(server.requests) > 7:
            server.die_soon()
            return Act(stall_s=5)
        return honest(server, request)

    asked = items(30)
    wanted = {"concurrency": 2, "retry_s": 30}  # beyond the deadline: no retries
    judge = Judge(settings(serve(dying), **wanted), tmp_path, 0)
    verdicts = judge.correct(asked)
    answered = [v for v in verdicts if v.value is not None]
    assert len(answered) == 7
    assert all(v.value == (i % 3 != 2) for i, v in enumerate(verdicts) if v.value is not None)
    assert judge.stopped is not None
    assert f"not asked: {judge.stopped}" in verdicts[-1].detail
    assert undecided_share(verdicts) == 23 / 30

    alive = serve(honest)
    again = Judge(settings(alive), tmp_path, 0).correct(asked)
    assert [v.value for v in again] == [i % 3 != 2 for i in range(30)]
    assert len(alive.requests) == 23
    assert sum(v.cached for v in again) == 7


def test_after_failures_in_a_row_nothing_more_is_asked(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(always(Act(500, b"out of\nmemory")))
    judge = Judge(settings(server, retry_s=30, concurrency=1), tmp_path, 0)
    with caplog.at_level(logging.WARNING):
        verdicts = judge.correct(items(50))
    assert [v.value for v in verdicts] == [None] * 50
    assert len(server.requests) == MOST_FAILURES
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "HTTP 500; tried 1 times: out of memory): " in caplog.text
    assert not any("memory" in verdict.detail for verdict in verdicts)
    judge.correct(items(60))
    assert len(server.requests) == MOST_FAILURES


def test_failures_with_replies_between_them_stop_nothing(serve: Serve, tmp_path: Path) -> None:
    def handle(server: JudgeServer, request: dict[str, Any]) -> Act:
        is_odd = int(texts_of(request)["QUESTION"][1:]) % 2
        return Act(422) if is_odd else honest(server, request)

    judge = Judge(settings(serve(handle), concurrency=1), tmp_path, 0)
    verdicts = judge.correct(items(3 * MOST_FAILURES))
    assert judge.stopped is None
    assert undecided_share(verdicts) == 0.5


# --- it cannot work


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "TEST_JUDGE_KEY"),
        (403, "TEST_JUDGE_KEY"),
        (404, "model m"),
        (405, "base_url"),
        (302, "base_url"),
    ],
)
def test_a_refusal_of_everything_is_one_error_after_one_call(
    serve: Serve, tmp_path: Path, status: int, told: str
) -> None:
    server = serve(always(Act(status, b"no\nsuch thing", headers={"Location": "/v1/elsewhere"})))
    with pytest.raises(HopelessError, match=f"HTTP {status}: no such thing") as caught:
        Judge(settings(server), tmp_path, 0).correct(items(20))
    assert told in (caught.value.hint or "")
    assert len(server.requests) == 1


def test_a_refusal_after_replies_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    def expiring(server: JudgeServer, request: dict[str, Any]) -> Act:
        return honest(server, request) if len(server.requests) <= 3 else Act(401)

    judge = Judge(settings(serve(expiring), concurrency=1), tmp_path, 0)
    verdicts = judge.correct(items(30))
    assert [v.value for v in verdicts[:4]] == [True, True, False, None]
    assert "HTTP 401" in verdicts[3].detail


def test_a_server_that_is_not_there_is_one_error(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    server.die()
    with pytest.raises(HopelessError, match="no judge can be reached at http://127"):
        Judge(settings(server, retry_s=30), tmp_path, 0).correct(items(20))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"base_url": None}, "no base_url"),
        ({"base_url": "127.0.0.1:8000"}, "base_url"),
        ({"base_url": "http://a:99999/v1"}, "base_url is"),
        ({"base_url": "ftp://a/v1"}, "base_url is ftp"),
        ({"base_url": "http://a/v1?key=x"}, "goes on after its path"),
        ({"base_url": "http://a:b@c:1/v1"}, "holds a user or password"),
        ({"base_url": "http://a:port/v1"}, "not an address"),
        ({"model": None}, "no model"),
        ({"max_cost": 1}, "max_cost has no effect"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_a_call(
    tmp_path: Path, wanted: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        Judge(settings(None, **({"base_url": "http://a/v1"} | wanted)), tmp_path, 0)


def test_a_key_that_no_header_can_hold_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", "sk-one\nsk-two")
    with pytest.raises(UsageError, match="TEST_JUDGE_KEY") as caught:
        Judge(settings(None, base_url="http://a/v1"), tmp_path, 0)
    assert "sk-" not in str(caught.value)


# --- json_schema


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_without_json_schema_is_asked_in_words_from_then_on(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    def old(server: JudgeServer, request: dict[str, Any]) -> Act:
        if request["response_format"]["type"] == "json_schema":
            return Act(status, b"unknown response_format")
        return says(YES if texts_of(request)["ANSWER"] == "yes" else {"correct": "no"})

    server = serve(old)
    asked = items(6)
    with caplog.at_level(logging.WARNING):
        verdicts = Judge(settings(server), tmp_path, 0).correct(asked)
    assert [v.value for v in verdicts] == [True, True, None] * 2
    kinds = [request["response_format"]["type"] for request in server.requests]
    assert kinds == ["json_schema", *["json_object"] * 6]
    assert caplog.text.count("json_object") == 1

    new = serve(honest)
    again = Judge(settings(new), tmp_path, 0).correct(asked)
    assert ([v.value for v in again], new.requests) == ([True, True, None] * 2, [])
