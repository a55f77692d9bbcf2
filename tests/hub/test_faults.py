"""Each fault does what it says, and the warm client lives through them."""

from __future__ import annotations

import http.client
import os
import time
from typing import Any

import pytest

from tests.hub.asking import ask, refused, run
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient

REPO = "alice/numbers"
SHARD = "data/train.parquet"


def test_status_instead_and_after_the_work(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "create", repo=REPO)
    path = f"/api/datasets/{REPO}"
    fault = hub.fault("status", status=429, retry_after_s=7, method="GET", path="datasets", nth=1)
    statuses = [ask(hub, "GET", path).status for _ in range(3)]
    assert statuses == [200, 429, 200]
    assert (fault.seen, fault.fired) == (3, 1)
    hub.fault("status", status=500, path=r"/commit/")
    assert "500" in refused(client, "commit", repo=REPO, texts={"a.txt": "a"}).message
    assert "a.txt" not in hub.tree(REPO)
    hub.fault("status", status=500, path=r"/commit/", after=True)
    assert "500" in refused(client, "commit", repo=REPO, texts={"a.txt": "a"}).message
    assert "a.txt" in hub.tree(REPO)
    assert [r.fault for r in hub.requests if r.fault] == ["status 429", "status 500", "status 500"]


@pytest.mark.parametrize(("kind", "done"), [("drop", False), ("lost", True)])
def test_dropped_and_lost(hub: LoopbackHub, client: WarmClient, kind: Any, *, done: bool) -> None:
    """Both look alike to the client; only for a lost reply the commit is there."""
    run(client, "create", repo=REPO)
    hub.fault(kind, path="/commit/")
    error = refused(client, "commit", repo=REPO, texts={"a.txt": "a"})
    assert "HTTPError" in error.kinds
    assert ("a.txt" in hub.tree(REPO)) == done
    assert [r.status for r in hub.requests if r.fault == kind] == [None]


def test_client_tries_uploads_again(hub: LoopbackHub, client: WarmClient) -> None:
    """Its own retries are at work, only sooner."""
    for kind in ("drop", "lost", "truncate", "status"):
        hub.fault(kind, method="PUT", times=2, status=503, retry_after_s=3)
        start = time.perf_counter()
        run(client, "publish", repo=f"alice/{kind}", tag="v1")
        assert time.perf_counter() - start < 2
        hub.fsck(f"alice/{kind}")
    assert len([r for r in hub.requests if r.method == "PUT"]) == 4 * 3


def test_slow_and_truncated(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "publish", repo=REPO, tag="v1")
    path = f"/datasets/{REPO}/resolve/v1/{SHARD}"
    whole = ask(hub, "GET", path).body
    hub.fault("slow", delay_s=0.2)
    start = time.perf_counter()
    assert ask(hub, "GET", path).status == 200
    assert time.perf_counter() - start > 0.2
    hub.fault("truncate")
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(hub, "GET", path)
    assert caught.value.partial == whole[: len(whole) // 2]
    hub.fault("truncate")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(hub, "HEAD", path)


def test_fault_at_each_request_of_a_publish(hub: LoopbackHub, client: WarmClient) -> None:
    """Count the requests of a clean run, then lose the reply of each in turn."""
    run(client, "publish", repo=REPO, tag="v1")
    hub.requests.clear()
    run(client, "publish", repo="alice/clean", tag="v1")
    num_requests = len(hub.requests)
    assert num_requests == 8
    ends = []
    for nth in range(num_requests):
        repo = f"alice/case-{nth}"
        fault = hub.fault("lost", nth=nth)
        try:
            run(client, "publish", repo=repo, tag="v1", seed=nth + 1)
            ends.append("done")
        except ClientError as error:
            ends.append(error.kind)
        assert fault.fired == 1
        hub.faults.clear()
        hub.fsck(repo)
    assert ends.count("done") == 4  # preupload, LFS batch, PUT and verify are tried again


# The warm process


def test_calls_share_a_process_and_report(client: WarmClient, hub: LoopbackHub) -> None:
    pid = run(client, "pid")
    assert pid != os.getpid()
    run(client, "shout")
    assert "not an answer" in client.stderr()
    error = refused(client, "warn")
    assert (error.kind, error.message) == ("UserWarning", "careful")
    assert run(client, "pid") == pid


def test_killed_and_overdue_processes_are_replaced(client: WarmClient, hub: LoopbackHub) -> None:
    pid = run(client, "pid")
    client.start("tests.hub.actions:wait", seconds=30)
    client.kill()
    replaced = run(client, "pid")
    assert replaced != pid
    with pytest.raises(TimeoutError):
        client.call("tests.hub.actions:wait", seconds=30, timeout_s=0.1)
    assert run(client, "pid") != replaced
