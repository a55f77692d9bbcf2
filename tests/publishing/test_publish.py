"""A version on the Hub: whole, tagged, the same bytes whoever publishes it and however often."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.hub.conftest import Served
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient
from tests.publishing.conftest import REPO, Built, Publish, act, refused


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_version_is_one_commit_with_its_tag_on_it(
    hub: LoopbackHub, publish: Publish, built: Built
) -> None:
    made = publish("v1")
    assert made["created"]
    assert hub.tags(REPO) == {"v1": made["commit"]}
    assert len(hub.commits(REPO)) == 2  # the Hub's own first one, and ours
    there = hub.tree(REPO, "v1")
    assert {p: there[p] for p in built.files("v1")} == {
        p: digest(f) for p, f in built.files("v1").items()
    }
    others = set(there) - set(built.files("v1"))
    assert others == {".gitattributes", ".dataprune/manifest.json", "README.md"}
    hub.fsck(REPO)


def test_publishing_again_finds_it_with_two_requests(hub: LoopbackHub, publish: Publish) -> None:
    first = publish("v1")
    hub.requests.clear()
    again = publish("v1")
    assert (again["created"], again["commit"]) == (False, first["commit"])
    assert [r.method for r in hub.requests] == ["GET", "GET"]
    assert len(hub.commits(REPO)) == 2


def test_each_version_replaces_what_the_one_before_owned_and_nothing_else(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v4")  # fifteen shards
    act(client, "commit_files", repo=REPO, files={"notes/about.md": "ours", "data/own.txt": "x"})
    made = publish("v1")
    there = hub.tree(REPO, made["commit"])
    assert [p for p in there if p.endswith(".parquet")] == sorted(built.files("v1"))
    assert {"notes/about.md", "data/own.txt"} <= set(there)
    assert [p for p in hub.tree(REPO, "v4") if p.startswith("data/")] == [
        p for p in sorted(built.files("v4")) if p.startswith("data/")
    ]
    hub.fsck(REPO)


def test_shards_that_are_there_are_not_sent_again(hub: LoopbackHub, publish: Publish) -> None:
    publish("v1")
    hub.requests.clear()
    publish("v1-control")
    sent = sum(r.bytes_in for r in hub.requests if r.method == "PUT")
    control = publish("v1-control")
    assert not control["created"]
    assert 0 < sent < 40_000  # its data and decisions: the score table was there


def test_a_tag_that_is_taken_by_another_version_is_refused(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built, tmp_path: Path
) -> None:
    first = publish("v1")
    other = act(
        client, "prune", scores=str(built.scores), name="animals", tag="v1", keep=10,
        store=str(tmp_path / "other"),
    )  # fmt: skip
    assert other["created"]
    store = str(tmp_path / "other")
    error = refused(client, "publish", store=store, name="animals", tag="v1", repo=REPO)
    assert error.kind == "VersionExistsError"
    assert "use another tag, such as v2" in error.message
    assert hub.tags(REPO) == {"v1": first["commit"]}
    assert len(hub.commits(REPO)) == 2


def test_a_tag_by_hand_is_never_taken_for_the_version(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    act(client, "create_repo", repo=REPO)
    act(client, "commit_files", repo=REPO, files={"notes.md": "mine"})
    hub.repo(REPO).git.git("tag", "v1", "main")
    error = refused(client, "publish", store=str(built.store), name="animals", tag="v1", repo=REPO)
    assert error.kind == "VersionExistsError"
    assert "holds no version" in error.message


def test_a_tag_may_not_be_a_branch(hub: LoopbackHub, client: WarmClient, built: Built) -> None:
    act(client, "create_repo", repo=REPO)
    act(client, "branch", repo=REPO, name="v1", revision="main")
    error = refused(client, "publish", store=str(built.store), name="animals", tag="v1", repo=REPO)
    assert "is the name of a branch" in error.message
    assert hub.tags(REPO) == {}


def test_a_repository_of_somebody_elses_files_is_left_alone(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    act(client, "create_repo", repo=REPO)
    act(client, "commit_files", repo=REPO, files={"train.csv": "a\n1\n"})
    before = hub.tree(REPO)
    error = refused(client, "publish", store=str(built.store), name="animals", tag="v1", repo=REPO)
    assert "train.csv" in error.message
    assert hub.tree(REPO) == before


def test_private_and_public(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v1", private=True)
    assert hub.repo(REPO).private
    publish("v1", private=True)  # as it is: fine
    args = {"store": str(built.store), "name": "animals", "tag": "v1", "repo": REPO}
    error = refused(client, "publish", private=False, **args)
    assert "acme/animals is private, and the version should be public" in error.message


def test_a_view_of_files_on_this_machine_is_refused(
    client: WarmClient, hub: LoopbackHub, built: Built, tmp_path: Path
) -> None:
    store = str(tmp_path / "views")
    act(
        client,
        "prune",
        scores=str(built.scores),
        name="a",
        tag="v1",
        keep=5,
        view=True,
        store=store,
    )
    error = refused(client, "publish", store=store, name="a", tag="v1", repo=REPO)
    assert error.kind == "UsageError"
    assert "versions materialize" in error.message
    assert not hub.requests


def test_a_view_is_its_decisions_and_loads_from_its_source(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    publish("v3")
    assert not [p for p in hub.tree(REPO, "v3") if p.startswith("data/")]
    found = act(client, "load", repo=REPO, tag="v3", fresh=True)
    local = built.version("v3")
    assert found["kept"] == local.rows.tolist()
    assert found["num_rows"] == len(local)


def test_wrong_names_are_refused_before_anything_is_asked(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    for repo in ("animals", "a/b/c", "acme/", "acme/ani mals", "-/x"):
        error = refused(
            client, "publish", store=str(built.store), name="animals", tag="v1", repo=repo
        )
        assert error.kind == "UsageError", repo
    assert not hub.requests


def test_the_token_decides_and_is_never_shown(
    hub: LoopbackHub, client: WarmClient, built: Built
) -> None:
    args = {"store": str(built.store), "name": "animals", "tag": "v1", "repo": REPO}
    for token, word in (
        ("", "HF_TOKEN"),
        ("hf_wrongwrongwrong", "refused (401)"),
        (hub.token_of("alice", can_write=False), "may not do this (403)"),
        (hub.token_of("bob"), "may not do this (403)"),
    ):
        act(client, "set_token", token=token)
        error = refused(client, "publish", **args)
        assert word in error.message, (token, error.message)
        assert not token or token not in error.message + client.stderr()


def test_manifest_and_files_have_no_clock_and_no_machine_in_them(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built
) -> None:
    first = publish("v1")
    second = publish("v1", repo="alice/copy")
    same = hub.tree(REPO, "v1")
    other = hub.tree("alice/copy", "v1")
    assert {p: h for p, h in same.items() if p != "README.md"} == {
        p: h for p, h in other.items() if p != "README.md"
    }
    assert first["manifest_sha256"] == second["manifest_sha256"]


def test_pushing_while_pruning_numbers_the_version_once(
    hub: LoopbackHub, client: WarmClient, built: Built, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "scores": str(built.scores), "name": "animals", "tag": "auto", "push": REPO,
    }  # fmt: skip
    first = act(client, "prune", keep=20, control=True, store=str(tmp_path / "a"), **asked)
    assert [p["tag"] for p in first["published"]] == ["v1-control", "v1"]
    assert hub.tree(REPO, "main") == hub.tree(REPO, "v1"), (
        "no control is what is read without a tag"
    )
    second = act(client, "prune", keep=15, store=str(tmp_path / "a"), **asked)
    assert second["tag"] == "v2"
    again = act(client, "prune", keep=20, store=str(tmp_path / "another machine"), **asked)
    assert (again["tag"], [p["created"] for p in again["published"]]) == ("v1", [False])
    named = {**asked, "tag": "v{n}-random"}
    assert act(client, "prune", keep=9, store=str(tmp_path / "a"), **named)["tag"] == "v3-random"
    assert sorted(hub.tags(REPO)) == ["v1", "v1-control", "v2", "v3-random"]
    hub.fsck(REPO)


def test_pushing_needs_a_place_and_says_so_before_building(
    client: WarmClient, hub: LoopbackHub, built: Built, tmp_path: Path
) -> None:
    asked = {"scores": str(built.scores), "name": "a", "tag": "v1", "keep": 5}
    error = refused(client, "prune", push="", store=str(tmp_path / "s"), **asked)
    assert "does not say where to push" in error.message
    assert not (tmp_path / "s").exists()


def test_other_tools_read_the_same_rows(served: Served, built: Built) -> None:
    act(served.client, "publish", store=str(built.store), name="animals", tag="v1", repo=REPO)
    ours = act(served.client, "load", repo=REPO, tag="v1", fresh=True)
    theirs = act(served.client, "plain_datasets", repo=REPO, tag="v1")
    assert ours["num_rows"] == theirs["num_rows"] == 30
    assert (
        ours["rows"]
        == theirs["rows"]
        == act(served.client, "plain_polars", repo=REPO, tag="v1")["rows"]
    )
    assert theirs["features"]["image"] == "Image"
    assert theirs["class_names"] == {"label": ["cat", "dog", "owl"]}
    for config, rows in (("decisions", 60), ("scores", 60)):
        found = act(served.client, "plain_datasets", repo=REPO, tag="v1", config=config)
        assert found["num_rows"] == rows
    assert act(served.client, "streamed", repo=REPO, tag="v1") == 30


def test_the_card_lists_every_shard_and_the_rows(
    hub: LoopbackHub, publish: Publish, built: Built
) -> None:
    publish("v4")
    git = hub.repo(REPO).git
    text = git.git("show", "v4:README.md")
    for path in built.files("v4"):
        assert path in text
    manifest = json.loads(git.git("show", "v4:.dataprune/manifest.json"))
    assert manifest["result"]["order"] == "score"


def test_a_version_of_a_hub_dataset_inherits_its_licence_and_names_it(
    hub: LoopbackHub, client: WarmClient, tmp_path: Path
) -> None:
    act(client, "publish_dataset", repo="alice/base", num_rows=40)
    made = act(client, "score_and_prune", uri="hf://datasets/alice/base", folder=str(tmp_path))
    assert made["uri"] == f"hf://datasets/alice/base@{hub.commits('alice/base')[0]}"
    args = {"store": str(tmp_path / "store"), "name": "base", "repo": REPO}
    act(client, "publish", tag="v1", **args)
    card = hub.repo(REPO).git.git("show", "v1:README.md")
    assert "license: cc-by-4.0" in card
    assert "source_datasets:\n- alice/base" in card
    error = refused(client, "publish", tag="v2", license="mit", **args)
    assert "the source's licence is cc-by-4.0, and --license says mit" in error.message

    act(client, "publish", tag="v2", **args)  # a view
    assert not [p for p in hub.tree(REPO, "v2") if p.startswith("data/")]
    hub.requests.clear()
    rows = act(client, "load", repo=REPO, tag="v1", fresh=True)
    view = act(client, "load", repo=REPO, tag="v2", fresh=True)
    assert rows["rows"] == view["rows"]
    act(client, "delete_repo", repo="alice/base")
    for action in ("load", "materialize"):
        act(client, "forget")
        error = refused(client, action, repo=REPO, tag="v2")
        assert "alice/base" in error.message
        assert "no such dataset" in error.message
