"""A fault at every single request of a publish, and two publishers at once: all end well.

Whatever happens, after at most one more run there is one tag on one commit with the right files,
and git finds nothing wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hub.conftest import Served
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient
from tests.publishing.conftest import REPO, Built, act

KINDS: dict[str, dict[str, Any]] = {
    "lost": {"kind": "lost"},
    "dropped": {"kind": "drop"},
    "truncated": {"kind": "truncate"},
    "slow": {"kind": "slow", "delay_s": 1.3},  # the client waits for 1 s
    "500": {"kind": "status", "status": 500},
    "500 and done": {"kind": "status", "status": 500, "after": True},
    "503": {"kind": "status", "status": 503},
    "429": {"kind": "status", "status": 429, "retry_after_s": 1},
    "401": {"kind": "status", "status": 401},
    "409": {"kind": "status", "status": 409},
    "412": {"kind": "status", "status": 412},
}
QUICK = ("lost", "500 and done")
LEAST_REQUESTS = 11


@dataclass
class Case:
    """A publish of v1 after v2, so that files change, come and go."""

    served: Served
    built: Built
    expected: dict[str, str]

    def prepare(self) -> None:
        """A repository that holds another version: the first time published, then as it was."""
        hub = self.served.hub
        act(self.served.client, "forget")
        if self.expected:
            git = hub.repo(REPO).git
            git.git("update-ref", "refs/heads/main", "refs/tags/v4")
            git.git("update-ref", "-d", "refs/tags/v1")
            for sha256 in set(self.expected.values()) - set(hub.tree(REPO, "v4").values()):
                git.lfs_path(sha256).unlink(missing_ok=True)
        else:
            hub.reset()
            self.publish("v4")
        hub.requests.clear()

    def publish(self, tag: str = "v1") -> dict[str, Any]:
        """Publish a version."""
        made: dict[str, Any] = act(
            self.served.client, "publish", store=str(self.built.store), name="animals", tag=tag,
            repo=REPO,
        )  # fmt: skip
        return made

    def check(self) -> None:
        """One tag, one commit, the right files, and git content."""
        hub = self.served.hub
        assert sorted(hub.tags(REPO)) == ["v1", "v4"]
        assert len(hub.commits(REPO)) == 3
        assert hub.tags(REPO)["v1"] == hub.commits(REPO)[0]
        assert hub.tree(REPO, "v1") == self.expected
        hub.fsck(REPO)
        assert not hub.crashes


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest, built: Built) -> Iterator[Case]:
    served: Served = request.getfixturevalue(f"{request.param}_served")
    clean = Case(served, built, {})
    clean.prepare()
    clean.publish()
    clean.expected = served.hub.tree(REPO, "v1")
    assert set(built.files("v1")) < set(clean.expected)
    yield clean
    served.hub.reset()


def published(case: Case) -> ClientError | None:
    """Publish; the error it ends with, if it does."""
    try:
        case.publish()
    except ClientError as error:
        return error
    return None


def outcomes(case: Case, kind: str) -> dict[str, int]:
    """Put the fault at each request in turn; how often it ended well at once, or at the second."""
    counts = {"at once": 0, "again": 0}
    for nth in itertools.count():
        case.prepare()
        fault = case.served.hub.fault(nth=nth, **KINDS[kind])
        error = published(case)
        if not fault.fired:  # there are no more requests
            break
        counts["again" if error else "at once"] += 1
        if error:
            assert "HubError" in error.kinds, f"request {nth}: {error}"
            case.served.hub.faults.clear()
            case.publish()
        assert fault.fired == 1
        case.served.hub.faults.clear()
        case.check()
    assert sum(counts.values()) >= LEAST_REQUESTS
    return counts


@pytest.mark.parametrize("kind", [QUICK[0], pytest.param(QUICK[1], marks=pytest.mark.slow)])
def test_a_lost_reply_is_met_by_starting_over(case: Case, kind: str) -> None:
    assert outcomes(case, kind)["again"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in QUICK])
def test_every_fault_at_every_request_ends_well(case: Case, kind: str) -> None:
    counts = outcomes(case, kind)
    print(f"{kind}: {counts}")
    if kind != "401":  # which no asking again will mend
        assert counts["again"] == 0


def test_the_first_publish_makes_the_repository_once_whatever_is_lost(
    lfs_served: Served, built: Built
) -> None:
    hub, client = lfs_served.hub, lfs_served.client
    args = {"store": str(built.store), "name": "animals", "tag": "v1", "repo": REPO}
    for nth in (0, 1, 2):
        for kind in ("lost", "drop"):
            hub.reset()
            act(client, "forget")
            hub.fault(kind, nth=nth)  # type: ignore[arg-type]
            act(client, "publish", **args)
            assert list(hub.tags(REPO)) == ["v1"]
            assert len(hub.commits(REPO)) == 2
            hub.fsck(REPO)


def test_a_hub_that_stays_down_is_one_sentence_and_nothing_is_half_done(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    args = {"store": str(built.store), "name": "animals", "tag": "v1", "repo": REPO}
    hub.fault("status", status=503, times=None)
    with pytest.raises(ClientError, match="answered 503") as caught:
        act(client, "publish", **args)
    assert "run the same command again" in caught.value.message
    hub.faults.clear()
    act(client, "publish", **args)
    assert list(hub.tags(REPO)) == ["v1"]


@pytest.mark.parametrize(
    "kill_at",
    [
        "/commit/",
        *(pytest.param(w, marks=pytest.mark.slow) for w in ("/preupload/", "PUT", "/tag/")),
    ],
)
def test_a_killed_publisher_is_followed_by_one_that_ends_its_work(
    hub: LoopbackHub, built: Built, tmp_path: Path, kill_at: str
) -> None:
    args = {"store": str(built.store), "name": "animals", "tag": "v1", "repo": REPO}
    where = {"method": "PUT"} if kill_at == "PUT" else {"path": kill_at}
    fault = hub.fault("slow", delay_s=0.6, **where)  # type: ignore[arg-type]
    with WarmClient(hub, tmp_path / "c", imports=["tests.publishing.actions"]) as doomed:
        doomed.start("tests.publishing.actions:publish", **args)
        while not fault.fired:
            pass
        doomed.kill()
        hub.faults.clear()
        doomed.call("tests.publishing.actions:publish", **args)
    assert list(hub.tags(REPO)) == ["v1"]
    assert len(hub.commits(REPO)) == 2
    hub.fsck(REPO)


@pytest.mark.slow
@pytest.mark.parametrize("tags", [("v1", "v1"), ("v1", "v2")], ids=["same", "different"])
def test_two_publishers_at_once(
    lfs_served: Served, built: Built, tmp_path: Path, tags: tuple[str, str]
) -> None:
    hub = lfs_served.hub
    imports = ["tests.publishing.actions"]
    with (
        WarmClient(hub, tmp_path / "a", imports=imports) as a,
        WarmClient(hub, tmp_path / "b", imports=imports) as b,
    ):
        for _ in range(10):
            hub.reset()
            for publisher, tag in zip((a, b), tags, strict=True):
                publisher.start(
                    "tests.publishing.actions:publish", store=str(built.store), name="animals",
                    tag=tag, repo=REPO,
                )  # fmt: skip
            made = [a.result(), b.result()]
            assert sorted(hub.tags(REPO)) == sorted(set(tags))
            assert len(hub.commits(REPO)) == 1 + len(set(tags))
            for tag, one in zip(tags, made, strict=True):
                assert hub.tags(REPO)[tag] == one["commit"]
                there = hub.tree(REPO, tag)
                assert {p for p in there if p.endswith(".parquet")} == set(built.files(tag))
            hub.fsck(REPO)
            assert not hub.crashes
