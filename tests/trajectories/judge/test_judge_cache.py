"""A judge's cache, key and cost, and several processes that share them."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import DatapruneError, UsageError
from dataprune.trajectories.judge.client import HopelessError
from dataprune.trajectories.judge.judge import (
    Estimate,
    Judge,
    undecided_share,
)
from dataprune.trajectories.judge.verdicts import (
    CorrectnessItem,
    QualityItem,
)
from tests.trajectories.judge.conftest import KEY, Serve
from tests.trajectories.judge.handles import YES, always, items
from tests.trajectories.judge.honest import honest, settings
from tests.trajectories.judge.server import Act, JudgeServer, says

# --- cache, key, cost


def test_what_is_cached_is_not_asked_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    asked = items(5)
    one = Judge(settings(server, votes=2), tmp_path, 0).correct(asked)
    judge = Judge(settings(server, votes=2), tmp_path, 0)
    two = judge.correct(asked)
    assert len(server.requests) == 10
    assert judge.spent.calls == 0
    assert not one[0].cached
    assert two[0].cached
    assert [(v.value, v.raw) for v in one] == [(v.value, v.raw) for v in two]


def test_items_that_are_equal_are_asked_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    verdicts = Judge(settings(server), tmp_path, 0).correct([*items(1)] * 9)
    assert len(server.requests) == 1
    assert [v.value for v in verdicts] == [True] * 9


@pytest.mark.parametrize(
    "other",
    [{"model": "n"}, {"max_tokens": 5}, {"tolerance": 0.5}],
)
def test_another_question_is_not_taken_from_the_cache(
    serve: Serve, tmp_path: Path, other: dict[str, Any]
) -> None:
    server = serve(honest)
    Judge(settings(server), tmp_path, 0).correct(items(1))
    Judge(settings(server, **other), tmp_path, 0).correct(items(1))
    Judge(settings(server), tmp_path, 1).correct(items(1))
    assert len(server.requests) == 3


def test_the_threshold_of_quality_may_change_without_a_new_call(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    run = [QualityItem("q", "hm")]
    assert Judge(settings(server), tmp_path, 0).quality(run)[0].value is False
    assert Judge(settings(server, quality=0.2), tmp_path, 0).quality(run)[0].value is True
    assert len(server.requests) == 1


def test_the_key_is_nowhere(serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def echo(server: JudgeServer, request: dict[str, Any]) -> Act:
        return says(f"you sent {server.headers[-1]['Authorization']}")

    with caplog.at_level(logging.DEBUG):
        verdict = Judge(settings(serve(echo)), tmp_path, 0).correct(items(1))[0]
        body = f'{{"error": "bad key {KEY}"}}'.encode()
        with pytest.raises(HopelessError, match="bad key") as caught:
            Judge(settings(serve(always(Act(401, body)))), tmp_path, 7).correct(items(1))
    assert "you sent Bearer [key]" in verdict.raw[0]
    assert KEY not in f"{verdict!r}{caught.value}{caught.value.hint}{caplog.text}"
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_filler_for_a_key_is_not_cut_out_of_replies(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", "none")
    server = serve(always(says({"reasoning": "none", "correct": True})))
    verdict = Judge(settings(server), tmp_path, 0).correct(items(1))[0]
    assert (verdict.value, verdict.critique) == (True, "none")


def test_a_damaged_cache_is_one_sentence(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "judge.sqlite3").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(DatapruneError, match="cannot be used"):
        Judge(settings(serve(honest)), tmp_path, 0)


def test_a_cache_of_another_version_is_refused(serve: Serve, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "judge.sqlite3")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(DatapruneError, match="another version"):
        Judge(settings(serve(honest)), tmp_path, 0)


def test_lone_surrogates_on_both_sides_are_survived(serve: Serve, tmp_path: Path) -> None:
    act = says(YES)
    act.body = act.body.replace(b'\\"r\\"', b'\\"\\ud800\\"')
    item = CorrectnessItem("q\ud800", "\udfff", "5")
    assert Judge(settings(serve(always(act))), tmp_path, 0).correct([item])[0].value is True


def test_the_estimate_is_known_before_and_the_cost_after(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    wanted = settings(server, votes=2, price_in=3, price_out=10, max_tokens=50)
    judge = Judge(wanted, tmp_path, 0)
    asked = items(4)
    before = judge.preview(asked)
    assert (before.calls, before.cached, before.tokens_out) == (8, 0, 400)
    assert server.requests == []
    judge.correct(asked)
    sizes = [sum(len(m["content"]) for m in request["messages"]) for request in server.requests]
    assert before.tokens_in == sum(-(-size // 4) for size in sizes)
    assert before.cost == pytest.approx((before.tokens_in * 3 + 400 * 10) / 1e6)
    spent = judge.spent
    assert (spent.calls, spent.tokens_in, spent.tokens_out) == (8, 800, 80)
    assert spent.cost == pytest.approx((800 * 3 + 80 * 10) / 1e6)
    assert judge.preview(asked) == Estimate(0, 8, 0, 0, 0.0)


def test_above_max_cost_nothing_is_asked_but_the_cache_is_read(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(honest)
    priced = {"price_in": 1, "price_out": 1}
    Judge(settings(server), tmp_path, 0).correct(items(3))
    judge = Judge(settings(server, max_cost=0.0001, **priced), tmp_path, 0)
    assert undecided_share(judge.correct(items(3))) == 0
    with pytest.raises(UsageError, match=r"2 calls .* above max_cost 0.0001") as caught:
        judge.correct(items(5))
    assert "raise max_cost" in (caught.value.hint or "")
    assert len(server.requests) == 3


def test_max_cost_counts_what_was_spent_before(serve: Serve, tmp_path: Path) -> None:
    judge = Judge(settings(serve(honest), price_out=1, max_cost=0.00106), tmp_path, 0)
    for i in range(4):
        judge.correct(items(i + 1)[-1:])
    with pytest.raises(UsageError, match="after 4e-05 spent"):
        judge.correct(items(5)[-1:])


def test_progress_is_told(serve: Serve, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    judge = Judge(
        settings(serve(honest)), tmp_path, 0, on_progress=lambda _, values: told.append(values)
    )
    judge.correct(items(3))
    assert [values["epoch"] for values in told] == [1, 2, 3]


# --- processes

RUN = """
import sys
from pathlib import Path
from tests.trajectories.judge.honest import settings
from dataprune.trajectories.judge.judge import Judge
from dataprune.trajectories.judge.verdicts import CorrectnessItem
url, work, n = sys.argv[1:]
items = [CorrectnessItem(f"q{i}", "yes", "yes") for i in range(int(n))]
judge = Judge(settings(None, base_url=url, concurrency=2), Path(work), 0)
print(sum(v.value is True for v in judge.correct(items)), flush=True)
"""


def start(server: JudgeServer, work: Path, n: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", RUN, server.base_url, str(work), str(n)]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def test_two_processes_share_a_cache(serve: Serve, tmp_path: Path) -> None:
    server = serve(honest)
    both = [start(server, tmp_path, 40) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == ["40", "40"]
    db = sqlite3.connect(tmp_path / "judge.sqlite3")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("SELECT count(*) FROM replies").fetchone() == (40,)
    db.close()


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_keeps_what_was_answered(
    serve: Serve, tmp_path: Path, blow: signal.Signals
) -> None:
    reached = threading.Event()

    def stuck(server: JudgeServer, request: dict[str, Any]) -> Act:
        if len(server.requests) > 5:
            reached.set()
            return Act(stall_s=0.4)
        return honest(server, request)

    process = start(serve(stuck), tmp_path, 20)
    assert reached.wait(60)
    time.sleep(0.1)
    process.send_signal(blow)
    process.communicate(timeout=20)
    assert process.returncode != 0

    alive = serve(honest)
    asked = [CorrectnessItem(f"q{i}", "yes", "yes") for i in range(20)]
    judge = Judge(settings(alive), tmp_path, 0)
    assert undecided_share(judge.correct(asked)) == 0
    assert 15 <= len(alive.requests) <= 16
