"""After publishing: rollback, yank, retract, promote, materialize. No version is ever changed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import polars as pl
import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient
from tests.publishing.conftest import REPO, Built, Publish, act, refused


@pytest.fixture
def two(hub: LoopbackHub, publish: Publish) -> dict[str, str]:
    """v1 and v2, and their commits."""
    made = {tag: publish(tag)["commit"] for tag in ("v1", "v2")}
    hub.requests.clear()
    return made


def frozen(hub: LoopbackHub) -> dict[str, dict[str, str]]:
    """What every tag holds."""
    return {tag: hub.tree(REPO, tag) for tag in hub.tags(REPO)}


def manifest(hub: LoopbackHub, tag: str) -> Any:
    return json.loads(hub.repo(REPO).git.git("show", f"{tag}:.dataprune/manifest.json"))


def test_a_rollback_is_a_new_version_with_the_old_rows_and_nothing_sent(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient
) -> None:
    before = frozen(hub)
    made = act(client, "rollback", repo=REPO, tag="v1")
    assert (made["tag"], made["created"]) == ("v3", True)
    assert not [r for r in hub.requests if r.method == "PUT"]
    assert {t: f for t, f in frozen(hub).items() if t != "v3"} == before
    old, new = (act(client, "load", repo=REPO, tag=t) for t in ("v1", "v3"))
    assert old["rows"] == new["rows"]
    assert manifest(hub, "v3")["parents"][0]["version"] == "v1"
    assert "rollback" in hub.repo(REPO).git.git("show", "v3:README.md").lower()
    again = act(client, "rollback", repo=REPO, tag="v1")
    assert (again["tag"], again["created"]) == ("v3", False)
    act(client, "rollback", repo=REPO, tag="v2")
    assert act(client, "rollback", repo=REPO, tag="v1")["tag"] == "v5"  # not the newest any more
    hub.fsck(REPO)


def test_a_yanked_version_loads_with_a_warning_and_is_marked_in_lists(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient
) -> None:
    before = frozen(hub)
    act(client, "yank", repo=REPO, tag="v2", reason="labels <b>shifted</b>", use="v1")
    assert frozen(hub) == before
    found = act(client, "load", repo=REPO, tag="v2")
    assert found["said"] == ["acme/animals@v2 was yanked: labels <b>shifted</b>; use v1 instead"]
    assert act(client, "load", repo=REPO, tag="v1")["said"] == []
    assert act(client, "listed", repo=REPO)["yanked"]["v2"]["use"] == "v1"
    card = hub.repo(REPO).git.git("show", "main:README.md")
    assert card.count("This version is yanked") == 1
    assert "<b>" not in card.split("This version is yanked")[1][:60]
    act(client, "yank", repo=REPO, tag="v2", reason="and again")
    assert hub.repo(REPO).git.git("show", "main:README.md").count("is yanked") == 1
    act(client, "unyank", repo=REPO, tag="v2")
    assert hub.repo(REPO).git.git("show", "main:README.md") == hub.repo(REPO).git.git(
        "show", "v2:README.md"
    )
    assert act(client, "load", repo=REPO, tag="v2")["said"] == []
    assert "is not yanked" in refused(client, "unyank", repo=REPO, tag="v2").message


def test_yanks_outlive_later_versions(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient, publish: Publish
) -> None:
    act(client, "yank", repo=REPO, tag="v1", reason="bad")
    publish("v4")
    assert act(client, "load", repo=REPO, tag="v1")["said"]
    assert act(client, "listed", repo=REPO) == {
        "tags": ["v1", "v2", "v4"],
        "yanked": {"v1": {"reason": "bad"}},
        "aliases": {},
    }


def test_a_version_that_is_not_there_cannot_be_yanked_or_named_instead(
    two: dict[str, str], client: WarmClient
) -> None:
    for options in ({"tag": "v7", "reason": "x"}, {"tag": "v1", "reason": "x", "use": "v7"}):
        error = refused(client, "yank", repo=REPO, **options)
        assert "has no version v7" in error.message


def test_retraction_makes_a_version_without_the_rows_and_yanks_all_that_hold_them(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v4")
    first, second = (built.version(tag).rows.tolist() for tag in ("v1", "v2"))
    both = [row for row in first if row in second][:2]
    before = frozen(hub)
    done = act(client, "retract", repo=REPO, tag="v1", rows=both)
    assert done["published"]["tag"] == "v5"
    assert done["yanked"] == ["v1", "v2", "v4"]  # v4 has v1's rows in another order
    found = act(client, "load", repo=REPO, tag="v5")
    assert found["kept"] == [row for row in first if row not in both]
    assert {t: f for t, f in frozen(hub).items() if t != "v5"} == before
    assert act(client, "load", repo=REPO, tag="v1")["said"]
    assert manifest(hub, "v5")["reasons"]["retracted"] == 2
    sha256 = hub.tree(REPO, "v5")["decisions.parquet"]
    decisions = pl.read_parquet(hub.repo(REPO).git.lfs_path(sha256))
    gone = decisions.filter(pl.col("row").is_in(both))
    assert gone["content_hash"].to_list() == [0, 0]
    assert gone["key"].to_list() == [None, None]
    again = act(client, "retract", repo=REPO, tag="v1", rows=both)
    assert (again["published"]["tag"], again["published"]["created"]) == ("v5", False)
    hub.fsck(REPO)


@pytest.mark.parametrize(("rows", "word"), [([], "no rows"), ([60], "rows 0 to 59"), ([-1], "-1")])
def test_retraction_of_rows_that_are_not_there(
    two: dict[str, str], client: WarmClient, hub: LoopbackHub, rows: list[int], word: str
) -> None:
    before = hub.tags(REPO)
    assert word in refused(client, "retract", repo=REPO, tag="v1", rows=rows).message
    assert hub.tags(REPO) == before


def test_an_alias_moves_in_one_commit_and_the_lock_keeps_what_it_meant(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient, tmp_path: Any
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    act(client, "promote", repo=REPO, tag="v1", alias="prod")
    meant = act(client, "load", repo=REPO, tag="prod", lock=lock)
    assert (meant["tag"], meant["commit"]) == ("v1", two["v1"])
    assert act(client, "plain_datasets", repo=REPO, tag="prod")["rows"] == meant["rows"]
    before = frozen(hub)
    act(client, "promote", repo=REPO, tag="v2", alias="prod")
    assert frozen(hub) == before
    assert hub.tree(REPO, "prod") == hub.tree(REPO, "v2")
    assert len(hub.commits(REPO, "prod")) == len(hub.commits(REPO, "v1")) + 1
    assert act(client, "load", repo=REPO, tag="prod", lock=lock, locked=True)["tag"] == "v1"
    assert act(client, "load", repo=REPO, tag="prod", lock=lock)["tag"] == "v2"
    assert act(client, "load", repo=REPO, tag="prod", lock=lock, locked=True)["tag"] == "v2"
    act(client, "promote", repo=REPO, tag="v2", alias="prod")
    assert act(client, "listed", repo=REPO)["aliases"] == {"prod": "v2"}
    hub.fsck(REPO)


@pytest.mark.parametrize("alias", ["v3", "main", "Prod", "", "a b", "a/b", "deadbeef" * 5])
def test_an_alias_may_not_look_like_a_version(
    two: dict[str, str], client: WarmClient, hub: LoopbackHub, alias: str
) -> None:
    refused(client, "promote", repo=REPO, tag="v1", alias=alias)
    assert list(hub.repo(REPO).git.refs().branches) == ["main"]


def test_a_branch_of_somebodys_own_is_no_alias(
    two: dict[str, str], client: WarmClient, hub: LoopbackHub
) -> None:
    first = hub.commits(REPO)[-1]
    act(client, "branch", repo=REPO, name="draft", revision=first)
    error = refused(client, "promote", repo=REPO, tag="v1", alias="draft")
    assert "is no alias" in error.message
    assert hub.commits(REPO, "draft") == [first]


def test_a_view_is_given_rows_of_its_own(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v3")
    made = act(client, "materialize", repo=REPO, tag="v3")
    assert made["tag"] == "v4"
    view, rows = (act(client, "load", repo=REPO, tag=t, fresh=True) for t in ("v3", "v4"))
    assert view["rows"] == rows["rows"]
    assert act(client, "plain_datasets", repo=REPO, tag="v4")["num_rows"] == rows["num_rows"]
    assert act(client, "materialize", repo=REPO, tag="v3")["created"] is False
    assert "no view" in refused(client, "materialize", repo=REPO, tag="v4").message


@pytest.mark.slow
@pytest.mark.parametrize("action", ["yank", "promote", "rollback", "retract"])
def test_a_lost_reply_at_any_request_is_met_by_starting_over(
    two: dict[str, str], hub: LoopbackHub, client: WarmClient, publish: Publish, action: str
) -> None:
    options: dict[str, Any] = {
        "yank": {"reason": "x"},
        "promote": {"alias": "prod"},
        "rollback": {},
        "retract": {"rows": [0, 1]},
    }[action]
    act(client, "promote", repo=REPO, tag="v2", alias="prod")
    act(client, action, repo=REPO, tag="v1", **options)
    wanted = act(client, "listed", repo=REPO)
    for nth in itertools.count():
        hub.reset()
        act(client, "forget")
        publish("v1")
        publish("v2")
        act(client, "promote", repo=REPO, tag="v2", alias="prod")
        fault = hub.fault("lost", nth=nth)
        act(client, action, repo=REPO, tag="v1", **options)
        if not fault.fired:  # there are no more requests
            break
        hub.faults.clear()
        assert act(client, "listed", repo=REPO) == wanted, f"request {nth}"
        hub.fsck(REPO)
