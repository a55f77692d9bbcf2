"""Publish a version: one commit that holds it whole, then its tag on that very commit.

The tag is the only thing that makes a version exist. Every step looks at what the repository holds
before it does anything, so a step that was cut off is found done or is done again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from dataprune.core.errors import (
    HubError,
    HubMissingError,
    UsageError,
    VersionExistsError,
)
from dataprune.publishing.card import Card, render_card
from dataprune.publishing.commit import Change, Copied, Local, Wanted, bring, read_small
from dataprune.publishing.layout import (
    CARD_PATH,
    MANIFEST_PATH,
    NOT_DATA,
    YANKED_PATH,
    owned_paths,
    read_manifest_at,
    read_yanked,
)
from dataprune.selection import STRATEGIES
from dataprune.selection._decided import warnings_of
from dataprune.sources._hub import (
    REPO_TYPE,
    Refs,
    RemoteFile,
    api,
    asking,
    check_repo_id,
    endpoint,
    is_private,
    patiently,
    refs,
    tree,
)
from dataprune.sources._places import has_secret, is_on_this_machine
from dataprune.tables.manifest import Manifest, SourceRef, check_tag, is_tag, render_manifest
from dataprune.tables.yanked import Marks
from dataprune.versions.build import recorded_choice
from dataprune.versions.load import HUB, LoadedVersion
from dataprune.versions.tags import next_number, tag_order

MAIN = "main"

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Published:
    """Where a version is now.

    created: False if it was there already.
    private: whether the repository is shown to some only; None where that was not asked.
    url: its page on the Hub.
    """

    repo: str
    tag: str
    commit: str
    manifest_sha256: str
    created: bool
    private: bool | None
    url: str


@dataclass(frozen=True)
class Parcel:
    """A version as a repository holds it.

    files: data, decisions, scores; each is content or a copy of what is there.
    card: README.md.
    rows: int64, source rows that are kept.
    """

    manifest: Manifest
    files: tuple[Wanted, ...]
    card: Local
    rows: npt.NDArray[np.int64]

    @property
    def tag(self) -> str:
        """The version's tag."""
        return self.manifest.version

    @property
    def manifest_file(self) -> Local:
        """The manifest in its one text form."""
        return Local.text(MANIFEST_PATH, render_manifest(self.manifest).encode())

    @property
    def proven(self) -> list[Wanted]:
        """What makes the version what it is: all but the card."""
        return [*self.files, self.manifest_file]


def publish_version(
    version: LoadedVersion,
    repo: str,
    *,
    private: bool | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's word
) -> Published:
    """Publish a loaded version as ORG/REPO@TAG; published already, it is found.

    private: for a repository that is made now; None leaves it to the account's or organisation's
        default.
    license: the Hub's identifier, where the source does not state one.

    Raises:
        UsageError: not a repository's name, or a view of files that lie on this machine only.
        VersionExistsError: the tag is taken by another version.
        HubError: the Hub refused, or did not answer after some tries.
    """
    check_repo_id(repo)
    manifest = version.manifest
    check_source(f"{manifest.name}@{manifest.version}", manifest.kind, manifest.source)
    files = tuple(Local(f.path, version.folder / f.path, f.sha256) for f in manifest.files)
    card = Local.text(CARD_PATH, card_of(version, repo, license).encode())
    return deliver(Parcel(manifest, files, card, version.rows), repo, private=private)


def card_of(version: LoadedVersion, repo: str, licence: str | None = None) -> str:
    """The card of a version.

    Raises:
        UsageError: the licence is another than the source's.
    """
    manifest = version.manifest
    stated = manifest.source.license
    if licence is not None and stated not in {None, licence}:
        raise UsageError(
            f"the source's licence is {stated}, and --license says {licence}",
            hint="a pruned version keeps its source's licence; leave the option out",
        )
    scores = version.folder / manifest.scores.file.path
    decisions = version.folder / manifest.decisions.path
    split = manifest.result.splits[manifest.source.split]
    paths = [file.path for file in split.files]
    num_bytes = sum(file.bytes for file in split.files)
    return render_card(
        Card(
            manifest=manifest,
            schema=version.schema,
            decisions_schema=pq.read_schema(decisions),
            scores_schema=pq.read_schema(scores),
            repo=repo,
            splits={manifest.source.split: (split.rows, num_bytes, paths)} if paths else {},
            download_size=num_bytes,
            license=stated or licence,
            source_datasets=_datasets(manifest.source),
            scores_meta=version.scores.meta,
            warnings=[] if manifest.parents else _said_at_building(version),
        )
    )


def _said_at_building(version: LoadedVersion) -> list[str]:
    """What `prune` warned of when the version was made: it follows from what is stored."""
    chosen = version.manifest.selection
    choice = recorded_choice(chosen)
    by = chosen.by if chosen.strategy in STRATEGIES.names() and choice.last.reads_score else None
    return warnings_of(version.decisions_table, version.scores, choice, by)


def deliver(parcel: Parcel, repo: str, *, private: bool | None = None) -> Published:
    """Commit and tag; asked again as long as it is not known what the Hub did.

    Raises:
        UsageError, VersionExistsError, HubError: as `publish_version`.
    """
    check_tag(parcel.tag)
    if parcel.manifest.source.private:
        if private is False and parcel.manifest.kind == "view":
            log.warning("the source is private: only those who may read it can load this view")
        private = True if private is None else private  # as its source is
    return patiently(lambda: _deliver(parcel, repo, private=private))


def _deliver(parcel: Parcel, repo: str, *, private: bool | None) -> Published:
    names = _opened(repo, private=private)
    tag, head = parcel.tag, names.branches[MAIN]
    if tag in names.branches:
        raise UsageError(
            f"{tag} is the name of a branch of {repo}, and a version needs a name of its own",
            hint=f"use another tag, such as v{next_number([*names.tags, *names.branches])}",
        )
    if tag in names.tags:
        return _found(parcel, repo, names)
    newer = max(filter(is_tag, names.tags), key=tag_order, default=tag)
    if tag_order(newer) > tag_order(tag):
        log.warning(
            "%s has %s already: its main branch, which is what is read without a tag, becomes %s",
            repo, newer, tag,
        )  # fmt: skip
    commit = bring(
        repo,
        MAIN,
        head,
        lambda there: _change(parcel, repo, head, there),
        _message(parcel.manifest),
    )
    with asking(f"tagging {repo}@{commit[:8]} as {tag}"):
        api().create_tag(repo, tag=tag, revision=commit, repo_type=REPO_TYPE)
    shown = is_private(repo) if private is None else private
    return _published(parcel, repo, commit, private=shown, created=True)


def _opened(repo: str, *, private: bool | None) -> Refs:
    """The repository's names; a repository that is not there is made."""
    try:
        names = refs(repo)
    except HubMissingError:
        with asking(f"creating {repo}"):
            api().create_repo(repo, repo_type=REPO_TYPE, private=private, exist_ok=True)
        names = refs(repo)
    if private is not None and is_private(repo) != private:
        is_now, wanted = ("public", "private") if private else ("private", "public")
        raise UsageError(
            f"{repo} is {is_now}, and the version should be {wanted}: that is a setting of the "
            "whole repository",
            hint=f"publish to another repository, add --{is_now}, or change it on "
            f"{endpoint()}/datasets/{repo}/settings",
        )
    if MAIN not in names.branches:
        raise HubError(f"{repo} has no branch {MAIN}", hint="versions are committed to it")
    return names


def _found(parcel: Parcel, repo: str, names: Refs) -> Published:
    """The tag is there: is it this version?"""
    tag, commit, head = parcel.tag, names.tags[parcel.tag], names.branches[MAIN]
    there = tree(repo, commit)
    wanting = [file for file in parcel.proven if not file.is_at(there.get(file.path))]
    if not wanting:
        return _published(parcel, repo, commit, private=None, created=False)
    if parcel.manifest_file.is_at(there.get(MANIFEST_PATH)):
        raise HubError(
            f"{repo}@{tag} has this version's manifest, and {wanting[0].path} is not as it says",
            hint="somebody changed it by hand; publish under another tag",
        )
    if head != commit and parcel.manifest_file.is_at(tree(repo, head).get(MANIFEST_PATH)):
        _withdraw(repo, head, commit, there, tag)
    what = "another version" if MANIFEST_PATH in there else "a commit that holds no version"
    raise VersionExistsError(
        f"{repo} has a tag {tag} already, which is {what}",
        hint=f"versions never change: use another tag, such as v{next_number(names.tags)}",
    )


def _withdraw(repo: str, head: str, commit: str, wanted: dict[str, RemoteFile], tag: str) -> None:
    """Another publisher won the tag between our commit and our tagging: main is the winner's."""
    copies = [Copied(path, commit, file) for path, file in wanted.items()]

    def change(there: dict[str, RemoteFile]) -> Change:
        before = read_manifest_at(repo, head, there)
        owned = owned_paths(before[0]) if before else []
        return Change(copies, [path for path in owned if path not in wanted])

    bring(repo, MAIN, head, change, f"{tag} is another version")


def _change(parcel: Parcel, repo: str, head: str, there: dict[str, RemoteFile]) -> Change:
    """This version's files in, and what the version before it owned and this one has not, out."""
    files = [*parcel.proven, parcel.card]
    _warn_of_retracted(parcel, repo, read_yanked(repo, head, there))
    if parcel.manifest_file.is_at(there.get(MANIFEST_PATH)):
        return Change(files)  # what is stale went with it
    before = read_manifest_at(repo, head, there)
    if before is None:
        _refuse_foreign(repo, head, there)
        return Change(files)
    if before[0].name != parcel.manifest.name:
        raise UsageError(
            f"{repo} holds versions of {before[0].name}, and this is {parcel.manifest.name}",
            hint="publish to a repository of its own, or build the version under that name",
        )
    mine = {file.path for file in files}
    return Change(files, [path for path in owned_paths(before[0]) if path not in mine])


def _warn_of_retracted(parcel: Parcel, repo: str, marks: Marks) -> None:
    """Rows that were retracted from the repository may come back from a score table of before."""
    source = parcel.manifest.source.fingerprint
    gone = {row for mark in marks.values() if mark.source == source for row in mark.retracted}
    back = sorted(gone.intersection(parcel.rows.tolist()))
    if back:
        rows = ",".join(map(str, back))
        log.warning(
            "%s keeps rows that were retracted from %s: dataprune retract %s %s --rows %s",
            parcel.tag, repo, repo, parcel.tag, rows,
        )  # fmt: skip


def _refuse_foreign(repo: str, head: str, there: dict[str, RemoteFile]) -> None:
    """Before the first version: nothing of anybody else's may be replaced."""
    others = sorted(p for p in there if p not in NOT_DATA and p != YANKED_PATH)
    if not others and CARD_PATH in there and _has_words(read_small(repo, head, there[CARD_PATH])):
        others = [CARD_PATH]
    if others:
        raise HubError(
            f"{repo} holds files that dataprune did not put there, such as {others[0]}",
            hint="publish to a repository of its own, so that nothing of theirs is replaced",
        )


def _has_words(card: bytes) -> bool:
    """Whether a card says anything below its metadata, which the Hub's own form writes."""
    text = card.decode(errors="replace").replace("\r\n", "\n")
    if text.startswith("---\n") and "\n---" in text[4:]:
        text = text[4:].split("\n---", 1)[1]
    return bool(text.strip())


def _published(
    parcel: Parcel, repo: str, commit: str, *, private: bool | None, created: bool
) -> Published:
    return Published(
        repo,
        parcel.tag,
        commit,
        parcel.manifest_file.sha256,
        created,
        private,
        f"{endpoint()}/datasets/{repo}/tree/{parcel.tag}",
    )


def _message(manifest: Manifest) -> str:
    selection = manifest.selection
    rows = f"{selection.rows_out} of {selection.rows_in} rows"
    return f"{manifest.name}@{manifest.version}: {rows}, {selection.in_words}"


def check_source(version: str, kind: str, source: SourceRef) -> None:
    """What a manifest says of its source is published with it, for good: look before it is sent.

    Raises:
        UsageError: a view that nobody else could load, or an address with a password or query.
    """
    if has_secret(source.uri):
        raise UsageError(
            f"{version} names its source by an address with a password or a query in it, which "
            "would be published",
            hint="score the data from an address without one, then prune and publish that",
        )
    if not source.files or not is_on_this_machine(source.uri):
        return
    if kind == "view":
        raise UsageError(
            f"{version} is a view of {source.uri}, which lies on this machine: nobody else could "
            "load it",
            hint="make a version with its own rows (dataprune versions materialize), or score the "
            "dataset from the Hub (hf://datasets/ORG/NAME)",
        )
    log.warning(
        "the manifest names the source by its path on this machine, %s, and will be published",
        source.uri,
    )


def _datasets(source: SourceRef) -> list[str]:
    """What the Hub's `source_datasets` says: the dataset on the Hub, if it is one."""
    if source.format != HUB:
        return []
    from dataprune.sources.hub import parse_address

    return [parse_address(source.uri).repo]
