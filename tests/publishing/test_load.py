"""Loading from the Hub: the rows of the version that was asked for, or an error that says why."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient
from tests.publishing.conftest import REPO, Built, Publish, act, refused


@pytest.fixture
def two(
    two_published: dict[str, str], hub: LoopbackHub, client: WarmClient, shelf: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """v1 and v2 published, and what each of them is; nothing of them in the cache."""
    if "told" not in shelf:
        told = {tag: act(client, "load", repo=REPO, tag=tag) for tag in two_published}
        assert told["v1"]["rows"] != told["v2"]["rows"]
        shelf["told"] = told
        act(client, "forget")
        hub.requests.clear()
    found: dict[str, dict[str, Any]] = shelf["told"]
    return found


def test_a_version_loads_by_tag_and_by_commit(
    two: dict[str, dict[str, Any]], client: WarmClient, built: Built
) -> None:
    by_tag = act(client, "load", repo=REPO, tag="v1")
    by_commit = act(client, "load", repo=REPO, tag=by_tag["commit"])
    assert by_tag == by_commit == two["v1"]
    assert by_tag["kept"] == built.version("v1").rows.tolist()


def test_from_the_cache_only_names_are_asked(
    two: dict[str, Any], client: WarmClient, hub: LoopbackHub
) -> None:
    act(client, "load", repo=REPO, tag="v1")
    hub.requests.clear()
    act(client, "load", repo=REPO, tag="v1")
    assert not [r for r in hub.requests if "/resolve/" in r.path]


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "401": {"kind": "status", "status": 401},
    "404": {"kind": "status", "status": 404},
    "429": {"kind": "status", "status": 429},
    "dropped": {"kind": "drop"},
    "truncated": {"kind": "truncate"},
    "slow": {"kind": "slow", "delay_s": 1.3},
}


@pytest.mark.parametrize("cached", ["v2", "v1", None])
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k == "slow" else k for k in FAULTS]
)
def test_under_a_lasting_fault_nothing_else_is_handed_out(
    two: dict[str, dict[str, Any]],
    client: WarmClient,
    hub: LoopbackHub,
    kind: str,
    cached: str | None,
) -> None:
    """The trap: with v2 in the cache, a failing Hub must not make v1 of it."""
    if cached:
        act(client, "load", repo=REPO, tag=cached)
    hub.fault(times=None, **FAULTS[kind])
    error = refused(client, "load", repo=REPO, tag="v1")
    assert "HubError" in error.kinds
    words = {"401": "401", "500": "500", "503": "503", "404": "404", "429": "429"}
    assert words.get(kind, "no answer") in error.message
    hub.faults.clear()
    assert act(client, "load", repo=REPO, tag="v1") == two["v1"]


@pytest.mark.parametrize(
    "kind", [k if k == "500" else pytest.param(k, marks=pytest.mark.slow) for k in FAULTS]
)
def test_a_fault_at_each_request_gives_the_right_rows_or_an_error(
    two: dict[str, dict[str, Any]], client: WarmClient, hub: LoopbackHub, kind: str
) -> None:
    right = 0
    for nth in itertools.count():
        act(client, "forget")
        act(client, "load", repo=REPO, tag="v2")
        fault = hub.fault(nth=nth, **FAULTS[kind])
        try:
            found = act(client, "load", repo=REPO, tag="v1")
        except ClientError as error:
            told = error
        else:
            assert {**found, "said": []} == two["v1"], f"request {nth}"
            right += fault.fired
            told = None
        if not fault.fired:  # there are no more requests
            break
        assert told is None or "DatapruneError" in told.kinds, f"request {nth}: {told}"
        hub.faults.clear()
    assert nth >= 8
    print(f"{kind}: right rows {right}, an error {nth - right}, other rows 0")
    if kind in {"500", "503", "429", "dropped", "slow"}:
        assert right == nth  # one failure is mended by asking again


def test_a_missing_tag_names_those_there_are(two: dict[str, Any], client: WarmClient) -> None:
    error = refused(client, "load", repo=REPO, tag="v3")
    assert error.kind == "VersionNotFoundError"
    assert "tags: v1, v2" in error.message
    assert refused(client, "load", repo=REPO, tag="prod").kind == "VersionNotFoundError"


def test_a_missing_repository_and_a_private_one_look_alike(
    two: dict[str, Any], client: WarmClient, publish: Publish
) -> None:
    publish("v1", repo="acme/secret", private=True)
    act(client, "set_token", token="")
    for repo in ("acme/secret", "acme/nothing"):
        error = refused(client, "load", repo=repo, tag="v1")
        assert "no such dataset, or this token may not see it" in error.message


def test_a_moved_tag_is_noticed_by_its_manifest(
    two: dict[str, dict[str, Any]], client: WarmClient
) -> None:
    act(client, "move_tag", repo=REPO, tag="v1", to=two["v2"]["commit"])
    error = refused(client, "load", repo=REPO, tag="v1")
    assert error.kind == "VersionError"
    assert "holds v2: the tag was moved" in error.message


def test_a_tag_made_again_is_noticed_by_the_lock_file(
    two: dict[str, dict[str, Any]],
    client: WarmClient,
    publish: Publish,
    built: Built,
    tmp_path: Path,
    hub: LoopbackHub,
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    assert (
        "does not know"
        in refused(client, "load", repo=REPO, tag="v1", lock=lock, locked=True).message
    )
    act(client, "load", repo=REPO, tag="v1", lock=lock)
    pin = json.loads(Path(lock).read_text())["pins"][0]
    assert (pin["repo"], pin["tag"], pin["commit"]) == (REPO, "v1", two["v1"]["commit"])
    assert act(client, "load", repo=REPO, tag="v1", lock=lock, locked=True) == two["v1"]

    other = str(tmp_path / "other")
    act(client, "prune", scores=str(built.scores), name="animals", tag="v1", keep=7, store=other)
    hub.repo(REPO).git.git("update-ref", "-d", "refs/tags/v1")
    act(client, "publish", store=other, name="animals", tag="v1", repo=REPO)
    for locked in (False, True):
        error = refused(client, "load", repo=REPO, tag="v1", lock=lock, locked=locked)
        assert error.kind == "VersionError"
        assert "the tag was moved" in error.message
    commit = two["v1"]["commit"]
    assert act(client, "load", repo=REPO, tag=commit)["rows"] == two["v1"]["rows"]


def test_offline_loads_what_a_lock_file_pins_and_nothing_else(
    two: dict[str, dict[str, Any]], client: WarmClient, hub: LoopbackHub, tmp_path: Path
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    act(client, "load", repo=REPO, tag="v1", lock=lock)
    act(client, "load", repo=REPO, tag="v2")
    act(client, "set_offline", on=True)
    hub.requests.clear()
    assert act(client, "load", repo=REPO, tag="v1", lock=lock) == two["v1"]
    assert act(client, "load", repo=REPO, tag="v1", lock=lock, locked=True) == two["v1"]
    assert "offline mode is on" in refused(client, "load", repo=REPO, tag="v2").message
    act(client, "forget")
    error = refused(client, "load", repo=REPO, tag="v1", lock=lock)
    assert "not in the cache, and offline mode is on" in error.message
    assert not hub.requests


@pytest.mark.parametrize("path", ["data/train-00000-of-00001.parquet", "decisions.parquet"])
def test_a_damaged_file_in_the_cache_is_fetched_anew(
    two: dict[str, dict[str, Any]], client: WarmClient, path: str
) -> None:
    commit = act(client, "load", repo=REPO, tag="v1")["commit"]
    act(client, "damage_cache", repo=REPO, commit=commit, path=path)
    assert act(client, "load", repo=REPO, tag="v1") == two["v1"]


def test_a_damaged_manifest_in_the_cache_is_fetched_anew(
    two: dict[str, dict[str, Any]], client: WarmClient
) -> None:
    commit = act(client, "load", repo=REPO, tag="v1")["commit"]
    act(client, "damage_cache", repo=REPO, commit=commit, path=".dataprune/manifest.json")
    assert act(client, "load", repo=REPO, tag="v1") == two["v1"]


def test_a_damaged_file_is_refused_offline(
    two: dict[str, Any], client: WarmClient, tmp_path: Path
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    commit = act(client, "load", repo=REPO, tag="v1", lock=lock)["commit"]
    for path in ("data/train-00000-of-00001.parquet", ".dataprune/manifest.json"):
        act(client, "set_offline", on=False)
        act(client, "load", repo=REPO, tag="v1", lock=lock)
        act(client, "damage_cache", repo=REPO, commit=commit, path=path)
        act(client, "set_offline", on=True)
        assert refused(client, "load", repo=REPO, tag="v1", lock=lock).kind == "VersionError"


def test_a_version_damaged_on_the_hub_is_refused(
    two: dict[str, Any], client: WarmClient, hub: LoopbackHub, built: Built
) -> None:
    sha256 = hub.tree(REPO, "v1")["decisions.parquet"]
    path = hub.repo(REPO).git.lfs_path(sha256)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    error = refused(client, "load", repo=REPO, tag="v1")
    assert error.kind == "VersionError"
    assert "decisions.parquet of acme/animals@v1 is not the file" in error.message


def test_a_dataset_that_is_no_version_is_said_to_be_one(
    client: WarmClient, hub: LoopbackHub
) -> None:
    act(client, "create_repo", repo=REPO)
    commit = act(client, "commit_files", repo=REPO, files={"a.csv": "x\n1\n"})
    error = refused(client, "load", repo=REPO, tag=commit)
    assert "holds no version of dataprune" in error.message
    hub.repo(REPO).git.git("tag", "v1", commit)
    assert "holds no version" in refused(client, "load", repo=REPO, tag="v1").message


@pytest.mark.parametrize("mangled", ["{", "[]", '{"manifest_version": 99}'])
def test_a_manifest_of_another_kind_is_one_sentence(
    client: WarmClient, hub: LoopbackHub, mangled: str
) -> None:
    act(client, "create_repo", repo=REPO)
    commit = act(client, "commit_files", repo=REPO, files={".dataprune/manifest.json": mangled})
    error = refused(client, "load", repo=REPO, tag=commit)
    assert "is not a manifest that this dataprune reads" in error.message
