"""Rows that were asked to be erased and versions not to be used, whatever was done by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient
from tests.publishing.conftest import REPO, Built, Publish, act, refused, tag_ref


def test_retraction_reaches_the_versions_it_can_and_names_those_it_cannot(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built, tmp_path: Path
) -> None:
    commit = publish("v1")["commit"]
    forged = act(client, "forge", repo=REPO, commit=commit, changes={"manifest_version": 9})
    tag_ref(hub, "v0", forged)
    act(client, "promote", repo=REPO, tag="v1", alias="prod")
    row = int(built.version("v1").rows[0])
    act(client, "commit_files", repo=REPO, files={".dataprune/manifest.json": json.dumps(
        json.loads(hub.repo(REPO).git.git("show", "v1:.dataprune/manifest.json")), indent=2,
        sort_keys=True, ensure_ascii=False) + "\n"})  # fmt: skip
    line = ["retract", REPO, "v1", "--rows", str(row), "--reason", "asked to"]
    done = act(client, "command", line=line, folder=str(tmp_path))
    assert done["code"] == 3, done
    assert "what v0 holds is not known" in done["err"]
    assert "alias prod still means v1" in done["err"]
    assert "yanked v1" in done["err"]


def test_retracted_rows_that_come_back_are_told(
    hub: LoopbackHub, client: WarmClient, publish: Publish, built: Built, tmp_path: Path
) -> None:
    publish("v1")
    row = next(r for r in built.version("v1").rows.tolist() if r in built.version("v2").rows)
    act(client, "retract", repo=REPO, tag="v1", rows=[row])
    line = ["publish", "animals", "v4", "--store", str(built.store), "--to", REPO]
    done = act(client, "command", line=line, folder=str(tmp_path))
    assert f"dataprune retract {REPO} v4 --rows {row}" in done["err"]
    for action, more in (("rollback", {}), ("promote", {"alias": "prod"})):
        assert "was yanked" in refused(client, action, repo=REPO, tag="v1", **more).message
    act(client, "retract", repo=REPO, tag="v4", rows=[row, 0], reason="another")
    mark = act(client, "listed", repo=REPO)["yanked"]["v1"]
    assert mark["reason"] == "asked to; another"
    assert mark["retracted"] == sorted({row, 0})


@pytest.mark.parametrize(("rows", "reason"), [([10**30], "x"), ([0], " ")])
def test_retraction_of_nonsense(
    hub: LoopbackHub, client: WarmClient, publish: Publish, rows: list[int], reason: str
) -> None:
    publish("v1")
    error = refused(client, "retract", repo=REPO, tag="v1", rows=rows, reason=reason)
    assert error.kind == "UsageError"
    assert list(hub.tags(REPO)) == ["v1"]


def test_only_versions_are_yanked(hub: LoopbackHub, client: WarmClient, publish: Publish) -> None:
    publish("v1")
    error = refused(client, "yank", repo=REPO, tag="v1", reason="x", use="v1")
    assert "instead of itself" in error.message
    act(client, "create_repo", repo="acme/plain")
    act(client, "commit_files", repo="acme/plain", files={"a.csv": "x\n1\n"})
    hub.repo("acme/plain").git.git("tag", "v1", "main")
    before = hub.commits("acme/plain")
    assert (
        "holds no version"
        in refused(client, "yank", repo="acme/plain", tag="v1", reason="x").message
    )
    assert hub.commits("acme/plain") == before


@pytest.mark.parametrize("card", ["no metadata", "---\r\na: 1\r\n---\r\ntext\r\n", ""])
def test_a_version_is_yanked_whatever_its_card_has_become(
    hub: LoopbackHub, client: WarmClient, publish: Publish, card: str
) -> None:
    publish("v1")
    hub.repo(REPO)  # there
    act(client, "commit_bytes", repo=REPO, path="README.md", text=card)
    act(client, "yank", repo=REPO, tag="v1", reason="[bad](http://evil) \x1b[31mred")
    shown = hub.repo(REPO).git.git("show", "main:README.md")
    assert "This version is yanked" in shown
    assert "](http" not in shown
    said = act(client, "load", repo=REPO, tag="v1")["said"][0]
    assert "\x1b" not in said
    act(client, "unyank", repo=REPO, tag="v1")
    assert "yanked" not in hub.repo(REPO).git.git("show", "main:README.md")


@pytest.mark.parametrize("marks", ["[]", '{"v1": "bad"}', '{"v1": {}}', "{"])
def test_marks_that_cannot_be_read_do_not_stop_loading_and_are_not_overwritten(
    hub: LoopbackHub, client: WarmClient, publish: Publish, marks: str
) -> None:
    publish("v1")
    act(client, "commit_files", repo=REPO, files={".dataprune/yanked.json": marks})
    assert "is not known" in act(client, "load", repo=REPO, tag="v1")["said"][0]
    refused(client, "yank", repo=REPO, tag="v1", reason="x")
    assert hub.repo(REPO).git.git("show", "main:.dataprune/yanked.json") == marks
