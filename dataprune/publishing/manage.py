"""What is done to versions after they were published; none of it changes or deletes one.

A rollback, a retraction and a materialisation make a new version, a yank is a mark beside the
versions, and an alias is a branch: the one kind of name that moves.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import HubError, UsageError, VersionExistsError
from dataprune.publishing.commit import Change, Copied, Local, bring, read_small
from dataprune.publishing.found import (
    Found,
    aliases_of,
    at_commit,
    find,
    find_all,
    no_such_version,
    told,
    yanked,
)
from dataprune.publishing.layout import (
    CARD_PATH,
    MANIFEST_PATH,
    YANKED_PATH,
    read_manifest_at,
    read_yanked,
    render_yanked,
)
from dataprune.publishing.markdown import code, escaped
from dataprune.publishing.publisher import (
    MAIN,
    Parcel,
    Published,
    card_of,
    deliver,
    publish_version,
)
from dataprune.publishing.remote import load_published
from dataprune.sources._hub import (
    REPO_TYPE,
    RemoteFile,
    api,
    asking,
    check_repo_id,
    fetch,
    is_private,
    patiently,
    refs,
    resolve,
    tree,
)
from dataprune.tables.decisions import read_decisions
from dataprune.tables.manifest import Manifest, ParentRef, is_tag
from dataprune.tables.yanked import Mark, Marks
from dataprune.versions.build import Draft, build_version, draft_fingerprint
from dataprune.versions.derive import materialized, without_rows
from dataprune.versions.load import load_version
from dataprune.versions.store import LocalStore
from dataprune.versions.tags import is_template, settle_tag, tag_order

log = logging.getLogger("dataprune")

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
    _refuse_yanked(old)
    parent = _parent(old, "rollback")
    settled = _settle(repo, new, lambda newest: newest.parents == [parent])
    loaded = load_published(repo, old.commit)
    manifest = loaded.manifest.model_copy(update={"version": settled, "parents": [parent]})
    there = patiently(lambda: tree(repo, old.commit))
    copies = [Copied(f.path, old.commit, there[f.path]) for f in manifest.files]
    card = card_of(replace(loaded, manifest=manifest), repo, _licence(old))
    card_file = Local.text(CARD_PATH, card.encode())
    parcel = Parcel(manifest, tuple(copies), card_file, loaded.rows)
    return deliver(parcel, repo, private=_shown(repo))


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
    draft = materialized(loaded, old.manifest.version, _parent(old))
    return _publish_derived(old, draft, new)


@dataclass(frozen=True)
class Retraction:
    """What `retract` did.

    published: the version without the rows.
    yanked: versions that still hold one of them, now marked.
    aliases: {alias: tag} of those that mean such a version.
    copies: rows of the new version that are exact copies of retracted ones, and were left.
    unread: tags of which the manifest cannot be read, so that nobody knows what they hold.
    """

    published: Published
    yanked: list[str]
    aliases: dict[str, str]
    copies: list[int]
    unread: list[str]


def retract(
    repo: str, tag: str, rows: Sequence[int], *, reason: str, new: str = "auto"
) -> Retraction:
    """Make a version without some rows of the source, and yank every version that keeps one.

    Versions are searched by content, so that those of another revision of the source are found too.
    What was published before stays in the repository's history: this hides, it does not erase.

    Raises:
        UsageError: no reason, the source has no such row, or no row would be left.
    """
    mark = _mark_for(reason, None)
    old = find(repo, tag)
    loaded = load_published(repo, old.commit)
    total = loaded.manifest.selection.rows_in
    if bad := [row for row in rows if not 0 <= row < total]:
        raise UsageError(f"the source has rows 0 to {total - 1}, and no row {bad[0]}")
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    draft = without_rows(loaded, old.manifest.version, _parent(old, "retracted"), wanted)
    hashes = loaded.decisions_table.column("content_hash").to_numpy()
    contents = np.unique(hashes[wanted])
    contents = contents[contents != 0]  # retracted before
    published = _publish_derived(old, draft, new)
    holding, unread = _versions_that_keep(repo, contents, besides=published.tag)
    if holding:
        erased = {"use": published.tag, "source": old.manifest.source.fingerprint}
        mark = mark.model_copy(update={**erased, "retracted": tuple(wanted.tolist())})
        _change_marks(
            repo, lambda there: there | {held: _joined(there.get(held), mark) for held in holding}
        )
    names = patiently(lambda: refs(repo))
    aliases = {a: means for a, means in aliases_of(repo, names).items() if means in holding}
    keep = draft.decisions.column("keep").to_numpy(zero_copy_only=False)
    copies = np.flatnonzero(keep & np.isin(hashes, contents)).tolist()
    return Retraction(published, holding, aliases, copies, unread)


def yank(repo: str, tag: str, *, reason: str, use: str | None = None) -> None:
    """Mark a version as not to be used; it still loads, with a warning that gives the reason.

    use: the version to use instead.

    Raises:
        VersionNotFoundError: there is no such version.
        UsageError: no reason, or the version itself to be used instead.
    """
    mark = _mark_for(reason, use)
    if use == tag:
        raise UsageError(f"{tag} cannot be used instead of itself")
    names = patiently(lambda: refs(check_repo_id(repo)))
    for named in (tag, use):
        if named is None:
            continue
        if not is_tag(named) or named not in names.tags:
            raise no_such_version(repo, named, names)
        at_commit(repo, named, names.tags[named], names)
    _change_marks(repo, lambda there: there | {tag: mark})


def unyank(repo: str, tag: str) -> None:
    """Take the mark off a version again.

    Raises:
        UsageError: it has none.
    """

    def without(there: Marks) -> Marks:
        if tag not in there:
            raise UsageError(f"{repo}@{tag} is not yanked")
        if there[tag].retracted:
            rows = ", ".join(map(str, there[tag].retracted[:10]))
            log.warning("%s@%s still holds rows that were retracted: %s", repo, tag, rows)
        return {name: mark for name, mark in there.items() if name != tag}

    _change_marks(check_repo_id(repo), without)


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
    if not is_tag(tag):
        raise UsageError(f"{tag} is no version tag", hint="an alias is given to a tag")
    found = find(repo, tag)
    _refuse_yanked(found)
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


def _joined(before: Mark | None, mark: Mark) -> Mark:
    """A further retraction beside what a version was marked for already."""
    if before is None:
        return mark
    reason = before.reason if mark.reason in before.reason else f"{before.reason}; {mark.reason}"
    rows = tuple(sorted({*before.retracted, *mark.retracted}))
    return mark.model_copy(update={"reason": reason, "retracted": rows})


def _mark_for(reason: str, use: str | None) -> Mark:
    if not reason.strip():
        raise UsageError("no reason was given", hint="as in --reason 'labels were shifted'")
    return Mark(reason=reason, use=use)


def _refuse_yanked(found: Found) -> None:
    assert found.names is not None, "the Hub was asked"
    mark = yanked(found.repo, found.names).get(found.manifest.version)
    if mark is not None:
        version = f"{found.repo}@{found.manifest.version}"
        raise UsageError(
            f"{version} was yanked: {told(mark)}",
            hint=f"if that is over: dataprune yank {version.replace('@', ' ')} --undo",
        )


def _shown(repo: str) -> bool:
    """The repository's own visibility: a version made of another one changes nothing in it."""
    return patiently(lambda: is_private(repo))


def _licence(found: Found) -> str | None:
    """As the version's own card states it."""
    return patiently(lambda: resolve(found.repo, found.commit)).license


def _settle(repo: str, template: str, is_same: Callable[[Manifest], bool]) -> str:
    """The tag a template stands for; the newest version's, if that is the one wanted."""
    names = patiently(lambda: refs(repo))
    tags = sorted(filter(is_tag, names.tags), key=tag_order)

    def is_newest_and_same(tag: str) -> bool:
        return tag == tags[-1] and is_same(at_commit(repo, tag, names.tags[tag], names).manifest)

    return settle_tag(template, tags, is_newest_and_same)


def _publish_derived(old: Found, draft: Draft, new: str) -> Published:
    """Build a version in a temporary store and publish it beside the one that it is made from."""
    identity, parents = draft_fingerprint(draft), list(draft.parents)

    def is_same(newest: Manifest) -> bool:
        return (newest.fingerprint, newest.parents) == (identity, parents)

    shown: dict[str, Any] = {"private": _shown(old.repo), "license": _licence(old)}
    with tempfile.TemporaryDirectory(prefix="dataprune-") as folder:
        store = LocalStore(Path(folder))
        while True:
            tag = _settle(old.repo, new, is_same)
            build_version(store, replace(draft, tag=tag))
            version = load_version(store, draft.name, tag, prove_source=False)
            try:
                return publish_version(version, old.repo, **shown)
            except VersionExistsError:
                if not is_template(new):
                    raise  # else somebody took the number meanwhile: the next one is free


def _versions_that_keep(
    repo: str, contents: npt.NDArray[Any], *, besides: str
) -> tuple[list[str], list[str]]:
    """Tags of versions that keep an example of these content hashes, and of those unread."""
    versions, unread = find_all(repo)
    holding = []
    for found in versions:
        if found.manifest.version == besides:
            continue
        table = read_decisions(_decisions_of(found))
        keep = table.column("keep").to_numpy(zero_copy_only=False)
        if np.isin(table.column("content_hash").to_numpy()[keep], contents).any():
            holding.append(found.manifest.version)
    return holding, unread


def _decisions_of(found: Found) -> Path:
    entry = found.manifest.decisions
    return patiently(lambda: fetch(found.repo, found.commit, entry.path, entry.sha256))


def _change_marks(repo: str, changed: Callable[[Marks], Marks]) -> None:
    """Change the marks on the main branch, and what its card says of the version there."""

    def once() -> str:
        head = refs(repo).branches.get(MAIN)
        if head is None:
            raise HubError(f"{repo} has no branch {MAIN}", hint="versions are committed to it")

        def change(there: dict[str, RemoteFile]) -> Change:
            marks = changed(read_yanked(repo, head, there))
            files = [Local.text(YANKED_PATH, render_yanked(marks))]
            read, card = read_manifest_at(repo, head, there), there.get(CARD_PATH)
            if read is not None and card is not None:
                before = read_small(repo, head, card).decode(errors="surrogateescape")
                text = _said(before, marks.get(read[0].version))
                content = text.encode(errors="surrogateescape")
                files.append(Local.text(CARD_PATH, content))
            return Change(files)

        return bring(repo, MAIN, head, change, "Mark which versions are yanked")

    patiently(once)


def _said(card: str, mark: Mark | None) -> str:
    """A card that says that its version is yanked, or no longer does."""
    text = re.sub(f"{_MARK}.*?{_END_MARK}\\s*", "", card, flags=re.DOTALL)
    if mark is None:
        return text
    use = f" Use {code(mark.use)} instead." if mark.use else ""
    said = f"{_MARK}\n> **This version is yanked**: {escaped(mark.reason)}.{use}\n{_END_MARK}\n\n"
    metadata = re.match(r"---\r?\n.*?\r?\n---\r?\n\s*", text, re.DOTALL)
    end = metadata.end() if metadata else 0
    return text[:end] + said + text[end:]
