"""What must not happen: work of others replaced, private things shown, forged versions used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dataprune.sources._places import has_secret, is_on_this_machine
from tests.hub.conftest import Served
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient
from tests.publishing.conftest import REPO, Built, Publish, act, args, refused, tag_ref

CALL = "tests.publishing.actions:"


def test_who_loses_a_race_for_a_tag_gives_main_back(
    hub: LoopbackHub, client: WarmClient, publish: Publish, other: dict[str, str]
) -> None:
    winner = publish("v1")["commit"]
    tag_ref(hub, "v1", None)
    hub.fault("drop", path="/tag/", times=None)
    refused(client, "publish", **other)  # its commit is there, and untagged
    hub.faults.clear()
    assert "was never tagged" in refused(client, "load", repo=REPO, tag="main").message
    tag_ref(hub, "v1", winner)
    error = refused(client, "load", repo=REPO, tag="main")
    assert "holds a v1 that was never tagged" in error.message
    assert refused(client, "publish", **other).kind == "VersionExistsError"
    assert hub.tree(REPO, "main") == hub.tree(REPO, "v1")
    assert act(client, "load", repo=REPO, tag="main")["num_rows"] == 30
    hub.fsck(REPO)


@pytest.mark.slow
def test_two_publishers_of_two_versions_under_one_tag(
    lfs_served: Served, built: Built, other: dict[str, str], tmp_path: Path
) -> None:
    hub, imports = lfs_served.hub, ["tests.publishing.actions"]
    with (
        WarmClient(hub, tmp_path / "a", imports=imports) as a,
        WarmClient(hub, tmp_path / "b", imports=imports) as b,
    ):
        for _ in range(10):
            hub.reset()
            a.start(f"{CALL}publish", **args(built))
            b.start(f"{CALL}publish", **other)
            ended, lost = [], []
            for one in (a, b):
                try:
                    ended.append(one.result()["commit"])
                except ClientError as error:
                    lost.append(error.kind)
            assert lost == ["VersionExistsError"]
            assert list(hub.tags(REPO).values()) == ended
            assert hub.tree(REPO, "main") == hub.tree(REPO, "v1")
            hub.fsck(REPO)


@pytest.mark.slow
def test_six_publishers_at_once_all_end_well(
    lfs_served: Served, built: Built, tmp_path: Path
) -> None:
    hub, clients = lfs_served.hub, []
    hub.reset()
    scores = str(built.scores)
    try:
        for i in range(6):
            one = WarmClient(hub, tmp_path / f"c{i}", imports=["tests.publishing.actions"])
            clients.append(one)
            asked: dict[str, Any] = {"name": "animals", "tag": f"v{i + 1}", "keep": 10 + i}
            store = str(tmp_path / f"store{i}")
            one.call(f"{CALL}prune", scores=scores, store=store, **asked)
        for i, one in enumerate(clients):
            where = {"store": str(tmp_path / f"store{i}"), "repo": REPO}
            one.start(f"{CALL}publish", name="animals", tag=f"v{i + 1}", **where)
        for one in clients:
            one.result()
    finally:
        for one in clients:
            one.kill()
    assert len(hub.tags(REPO)) == 6
    hub.fsck(REPO)


def test_an_older_version_published_late_is_told_to_be_what_main_reads(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built, tmp_path: Path
) -> None:
    publish("v2")
    line = ["publish", "animals", "v1", "--store", str(built.store), "--to", REPO]
    done = act(client, "command", line=line, folder=str(tmp_path))
    assert "has v2 already: its main branch" in done["err"]


def test_visibility_is_checked_even_if_the_repository_appears_meanwhile(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    act(client, "create_repo", repo=REPO)
    hub.fault("status", status=404, path="/refs")
    error = refused(client, "publish", private=True, **args(built))
    assert "is public, and the version should be private" in error.message
    assert hub.tags(REPO) == {}


def test_what_comes_from_a_private_dataset_stays_private_unless_said(
    hub: LoopbackHub, client: WarmClient, tmp_path: Path
) -> None:
    act(client, "publish_dataset", repo="acme/secret", num_rows=40, private=True)
    act(client, "score_and_prune", uri="hf://datasets/acme/secret", folder=str(tmp_path))
    where = {"store": str(tmp_path / "store"), "name": "base", "tag": "v1"}
    assert act(client, "publish", repo=REPO, **where)["private"] is True
    assert hub.repo(REPO).private
    act(client, "create_repo", repo="acme/open")
    error = refused(client, "publish", repo="acme/open", **where)
    assert "is public, and the version should be private" in error.message
    assert act(client, "publish", repo="acme/open", private=False, **where)["private"] is False


@pytest.mark.parametrize("uri", ["/data/x", "x", "file:///data/x", "local://x"])
def test_what_lies_on_this_machine(uri: str) -> None:
    assert is_on_this_machine(uri)
    assert not has_secret(uri)


@pytest.mark.parametrize("uri", ["https://a/x?sig=1", "https://me:pw@a/x", "s3://key@b/x"])
def test_what_holds_a_secret(uri: str) -> None:
    assert has_secret(uri)
    assert not is_on_this_machine(uri)


def test_a_hub_revision_is_no_secret() -> None:
    assert not has_secret("hf://datasets/org/name@main")
    assert not has_secret("s3://bucket/a@b/x.parquet")


def test_a_view_of_files_here_is_not_pushed_and_nothing_is_built(
    hub: LoopbackHub, client: WarmClient, built: Built, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    asked = {"scores": str(built.scores), "name": "a", "tag": "v1", "keep": 5, "view": True}
    error = refused(client, "prune", push=REPO, store=store, **asked)
    assert "nobody else could load it" in error.message
    assert not Path(store).exists()


def test_a_manifest_from_the_hub_does_not_choose_which_address_is_asked(
    hub: LoopbackHub, client: WarmClient, publish: Publish
) -> None:
    commit = publish("v3")["commit"]
    file = {"path": "x.parquet", "sha256": "0" * 64, "bytes": 1, "rows": 1797}
    address = f"{hub.endpoint}/evil.parquet"
    changes = {"source.uri": address, "source.format": "parquet", "source.files": [file]}
    forged = act(client, "forge", repo=REPO, commit=commit, changes=changes)
    error = refused(client, "load", repo=REPO, tag=forged)
    assert "which is not on the Hub" in error.message
    assert not [r for r in hub.requests if "evil" in r.path]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"result.splits.train.files.0.path": "../../../x"}, "inside the version"),
        ({"decisions.path": "/etc/passwd"}, "inside the version"),
        ({"decisions.path": "a\x00b"}, "inside the version"),
        ({"decisions.path": ""}, "inside the version"),
        ({"source.split": "other"}, "split, other"),
        ({"result.splits.train.rows": 31}, "disagree on the rows"),
        ({"reasons": {"kept": 1}}, "not what its decisions say"),
        ({"result.rows_sha256": "0" * 64}, "not those of its decisions"),
        ({"result.splits.train.files.0.sha256": "0" * 64}, "not the file that its manifest names"),
        ({"selection.strategy": "easiest"}, "not what its decisions say"),
    ],
)
def test_a_forged_manifest_is_refused(
    hub: LoopbackHub, client: WarmClient, publish: Publish, changes: dict[str, Any], word: str
) -> None:
    commit = publish("v1")["commit"]
    forged = act(client, "forge", repo=REPO, commit=commit, changes=changes)
    assert word in refused(client, "load", repo=REPO, tag=forged).message


def test_a_file_that_changes_while_it_is_published_is_never_tagged(
    hub: LoopbackHub, client: WarmClient, built: Built, tmp_path: Path
) -> None:
    shutil.copytree(built.store, tmp_path / "store")
    asked = {**args(built), "store": str(tmp_path / "store")}
    error = refused(client, "publish_changed", **asked)
    assert "while it was being published" in error.message
    assert hub.tags(REPO) == {}
    act(client, "publish", **args(built))
    assert act(client, "load", repo=REPO, tag="v1")["num_rows"] == 30


def test_another_datasets_repository_is_left_alone(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v1")
    before = hub.tree(REPO)
    digits = {"store": str(built.store), "name": "digits", "tag": "v3", "repo": REPO}
    error = refused(client, "publish", **digits)
    assert "holds versions of animals, and this is digits" in error.message
    assert hub.tree(REPO) == before


@pytest.mark.parametrize(
    ("card", "taken"),
    [("---\nlicense: mit\n---\n", True), ("---\nlicense: mit\n---\n# Ours\n", False)],
)
def test_a_card_that_says_something_is_not_replaced(
    hub: LoopbackHub, client: WarmClient, built: Built, card: str, *, taken: bool
) -> None:
    act(client, "create_repo", repo=REPO)
    act(client, "commit_files", repo=REPO, files={"README.md": card})
    if taken:
        act(client, "publish", **args(built))
        return
    assert "README.md" in refused(client, "publish", **args(built)).message
    assert hub.repo(REPO).git.git("show", "main:README.md") == card


def test_the_licence_goes_with_what_is_made_of_a_version(
    hub: LoopbackHub, client: WarmClient, publish: Publish
) -> None:
    publish("v1", license="cc-by-4.0")
    act(client, "retract", repo=REPO, tag="v1", rows=[1])
    publish("v4", license="cc-by-4.0")
    act(client, "rollback", repo=REPO, tag="v4")
    for tag in hub.tags(REPO):
        if tag != "v1":
            assert "license: cc-by-4.0" in hub.repo(REPO).git.git("show", f"{tag}:README.md"), tag


def test_a_number_that_is_another_version_on_the_hub_is_passed_over(
    hub: LoopbackHub, client: WarmClient, publish: Publish, other: dict[str, str], built: Built
) -> None:
    publish("v1")
    asked = {"scores": str(built.scores), "name": "animals", "tag": "auto", "keep": 10}
    made = act(client, "prune", store=other["store"], push=REPO, **asked)
    assert made["tag"] == "v2"
    assert made["published"][0]["created"]


def test_lock_files_lose_no_pin_and_know_a_repository_in_any_case(
    hub: LoopbackHub, client: WarmClient, publish: Publish, other: dict[str, str], tmp_path: Path
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    with WarmClient(hub, tmp_path / "b", imports=["tests.publishing.actions"]) as second:
        second.start(f"{CALL}lock_many", lock=lock, first=100, count=40)
        act(client, "lock_many", lock=lock, first=200, count=40)
        second.result()
    assert len(json.loads(Path(lock).read_text())["pins"]) == 80
    publish("v1")
    act(client, "load", repo=REPO, tag="v1", lock=lock)
    act(client, "load", repo="ACME/Animals", tag="v1", lock=lock, locked=True)
    tag_ref(hub, "v1", None)
    act(client, "publish", **other)
    for repo in (REPO, "ACME/Animals"):
        assert "was moved" in refused(client, "load", repo=repo, tag="v1", lock=lock).message


def test_a_hub_that_is_down_is_done_without_where_the_lock_file_proves_the_rest(
    hub: LoopbackHub, client: WarmClient, publish: Publish, tmp_path: Path
) -> None:
    lock = str(tmp_path / "dataprune.lock")
    publish("v1")
    was = act(client, "load", repo=REPO, tag="v1", lock=lock)
    hub.fault("status", status=503, times=None)
    for locked in (False, True):
        now = act(client, "load", repo=REPO, tag="v1", lock=lock, locked=locked)
        assert (now["rows"], now["commit"]) == (was["rows"], was["commit"])
        assert "going on with what the lock file pins" in now["said"][0]
    assert "503" in refused(client, "load", repo=REPO, tag="v1").message
    hub.faults.clear()
    hub.fault("status", status=401, times=None)
    assert "401" in refused(client, "load", repo=REPO, tag="v1", lock=lock).message


def test_a_view_of_a_hub_dataset_loads_offline_once_it_was_loaded(
    hub: LoopbackHub, client: WarmClient, tmp_path: Path
) -> None:
    act(client, "publish_dataset", repo="alice/base", num_rows=40)
    act(client, "score_and_prune", uri="hf://datasets/alice/base", folder=str(tmp_path))
    act(client, "publish", store=str(tmp_path / "store"), name="base", tag="v2", repo=REPO)
    lock = str(tmp_path / "dataprune.lock")
    was = act(client, "load", repo=REPO, tag="v2", fresh=True, lock=lock)
    act(client, "set_offline", on=True)
    hub.requests.clear()
    assert act(client, "load", repo=REPO, tag="v2", lock=lock)["rows"] == was["rows"]
    assert not hub.requests


def test_an_edited_lock_file_is_told_apart_from_a_moved_tag(
    hub: LoopbackHub, client: WarmClient, publish: Publish, tmp_path: Path
) -> None:
    lock = tmp_path / "dataprune.lock"
    publish("v1")
    act(client, "load", repo=REPO, tag="v1", lock=str(lock))
    pin = json.loads(lock.read_text())["pins"][0]
    lock.write_text(lock.read_text().replace(pin["manifest_sha256"], "0" * 64))
    error = refused(client, "load", repo=REPO, tag="v1", lock=str(lock))
    assert "changed by hand" in error.message
    assert "moved" not in error.message


def test_what_is_no_version_name_is_helped_with(
    hub: LoopbackHub, client: WarmClient, publish: Publish
) -> None:
    commit = publish("v1")["commit"]
    act(client, "promote", repo=REPO, tag="v1", alias="prod")
    short = refused(client, "load", repo=REPO, tag=commit[:12]).message
    assert "40 digits" in short
    assert "branches: prod" in short
    pasted = f"https://huggingface.co/datasets/{REPO}"
    assert f"did you mean {REPO}?" in refused(client, "load", repo=pasted, tag="v1").message
