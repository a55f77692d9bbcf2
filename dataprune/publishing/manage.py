"""What is done to versions after they were published; none of it changes or deletes one.

A rollback, a retraction and a materialisation make a new version, a yank is a mark beside the
versions, and an alias is a branch: the one kind of name that moves.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import HubError, UsageError
from dataprune.publishing.commit import Change, Copied, Local, bring, read_small
from dataprune.publishing.layout import (
    CARD_PATH,
    MANIFEST_PATH,
    YANKED_PATH,
    read_manifest_at,
    read_yanked,
    render_yanked,
)
from dataprune.publishing.publisher import (
    MAIN,
    Parcel,
    Published,
    card_of,
    deliver,
    publish_version,
)
from dataprune.publishing.remote import Found, find, find_all, load_published, no_such_version
from dataprune.sources._hub import (
    REPO_TYPE,
    RemoteFile,
    api,
    asking,
    check_repo_id,
    fetch,
    patiently,
    refs,
    tree,
)
from dataprune.tables.decisions import read_decisions
from dataprune.tables.manifest import FileEntry, Manifest, ParentRef, is_tag, render_manifest
from dataprune.versions.build import Draft, build_version, draft_fingerprint
from dataprune.versions.derive import materialized, without_rows
from dataprune.versions.load import LoadedVersion, load_version
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import settle_tag, tag_order

_ALIAS = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_COMMIT_LIKE = re.compile(r"[0-9a-f]{7,}")
_MARK, _END_MARK = "<!-- yanked -->", "<!-- /yanked -->"


def rollback(repo: str, tag: str, new: str = "auto") -> Published:
    """Make a new version of an old one's rows: proven here, copied by the Hub, sent by nobody.

    new: its tag; "auto" or a template with {n} takes the next number.

    Raises:
        VersionNotFoundError, VersionExistsError, HubError: as loading and publishing.
    """
    old = find(repo, tag)
    parent = _parent(old, "rollback")
    settled = _settle(repo, new, lambda newest: newest.parents == [parent])
    loaded = load_published(repo, old.commit)
    manifest = loaded.manifest.model_copy(update={"version": settled, "parents": [parent]})
    there = patiently(lambda: tree(repo, old.commit))
    copies = [Copied(f.path, old.commit, there[f.path]) for f in manifest.files]
    card = card_of(replace(loaded, manifest=manifest), repo)
    text = render_manifest(manifest).encode()
    parcel = Parcel(
        manifest, (*copies, Local(MANIFEST_PATH, text)), Local(CARD_PATH, card.encode())
    )
    return deliver(parcel, repo)


def materialize(
    repo: str, tag: str, new: str = "auto", *, source_uri: str | None = None
) -> Published:
    """Make a new version that has the rows of a view, before its source goes.

    source_uri: where the source lies now, if it has moved.

    Raises:
        UsageError: it is no view.
        SourceError, HubError: its source is gone already.
    """
    old = find(repo, tag)
    loaded = load_published(repo, old.commit, source_uri=source_uri)
    return _publish_derived(repo, materialized(loaded, old.manifest.version, _parent(old)), new)


@dataclass(frozen=True)
class Retraction:
    """What `retract` did.

    published: the version without the rows.
    yanked: versions that still hold one of them, now marked.
    copies: rows of the new version that are exact copies of retracted ones, and were left.
    """

    published: Published
    yanked: list[str]
    copies: list[int]


def retract(
    repo: str, tag: str, rows: Sequence[int], *, reason: str, new: str = "auto"
) -> Retraction:
    """Make a version without some rows of the source, and yank every version that keeps one.

    Versions are searched by content, so that those of another revision of the source are found too.
    What was published before stays in the repository's history: this hides, it does not erase.

    Raises:
        UsageError: the source has no such row, or no row would be left.
    """
    old = find(repo, tag)
    loaded = load_published(repo, old.commit)
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    draft = without_rows(loaded, old.manifest.version, _parent(old, "retracted"), wanted)
    hashes = loaded.decisions_table.column("content_hash").to_numpy()
    contents = np.unique(hashes[wanted])
    contents = contents[contents != 0]  # retracted before
    published = _publish_derived(repo, draft, new)
    holding = _versions_that_keep(repo, contents, besides=published.tag)
    marks = {held: {"reason": reason, "use": published.tag} for held in holding}
    if marks:
        _mark(repo, lambda there: there | marks)
    keep = draft.decisions.column("keep").to_numpy(zero_copy_only=False)
    copies = np.flatnonzero(keep & np.isin(hashes, contents)).tolist()
    return Retraction(published, holding, copies)


def yank(repo: str, tag: str, *, reason: str, use: str | None = None) -> None:
    """Mark a version as not to be used; it still loads, with a warning that gives the reason.

    use: the version to use instead.

    Raises:
        VersionNotFoundError: there is no such version.
    """
    names = patiently(lambda: refs(check_repo_id(repo)))
    for named in (tag, use):
        if named is not None and (not is_tag(named) or named not in names.tags):
            raise no_such_version(repo, named, names)
    _mark(repo, lambda there: there | {tag: {"reason": reason, "use": use}})


def unyank(repo: str, tag: str) -> None:
    """Take the mark off a version again.

    Raises:
        UsageError: it has none.
    """

    def without(there: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if tag not in there:
            raise UsageError(f"{repo}@{tag} is not yanked")
        return {name: mark for name, mark in there.items() if name != tag}

    _mark(check_repo_id(repo), without)


def promote(repo: str, tag: str, alias: str) -> str:
    """Let an alias mean a version; returns the commit that the alias leads to.

    An alias is a branch whose files are the version's: `load_dataset(REPO, revision=ALIAS)` works
    too. It moves in one commit, so that it always means one version or the other.

    Raises:
        UsageError: the alias could be taken for a tag or a commit, or is `main`.
        HubError: a branch of that name holds something else.
    """
    taken = alias == MAIN or is_tag(alias) or _COMMIT_LIKE.fullmatch(alias)
    if taken or not _ALIAS.fullmatch(alias) or len(alias) > 63:
        raise UsageError(
            f"{alias!r} is no name for an alias",
            hint="use lower-case words that are not v<N>, such as prod or staging",
        )
    found = find(repo, tag)
    if not is_tag(tag):
        raise UsageError(f"{tag} is no version tag", hint="an alias is given to a tag")
    return patiently(lambda: _promote(repo, found, alias))


def _promote(repo: str, found: Found, alias: str) -> str:
    names = refs(repo)
    wanted = tree(repo, found.commit)
    if alias not in names.branches:
        if alias in names.tags:
            raise UsageError(f"{repo} has a tag {alias}, so no alias can be called that")
        with asking(f"making {alias} of {repo}"):
            api().create_branch(repo, branch=alias, revision=found.commit, repo_type=REPO_TYPE)
        return found.commit
    head = names.branches[alias]

    def change(there: dict[str, RemoteFile]) -> Change:
        if MANIFEST_PATH not in there:
            raise HubError(f"{repo} has a branch {alias} that is no alias of a version")
        copies = [Copied(path, found.commit, file) for path, file in wanted.items()]
        return Change(copies, [path for path in there if path not in wanted])

    return bring(repo, alias, head, change, f"{alias} is {found.manifest.version}")


def _parent(found: Found, relation: str = "materialized") -> ParentRef:
    return ParentRef.model_validate(
        {
            "version": found.manifest.version,
            "manifest_sha256": found.manifest_sha256,
            "relation": relation,
        }
    )


def _settle(repo: str, template: str, is_same: Callable[[Manifest], bool]) -> str:
    """The tag a template stands for; the newest version's, if that is the one wanted."""
    names = patiently(lambda: refs(repo))
    tags = sorted(filter(is_tag, names.tags), key=tag_order)
    return settle_tag(
        template, tags, lambda tag: tag == tags[-1] and is_same(find(repo, tag).manifest)
    )


def _publish_derived(repo: str, draft: Draft, new: str) -> Published:
    """Build a version in a temporary store and publish it."""
    identity = draft_fingerprint(draft)
    tag = _settle(
        repo,
        new,
        lambda newest: (newest.fingerprint, newest.parents) == (identity, list(draft.parents)),
    )
    with tempfile.TemporaryDirectory(prefix="dataprune-") as folder:
        store = LocalStore(Path(folder))
        build_version(store, replace(draft, tag=tag))
        version: LoadedVersion = load_version(store, draft.name, tag, prove_source=False)
        return publish_version(version, repo)


def _versions_that_keep(repo: str, contents: npt.NDArray[Any], *, besides: str) -> list[str]:
    """Tags of versions that keep an example of one of these content hashes."""
    holding = []
    for found in find_all(repo):
        if found.manifest.version == besides:
            continue
        entry = found.manifest.decisions
        table = read_decisions(_fetched(found, entry))
        keep = table.column("keep").to_numpy(zero_copy_only=False)
        if np.isin(table.column("content_hash").to_numpy()[keep], contents).any():
            holding.append(found.manifest.version)
    return holding


def _fetched(found: Found, entry: FileEntry) -> Path:
    return patiently(lambda: fetch(found.repo, found.commit, entry.path, entry.sha256))


def _mark(
    repo: str, change_marks: Callable[[dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]
) -> None:
    """Change the marks on the main branch, and what its card says of the version there."""

    def once() -> str:
        head = refs(repo).branches[MAIN]

        def change(there: dict[str, RemoteFile]) -> Change:
            marks = change_marks(read_yanked(repo, head, there))
            files = [Local(YANKED_PATH, render_yanked(marks))]
            read, card = read_manifest_at(repo, head, there), there.get(CARD_PATH)
            if read is not None and card is not None:
                text = read_small(repo, head, card).decode()
                files.append(Local(CARD_PATH, _said(text, marks.get(read[0].version)).encode()))
            return Change(files)

        return bring(repo, MAIN, head, change, "Mark which versions are yanked")

    patiently(once)


def _said(card: str, mark: dict[str, Any] | None) -> str:
    """A card that says that its version is yanked, or no longer does."""
    text = re.sub(f"{_MARK}.*?{_END_MARK}\n\n", "", card, flags=re.DOTALL)
    if mark is None:
        return text
    use = f" Use `{mark['use']}` instead." if mark.get("use") else ""
    reason = " ".join(str(mark["reason"]).split()).replace("<", "&lt;")
    said = f"{_MARK}\n> **This version is yanked**: {reason}.{use}\n{_END_MARK}\n\n"
    end = text.index("\n---\n", 4) + len("\n---\n")  # of the metadata
    return text[:end] + "\n" + said + text[end:].lstrip("\n")
