"""The loopback Hub, judged by the real client and by git."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.hub.asking import ask, refused, run
from tests.hub.conftest import Served
from tests.hub.git_repos import GitError
from tests.hub.server import LoopbackHub
from tests.hub.warm_client import WarmClient

REPO = "alice/numbers"
SHARD = "data/train.parquet"
ROWS = 400_000  # about 3 MB


# What a publisher and a reader do, in each mode


def test_published_shard_loads_by_tag(served: Served) -> None:
    """A 3 MB shard comes back equal by load_dataset, a snapshot and HfFileSystem."""
    hub, client = served.hub, served.client
    oid = run(client, "publish", repo=REPO, tag="v1", seed=3, num_rows=ROWS)
    assert hub.tags(REPO) == {"v1": oid}
    assert hub.commits(REPO)[0] == oid
    assert len(hub.commits(REPO)) == 2
    hub.fsck(REPO)

    run(client, "publish", repo=REPO, tag="v2", seed=4, num_rows=10)
    loaded = run(client, "load", repo=REPO, revision="v1", fresh_cache=True)
    numbers = np.random.default_rng(3).normal(size=ROWS)
    assert loaded == hashlib.sha256(numbers.tobytes()).hexdigest()

    files = run(client, "snapshot", repo=REPO, revision="v1", fresh_cache=True)
    assert set(files) == {".gitattributes", "README.md", SHARD}
    assert files[SHARD] == hub.tree(REPO, "v1")[SHARD]

    path = f"datasets/{REPO}@v1/{SHARD}"
    assert run(client, "read_range", path=path, start=0, stop=4) == b"PAR1".hex()
    size = run(client, "describe", repo=REPO, revision="v1")["sizes"][SHARD]
    assert run(client, "read_range", path=path, start=size - 4, stop=size) == b"PAR1".hex()


def test_large_files_are_pointers_in_git(served: Served) -> None:
    """Git holds a pointer; the object lies where git-lfs looks, or in xet."""
    run(served.client, "publish", repo=REPO, tag="v1")
    repo = served.hub.repo(REPO)
    pointer = repo.git.git("cat-file", "blob", f"main:{SHARD}")
    sha256 = served.hub.tree(REPO)[SHARD]
    assert f"oid sha256:{sha256}\n" in pointer
    if not served.hub.xet:
        content = repo.git.lfs_path(sha256).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256


def test_descriptions_agree_over_pages(served: Served) -> None:
    """Information, listing, history and chosen paths name the same files and commits."""
    hub, client = served.hub, served.client
    oid = run(client, "publish", repo=REPO, tag="v1")
    later = run(client, "commit", repo=REPO, texts={"data/more/notes.txt": "more"})
    told = run(client, "describe", repo=REPO)
    assert told["sha"] == told["expanded"] == later
    assert told["exists"]
    assert set(told["sizes"]) == set(hub.tree(REPO))
    assert set(told["tree"]) == {*hub.tree(REPO), "data", "data/more"}
    assert told["commits"] == hub.commits(REPO)
    assert told["chosen"] == ["data", "README.md"]
    assert told["changed"]["README.md"] == oid
    assert told["changed"]["data"] == later
    assert told["xet"] == ([SHARD] if hub.xet else [])


def test_copy_from_a_tag_and_deletions(served: Served) -> None:
    """One commit deletes a folder and brings back a tag's files, without an upload."""
    hub, client = served.hub, served.client
    run(client, "publish", repo=REPO, tag="v1", seed=1)
    before = hub.tree(REPO, "v1")
    run(client, "commit", repo=REPO, shards={"data/a/b.parquet": (2, 50)}, deleted=[SHARD])
    hub.requests.clear()
    copies = [
        {"src_path_in_repo": SHARD, "path_in_repo": "old/train.parquet", "src_revision": "v1"},
        {"src_path_in_repo": "README.md", "path_in_repo": "old/README.md", "src_revision": "v1"},
    ]
    run(client, "commit", repo=REPO, deleted=["data/"], copied=copies)
    after = hub.tree(REPO)
    assert set(after) == {".gitattributes", "README.md", "old/README.md", "old/train.parquet"}
    assert after["old/train.parquet"] == before[SHARD]
    assert after["old/README.md"] == before["README.md"]
    assert not [r for r in hub.requests if r.method == "PUT"]
    hub.fsck(REPO)


def test_same_again_is_no_commit(served: Served) -> None:
    """The client leaves out what is there, and commits nothing when that is all."""
    run(served.client, "publish", repo=REPO, tag="v1")
    head = served.hub.commits(REPO)
    run(served.client, "publish", repo=REPO, tag="v2")
    assert served.hub.commits(REPO) == head
    assert set(served.hub.tags(REPO).values()) == {head[0]}


def test_copy_across_repositories(served: Served) -> None:
    """A shard of another repository is copied with no upload; the client does so by xet only."""
    hub, client = served.hub, served.client
    run(client, "publish", repo=REPO, tag="v1")
    run(client, "create", repo="acme/copy")
    hub.requests.clear()
    copy = {"src_path_in_repo": SHARD, "path_in_repo": SHARD, "src_revision": "v1"}
    source = {"src_repo_id": REPO, "src_repo_type": "dataset"}
    wanted = {"repo": "acme/copy", "copied": [{**copy, **source}]}
    if not hub.xet:
        assert "no xet hash" in refused(client, "commit", **wanted).message
        return
    run(client, "commit", **wanted)
    assert hub.tree("acme/copy")[SHARD] == hub.tree(REPO)[SHARD]
    assert [r.status for r in hub.requests if r.path.endswith("lfs-files/duplicate")] == [200]
    hub.fsck("acme/copy")


# Refusals, by LFS only: they are the same in each mode


def test_stale_parent_is_412(hub: LoopbackHub, client: WarmClient) -> None:
    first = run(client, "publish", repo=REPO, tag="v1")
    second = run(client, "commit", repo=REPO, texts={"a.txt": "a"}, parent_commit=first)
    error = refused(client, "commit", repo=REPO, texts={"b.txt": "b"}, parent_commit=first)
    assert "412" in error.message
    assert hub.commits(REPO)[0] == second
    run(client, "commit", repo=REPO, texts={"b.txt": "b"}, parent_commit=second[:8])


def test_lost_race_is_refused_by_git(hub: LoopbackHub, client: WarmClient) -> None:
    """Whoever moves the branch first wins, whatever the server had read before."""
    run(client, "publish", repo=REPO, tag="v1")
    git = hub.repo(REPO).git
    head, first = hub.commits(REPO)
    assert not git.move_ref("refs/heads/main", new=first, old=first)
    assert git.move_ref("refs/heads/main", new=first, old=head)


def test_commits_at_once_all_land(hub: LoopbackHub, client: WarmClient) -> None:
    """Writers that name no parent are put one after the other; none is overwritten."""
    run(client, "create", repo=REPO)

    def post(number: int) -> int:
        file = {"path": f"{number}.txt", "content": "YQ==", "encoding": "base64"}
        lines = [{"key": "header", "value": {"summary": "s"}}, {"key": "file", "value": file}]
        path = f"/api/datasets/{REPO}/commit/main"
        body = "\n".join(map(json.dumps, lines))
        return ask(hub, "POST", path, body=body, token=hub.token).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(post, range(8))) == {200}
    assert set(hub.tree(REPO)) == {".gitattributes", *(f"{number}.txt" for number in range(8))}
    assert len(hub.commits(REPO)) == 9


def test_unknown_things_have_their_errors(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "publish", repo=REPO, tag="v1")
    missing = refused(client, "commit", repo=REPO, deleted=["no.txt"])
    assert missing.kind == "RemoteEntryNotFoundError"
    on_tag = refused(client, "commit", repo=REPO, texts={"b.txt": "b"}, revision="v1")
    assert on_tag.kind == "RevisionNotFoundError"
    assert refused(client, "describe", repo=REPO, revision="v9").kind == "RevisionNotFoundError"
    assert refused(client, "describe", repo="alice/no").kind == "RepositoryNotFoundError"


def test_commit_of_a_missing_large_file_is_400(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "create", repo=REPO)
    lines = [
        {"key": "header", "value": {"summary": "s"}},
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64}},
    ]
    body = "\n".join(map(json.dumps, lines))
    path = f"/api/datasets/{REPO}/commit/main"
    reply = ask(hub, "POST", path, body=body, token=hub.token)
    assert reply.status == 400
    assert "does not exist" in reply.headers["X-Error-Message"]


def test_tags(hub: LoopbackHub, client: WarmClient) -> None:
    oid = run(client, "publish", repo=REPO, tag="v1")
    again: dict[str, Any] = {"method": "create_tag", "repo": REPO, "tag": "v1", "revision": oid}
    assert "409" in refused(client, "api", **again).message
    run(client, "api", **again, exist_ok=True)
    noted = {**again, "tag": "v2", "revision": oid[:9], "tag_message": "with a message"}
    run(client, "api", **noted)
    assert run(client, "refs", repo=REPO)["tags"] == {"v1": oid, "v2": oid}
    assert hub.repo(REPO).git.git("cat-file", "-t", "v2").strip() == "tag"
    run(client, "api", method="delete_tag", repo=REPO, tag="v2")
    gone = refused(client, "api", method="delete_tag", repo=REPO, tag="v2")
    assert gone.kind == "RevisionNotFoundError"
    assert refused(client, "api", **{**again, "tag": "no..tag"}).kind == "BadRequestError"
    hub.fsck(REPO)


def test_branches(hub: LoopbackHub, client: WarmClient) -> None:
    oid = run(client, "publish", repo=REPO, tag="v1")
    side: dict[str, Any] = {"repo": REPO, "branch": "side/line"}
    run(client, "api", method="create_branch", **side, revision="v1")
    assert "409" in refused(client, "api", method="create_branch", **side).message
    there = run(client, "commit", repo=REPO, texts={"s.txt": "s"}, revision="side/line")
    branches = {"main": oid, "side/line": there}
    assert run(client, "refs", repo=REPO)["branches"] == branches
    run(client, "api", method="delete_branch", **side)
    main = refused(client, "api", method="delete_branch", repo=REPO, branch="main")
    assert "Cannot delete refs/heads/main" in main.message


def test_private_is_hidden(hub: LoopbackHub, client: WarmClient) -> None:
    """Only the owner's token opens it; to others it is not there."""
    run(client, "create", repo=REPO, private=True)
    path = f"/api/datasets/{REPO}"
    for token, status, code in [
        ("", 401, "RepoNotFound"),
        ("hf_wrong", 401, None),
        (hub.token_of("bob"), 404, "RepoNotFound"),
        (hub.token, 200, None),
        (hub.token_of("alice", can_write=False), 200, None),
    ]:
        reply = ask(hub, "GET", path, token=token)
        assert reply.status == status
        assert reply.headers.get("X-Error-Code") == code
        assert (reply.headers.get("X-Error-Message") is None) == (status == 200)
    stranger = {"repo": REPO, "revision": "main", "token": hub.token_of("bob")}
    hidden = refused(client, "snapshot", **stranger, fresh_cache=True)
    assert "RepositoryNotFoundError" in hidden.trace


def test_writing_needs_the_right(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "create", repo=REPO)
    for token in (hub.token_of("bob"), hub.token_of("alice", can_write=False)):
        error = refused(client, "commit", repo=REPO, texts={"a.txt": "a"}, token=token)
        assert "403" in error.message
    assert run(client, "create", repo="acme/set") == f"{hub.endpoint}/datasets/acme/set"
    assert "403" in refused(client, "create", repo="acme/x", token=hub.token_of("bob")).message


def test_repositories_are_made_once_and_deleted(hub: LoopbackHub, client: WarmClient) -> None:
    url = run(client, "create", repo=REPO)
    assert "409" in refused(client, "create", repo=REPO).message
    assert run(client, "create", repo="alice/Numbers", exist_ok=True) == url
    path = hub.repo_path(REPO)
    run(client, "delete", repo=REPO)
    assert not path.exists()
    assert refused(client, "describe", repo=REPO).kind == "RepositoryNotFoundError"


def test_fsck_tells_damage(hub: LoopbackHub, client: WarmClient) -> None:
    run(client, "publish", repo=REPO, tag="v1")
    lost = hub.repo(REPO).git.lfs_path(hub.tree(REPO)[SHARD])
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(AssertionError, match="not"):
        hub.fsck(REPO)
    lost.write_bytes(content)
    blob = hub.tree(REPO)["README.md"]
    loose = hub.repo_path(REPO) / "objects" / blob[:2] / blob[2:]
    loose.unlink()
    with pytest.raises(GitError, match="missing blob"):
        hub.fsck(REPO)


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("", 200, slice(None)),
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-8", 206, slice(-8, None)),
        ("bytes=5-99999999", 206, slice(5, None)),
        ("bytes=99999999-", 416, None),
    ],
)
def test_ranges(
    hub: LoopbackHub, client: WarmClient, asked: str, status: int, part: slice | None
) -> None:
    run(client, "publish", repo=REPO, tag="v1", num_rows=100)
    sha256 = hub.tree(REPO)[SHARD]
    content = hub.repo(REPO).git.lfs_path(sha256).read_bytes()
    reply = ask(hub, "GET", f"/datasets/{REPO}/resolve/v1/{SHARD}", Range=asked)
    assert reply.status == status
    if part is None:
        assert reply.headers.get("Content-Range") == f"bytes */{len(content)}"
    else:
        assert reply.body == content[part]
        assert reply.headers.get("X-Linked-Etag") == f'"{sha256}"'
        assert reply.headers.get("X-Repo-Commit") == hub.tags(REPO)["v1"]


# Modes


def test_cdn_gets_no_token_and_parts_are_sent(served: Served) -> None:
    """The object store sees no token; in the mode of parts a shard is several PUTs."""
    hub = served.hub
    run(served.client, "publish", repo=REPO, tag="v1", num_rows=ROWS)
    run(served.client, "snapshot", repo=REPO, revision="v1", fresh_cache=True)
    store = [r for r in hub.requests if r.path.startswith("/store/")]
    puts = [r for r in store if r.method == "PUT"]
    assert len(puts) == (0 if hub.xet else 4 if hub.state.cdn else 1)
    assert not any(r.authorized for r in puts)
    downloads = [r for r in store if r.method == "GET"]
    assert len(downloads) == (1 if hub.state.cdn else 0)
    assert not any(r.authorized for r in downloads)
