"""Routes that change a repository's files: preupload, the LFS protocol, commits, tokens of xet."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from math import ceil
from typing import Any

from tests.hub.contents import commit_of
from tests.hub.exchange import (
    HubError,
    Reply,
    Request,
    as_json,
    entry_not_found,
    revision_not_found,
)
from tests.hub.git_repos import Pointer, matches
from tests.hub.state import HostedRepo, HubState

REGULAR_LIMIT_BYTES = 10 << 20
_CONFLICT = "The branch was updated since you opened this page, please refresh and try again."


def preupload(request: Request, repo: HostedRepo, rev: str) -> Reply:
    """How each file is to be sent, and what the path holds now: clients skip what is the same."""
    commit = commit_of(repo, rev)
    patterns = repo.git.lfs_patterns(commit)
    there = repo.git.files(commit)
    rows = []
    for file in request.json()["files"]:
        path = file["path"]
        large = file["size"] > REGULAR_LIMIT_BYTES or any(matches(path, p) for p in patterns)
        blob = there.get(path)
        pointer = repo.git.pointer(blob) if blob else None
        row = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        rows.append({**row, "oid": pointer.sha256 if pointer else blob})
    return as_json({"files": rows, "commitOid": commit})


def lfs_batch(state: HubState, request: Request, repo: HostedRepo) -> Reply:
    """Where to put each large file; none for those that are already there."""
    asked = request.json()
    if asked.get("operation") != "upload":
        raise HubError(400, "This loopback Hub serves LFS uploads only")
    rows = []
    transfer = "basic"
    for item in asked["objects"]:
        oid, size = item["oid"], item["size"]
        row: dict[str, Any] = {"oid": oid, "size": size}
        if state.lfs_size(repo, oid) is None:
            href = state.link(repo, oid, size, upload=True)
            upload: dict[str, Any] = {"href": href}
            part = state.multipart_bytes
            if part is not None and size > part and "multipart" in asked["transfers"]:
                transfer = "multipart"
                numbers = range(1, ceil(size / part) + 1)
                upload["header"] = {
                    "chunk_size": str(part),
                    **{f"{n:05}": f"{href}/{n}" for n in numbers},
                }
                upload["href"] = f"{state.endpoint}/store/{href.rpartition('/')[2]}/complete"
            verify = f"{state.endpoint}/{repo.web_path}.git/info/lfs/verify"
            row["actions"] = {"upload": upload, "verify": {"href": verify}}
        rows.append(row)
    return as_json({"transfer": transfer, "objects": rows})


def lfs_verify(state: HubState, request: Request, repo: HostedRepo) -> Reply:
    """Whether an upload has arrived whole."""
    item = request.json()
    if state.lfs_size(repo, item["oid"]) != item["size"]:
        raise HubError(404, f"LFS object {item['oid']} of {item['size']} bytes is not there")
    return as_json({"message": "ok"})


def store_put(state: HubState, request: Request, key: str) -> Reply:
    """One whole upload by signed URL."""
    state.follow(key).finish(request.body)
    return Reply(200, {"ETag": f'"{hashlib.sha256(request.body).hexdigest()[:32]}"'})


def store_part(state: HubState, request: Request, key: str, number: str) -> Reply:
    """One part of an upload; its ETag is asked for at the end."""
    state.follow(key).parts[int(number)] = request.body
    return Reply(200, {"ETag": _part_etag(request.body)})


def store_complete(state: HubState, request: Request, key: str) -> Reply:
    """Put the parts of an upload together."""
    link = state.follow(key)
    listed = {part["partNumber"]: part["etag"] for part in request.json()["parts"]}
    if listed != {number: _part_etag(body) for number, body in link.parts.items()}:
        raise HubError(400, "The parts listed are not the parts received")
    link.finish(b"".join(link.parts[number] for number in sorted(link.parts)))
    return as_json({"success": True})


def _part_etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def xet_token(state: HubState, *, write: bool) -> Reply:
    """Where the xet client finds its storage: a local folder, in place of a server."""
    if state.xet is None:
        raise HubError(404, "Xet is not enabled on this Hub")
    expires = int(time.time()) + 3600
    cas_url = state.xet.write_url() if write else state.xet.read_url()
    fields = {"accessToken": "xet-loopback", "exp": expires, "casUrl": cas_url}
    headers = {
        "X-Xet-Cas-Url": cas_url,
        "X-Xet-Access-Token": "xet-loopback",
        "X-Xet-Token-Expiration": str(expires),
    }
    return as_json(fields, headers=headers)


def duplicate(state: HubState, request: Request, repo: HostedRepo) -> Reply:
    """Let another repository use this one's large files, ahead of a commit that copies them."""
    asked = request.json()
    target = state.open(request, f"{asked['target']['type']}s", asked["target"]["name"], write=True)
    done, failed = [], []
    for file in asked["files"]:
        row = {"sha256": file["sha256"], "xetHash": file["xetHash"]}
        if state.lfs_size(repo, file["sha256"]) is None:
            failed.append({**row, "error": "File not found"})
            continue
        if state.lfs_size(target, file["sha256"]) is None:
            content = state.lfs_file(repo, file["sha256"]).read_bytes()
            target.git.store_lfs(file["sha256"], content)
        done.append(row)
    return as_json({"success": done, "failed": failed})


def commit(state: HubState, request: Request, repo: HostedRepo, rev: str) -> Reply:
    """One commit of file operations on a branch; git's compare-and-swap decides who was first."""
    if request.flag("create_pr"):
        raise HubError(400, "This loopback Hub serves no pull requests")
    author = state.writer(request, repo.owner).user
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    if not lines or lines[0]["key"] != "header":
        raise HubError(400, "The first line of a commit is its header")
    header = lines[0]["value"]
    message = f"{header['summary']}\n\n{header.get('description') or ''}"
    while True:
        head = repo.git.refs().branches.get(rev)
        if head is None:
            raise revision_not_found(rev)
        parent = header.get("parentCommit")
        if parent is not None and repo.git.resolve(parent) != head:
            raise HubError(412, _CONFLICT)
        files = repo.git.files(head)
        before = dict(files)
        for line in lines[1:]:
            _apply(state, repo, files, line["key"], line["value"])
        if files == before:
            return _committed(state, repo, head)
        oid = repo.git.write_commit(files, parent=head, message=message, author=author)
        if repo.git.move_ref(f"refs/heads/{rev}", new=oid, old=head):
            return _committed(state, repo, oid)


def _committed(state: HubState, repo: HostedRepo, oid: str) -> Reply:
    url = f"{state.endpoint}/{repo.web_path}/commit/{oid}"
    return as_json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})


def _apply(
    state: HubState, repo: HostedRepo, files: dict[str, str], key: str, value: dict[str, Any]
) -> None:
    path = value["path"].strip("/")
    if path.startswith("..") or {"", ".", "..", ".git"} & set(path.split("/")):
        raise HubError(422, f"Invalid path: {value['path']!r}")
    match key:
        case "file":
            content = base64.b64decode(value["content"])
            _add(files, path, repo.git.write_blob(content))
        case "lfsFile":
            size = state.lfs_size(repo, value["oid"])
            if size is None or size != value.get("size", size):
                message = "Your push was rejected because an LFS pointer pointed to a file"
                raise HubError(400, f"{message} that does not exist. {path}: {value['oid']}")
            _add(files, path, repo.git.write_blob(Pointer(value["oid"], size).blob()))
        case "deletedFile" | "deletedFolder":
            gone = [name for name in files if name == path or name.startswith(f"{path}/")]
            if not gone:
                raise entry_not_found(f"A file with this name doesn't exist: {path}")
            for name in gone:
                del files[name]
        case _:
            raise HubError(400, f"Unknown operation in a commit: {key!r}")


def _add(files: dict[str, str], path: str, blob: str) -> None:
    above = {path[:at] for at in _slashes(path)}
    if above & files.keys() or any(name.startswith(f"{path}/") for name in files):
        raise HubError(400, f"{path} would be a file and a folder at once")
    files[path] = blob


def _slashes(path: str) -> Iterator[int]:
    return (at for at, letter in enumerate(path) if letter == "/")
