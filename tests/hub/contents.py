"""Routes that read a repository: its information, listings, history, and its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

from tests.hub.exchange import (
    HubError,
    Reply,
    Request,
    as_json,
    entry_not_found,
    revision_not_found,
)
from tests.hub.git_repos import Commit, Entry
from tests.hub.state import HostedRepo, HubState

Row = dict[str, Any]

MAX_PATHS = 1000  # the Hub's limit for one paths-info


def commit_of(repo: HostedRepo, rev: str) -> str:
    """The commit of a revision, or 404."""
    commit = repo.git.resolve(rev)
    if commit is None:
        raise revision_not_found(rev)
    return commit


def paged(state: HubState, request: Request, rows: list[Row]) -> Reply:
    """One page of rows, and in Link where the next one is."""
    query = request.query
    start = int(query.get("cursor", ["0"])[0])
    stop = start + min(int(query.get("limit", [state.page_size])[0]), state.page_size)
    headers = {}
    if stop < len(rows):
        again = urlencode({**query, "cursor": [str(stop)]}, doseq=True)
        path = urlsplit(request.target).path
        headers["Link"] = f'<{request.host}{path}?{again}>; rel="next"'
    return as_json(rows[start:stop], headers=headers)


def info(state: HubState, request: Request, repo: HostedRepo, rev: str) -> Reply:
    """What `dataset_info` and `snapshot_download` start from: the commit and its files."""
    commit = repo.git.commit(commit_of(repo, rev))
    fields: Row = {
        "_id": hashlib.sha256(f"{repo.kind}/{repo.id}".encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "tags": ["region:us"],
        "downloads": 0,
        "likes": 0,
        "siblings": [
            _sibling(repo, path, blob, blobs=request.flag("blobs"))
            for path, blob in sorted(repo.git.files(commit.oid).items())
        ],
        "cardData": _card_data(repo, commit.oid),
    }
    wanted = request.query.get("expand")
    if wanted:
        fields = {key: fields[key] for key in ("_id", "id", *wanted) if key in fields}
    return as_json(fields)


def _card_data(repo: HostedRepo, commit: str) -> Any:
    """The metadata at the head of README.md, as the Hub reads it."""
    blob = repo.git.files(commit).get("README.md")
    text = repo.git.read(blob)[1].decode(errors="replace") if blob else ""
    head = text.removeprefix("---\n").partition("\n---")[0] if text.startswith("---\n") else ""
    return yaml.safe_load(head) if head else None


def _sibling(repo: HostedRepo, path: str, blob: str, *, blobs: bool) -> Row:
    row: Row = {"rfilename": path}
    if blobs:
        content = repo.git.read(blob)[1]
        pointer = repo.git.pointer(blob)
        row |= {"size": pointer.size if pointer else len(content), "blobId": blob}
        if pointer:
            lfs = {"sha256": pointer.sha256, "size": pointer.size, "pointerSize": len(content)}
            row["lfs"] = lfs
    return row


def tree(state: HubState, request: Request, repo: HostedRepo, rev: str, path: str) -> Reply:
    """A folder's entries, with all below it when `recursive`."""
    commit = commit_of(repo, rev)
    folder = repo.git.find(commit, path)
    if folder is None or not folder.is_folder:
        raise entry_not_found(f"{path} does not exist on {rev!r}")
    prefix = f"{path}/" if path else ""
    entries = repo.git.list_tree(folder.oid, prefix=prefix, recursive=request.flag("recursive"))
    expand = commit if request.flag("expand") else None
    return paged(state, request, [_row(state, repo, entry, expand) for entry in entries])


def paths_info(state: HubState, request: Request, repo: HostedRepo, rev: str) -> Reply:
    """The same rows for chosen paths; those that are not there are left out."""
    commit = commit_of(repo, rev)
    form = request.form()
    paths = form.get("paths", [])
    if len(paths) > MAX_PATHS:
        raise HubError(413, "too many parameters")
    expand = commit if form.get("expand", [""])[-1].lower() == "true" else None
    found = [repo.git.find(commit, path.strip("/")) for path in paths]
    return as_json([_row(state, repo, entry, expand) for entry in found if entry and entry.path])


def _row(state: HubState, repo: HostedRepo, entry: Entry, expand: str | None) -> Row:
    row: Row = {"type": "directory", "oid": entry.oid, "size": 0, "path": entry.path}
    if not entry.is_folder:
        content = repo.git.read(entry.oid)[1]
        pointer = repo.git.pointer(entry.oid)
        row |= {"type": "file", "size": pointer.size if pointer else len(content)}
        if pointer:
            lfs = {"oid": pointer.sha256, "size": pointer.size, "pointerSize": len(content)}
            row["lfs"] = lfs
            xet_file = state.xet.find(pointer.sha256) if state.xet else None
            if xet_file:
                row["xetHash"] = xet_file.xet_hash
    if expand:
        last = repo.git.last_change(expand, entry)
        row["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.date}
    return row


def commits(state: HubState, request: Request, repo: HostedRepo, rev: str) -> Reply:
    """The history of a revision, newest first."""
    formatted = "formatted" in request.query.get("expand", [])
    history = repo.git.history(commit_of(repo, rev))
    return paged(state, request, [_commit_row(commit, formatted=formatted) for commit in history])


def _commit_row(commit: Commit, *, formatted: bool) -> Row:
    row: Row = {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": commit.author}],
        "date": commit.date,
    }
    if formatted:
        row["formatted"] = {"title": commit.title, "message": commit.message}
    return row


def refs(request: Request, repo: HostedRepo) -> Reply:
    """Branches and tags with their commits."""
    found = repo.git.refs()
    rows: dict[str, list[Row]] = {"converts": []}
    for field, folder, names in [
        ("branches", "heads", found.branches),
        ("tags", "tags", found.tags),
    ]:
        rows[field] = [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit}
            for name, commit in names.items()
        ]
    if request.flag("include_prs"):
        rows["pullRequests"] = []
    return as_json(rows)


def resolve(state: HubState, request: Request, repo: HostedRepo, rev: str, path: str) -> Reply:
    """A file's bytes, or, for a large file on a Hub with a CDN, where they are."""
    commit = commit_of(repo, rev)
    headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
    entry = repo.git.find(commit, path)
    if entry is None or entry.is_folder:
        error = entry_not_found("Entry not found")
        error.headers["X-Repo-Commit"] = commit
        raise error
    headers["ETag"] = f'"{entry.oid}"'
    pointer = repo.git.pointer(entry.oid)
    if pointer is None:
        content = repo.git.read(entry.oid)[1]
        return _ranged(request, headers, len(content), lambda start, stop: content[start:stop])
    sha256 = pointer.sha256
    headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(pointer.size)}
    xet_file = state.xet.find(sha256) if state.xet else None
    if xet_file:
        route = f"/api/{repo.kind}/{repo.id}/xet-read-token/{quote(commit, safe='')}"
        headers["X-Xet-Hash"] = xet_file.xet_hash
        headers["Link"] = f'<{state.endpoint}{route}>; rel="xet-auth"'
    if state.cdn:
        headers["Location"] = state.link(repo, sha256, pointer.size, upload=False)
        return Reply(302, headers)
    return _large_file(state, request, repo, sha256, pointer.size, headers)


def store_get(state: HubState, request: Request, key: str) -> Reply:
    """A large file's bytes by signed URL, as a CDN serves them: no token, no Hub headers."""
    link = state.follow(key)
    if link.upload:
        raise HubError(403, "This link is for an upload")
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{link.sha256}"'}
    return _large_file(state, request, link.repo, link.sha256, link.size, headers)


def _large_file(
    state: HubState,
    request: Request,
    repo: HostedRepo,
    sha256: str,
    size: int,
    headers: dict[str, str],
) -> Reply:
    def read(start: int, stop: int) -> bytes:
        with state.lfs_file(repo, sha256).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return _ranged(request, headers, size, read)


def _ranged(
    request: Request, headers: dict[str, str], size: int, read: Callable[[int, int], bytes]
) -> Reply:
    headers = {"Content-Type": "application/octet-stream", **headers}
    start, stop, status = 0, size, 200
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if asked and any(asked.groups()):
        first, last = asked.groups()
        if first:
            start, stop = int(first), min(int(last) + 1, size) if last else size
        else:
            start = max(size - int(last), 0)
        if start >= stop:
            error = HubError(416, "Range not satisfiable")
            error.headers["Content-Range"] = f"bytes */{size}"
            raise error
        status = 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if request.method == "HEAD":
        return Reply(status, headers, size=stop - start)
    return Reply(status, headers, read(start, stop))
