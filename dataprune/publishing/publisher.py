"""Publish a version: one commit that holds it whole, then its tag on that very commit.

The tag is the only thing that makes a version exist. Every step looks at what the repository holds
before it does anything, so a step that was cut off is found done or is done again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow.parquet as pq

from dataprune.core.errors import (
    HubError,
    HubMissingError,
    UsageError,
    VersionExistsError,
)
from dataprune.publishing.card import Card, render_card
from dataprune.publishing.commit import Change, Local, Wanted, bring
from dataprune.publishing.layout import (
    CARD_PATH,
    MANIFEST_PATH,
    NOT_DATA,
    YANKED_PATH,
    owned_paths,
    read_manifest_at,
)
from dataprune.selection import STRATEGIES
from dataprune.selection._decide import Choice, warnings_for, warnings_of_ties
from dataprune.sources._hub import (
    REPO_TYPE,
    Refs,
    RemoteFile,
    api,
    asking,
    check_repo_id,
    endpoint,
    patiently,
    refs,
    tree,
)
from dataprune.sources._places import is_url
from dataprune.tables.manifest import Manifest, SourceRef, check_tag, render_manifest
from dataprune.versions.load import HUB, LoadedVersion
from dataprune.versions.tags import next_number

MAIN = "main"


@dataclass(frozen=True)
class Published:
    """Where a version is now.

    created: False if it was there already.
    url: its page on the Hub.
    """

    repo: str
    tag: str
    commit: str
    manifest_sha256: str
    created: bool
    url: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parcel:
    """A version as a repository holds it.

    files: data, decisions, scores, manifest; each is content or a copy of what is there.
    card: README.md.
    """

    manifest: Manifest
    files: tuple[Wanted, ...]
    card: Local

    @property
    def manifest_bytes(self) -> bytes:
        """The manifest's one text form."""
        return render_manifest(self.manifest).encode()


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
    _refuse_local_view(version.manifest)
    return deliver(pack(version, repo, license), repo, private=private)


def pack(version: LoadedVersion, repo: str, licence: str | None = None) -> Parcel:
    """A version whose files are here, as a repository will hold it."""
    manifest = version.manifest
    files = tuple(Local(f.path, version.folder / f.path) for f in manifest.files)
    return Parcel(
        manifest,
        (*files, Local(MANIFEST_PATH, render_manifest(manifest).encode())),
        Local(CARD_PATH, card_of(version, repo, licence).encode()),
    )


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
    chosen, names = version.manifest.selection, version.class_names
    made = Choice(
        strategy=chosen.strategy,
        keep=chosen.rows_out,
        params=chosen.params,
        balance=chosen.class_balance,
        min_per_class=chosen.min_per_class,
        max_per_group=chosen.max_per_group,
        seed=chosen.seed,
    )
    said = warnings_for(version.decisions_table, made, names)
    if STRATEGIES.get(chosen.strategy).needs_score:
        values = version.scores.values(chosen.by)
        higher_is = version.manifest.scores.spec.get("higher_is", "harder")
        said += warnings_of_ties(version.decisions_table, values, chosen.by, higher_is)
    return said


def deliver(parcel: Parcel, repo: str, *, private: bool | None = None) -> Published:
    """Commit and tag; asked again as long as it is not known what the Hub did.

    Raises:
        UsageError, VersionExistsError, HubError: as `publish_version`.
    """
    check_tag(parcel.manifest.version)
    return patiently(lambda: _deliver(parcel, repo, private=private))


def _deliver(parcel: Parcel, repo: str, *, private: bool | None) -> Published:
    names = _opened(repo, private=private)
    tag = parcel.manifest.version
    if tag in names.branches:
        raise UsageError(
            f"{tag} is the name of a branch of {repo}, and a version needs a name of its own",
            hint=f"use another tag, such as v{next_number([*names.tags, *names.branches])}",
        )
    if tag in names.tags:
        return _found(parcel, repo, names)
    commit = bring(
        repo,
        MAIN,
        names.branches[MAIN],
        lambda there: _change(parcel, repo, names.branches[MAIN], there),
        _message(parcel.manifest),
    )
    with asking(f"tagging {repo}@{commit[:8]} as {tag}"):
        api().create_tag(repo, tag=tag, revision=commit, repo_type=REPO_TYPE)
    return _published(parcel, repo, commit, created=True)


def _opened(repo: str, *, private: bool | None) -> Refs:
    """The repository's names; a repository that is not there is made."""
    try:
        names = refs(repo)
    except HubMissingError:
        with asking(f"creating {repo}"):
            api().create_repo(repo, repo_type=REPO_TYPE, private=private, exist_ok=True)
        names = refs(repo)
    else:
        _check_visibility(repo, private=private)
    if MAIN not in names.branches:
        raise HubError(f"{repo} has no branch {MAIN}", hint="versions are committed to it")
    return names


def _check_visibility(repo: str, *, private: bool | None) -> None:
    if private is None:
        return
    with asking(f"reading {repo}"):
        found = bool(api().dataset_info(repo).private)
    if found != private:
        is_now, wanted = (("private", "--public"), ("public", "--private"))[private]
        raise UsageError(
            f"{repo} is {is_now}, and {wanted} has no effect on a repository that is there",
            hint=f"change it on its settings page, {endpoint()}/datasets/{repo}/settings",
        )


def _found(parcel: Parcel, repo: str, names: Refs) -> Published:
    """The tag is there: is it this version?"""
    tag = parcel.manifest.version
    commit = names.tags[tag]
    there = tree(repo, commit)
    wanting = [file for file in parcel.files if not file.is_at(there.get(file.path))]
    if not wanting:
        return _published(parcel, repo, commit, created=False)
    found = read_manifest_at(repo, commit, there)
    if found is not None and found[1] == parcel.manifest_bytes:
        raise HubError(
            f"{repo}@{tag} has this version's manifest, and {wanting[0].path} is not as it says",
            hint="somebody changed it by hand; publish under another tag",
        )
    what = "another version" if found else "a commit that holds no version"
    raise VersionExistsError(
        f"{repo} has a tag {tag} already, which is {what}",
        hint=f"versions never change: use another tag, such as v{next_number(names.tags)}",
    )


def _change(parcel: Parcel, repo: str, head: str, there: dict[str, RemoteFile]) -> Change:
    """This version's files in, and what the version before it owned and this one has not, out."""
    files = [*parcel.files, parcel.card]
    if all(file.is_at(there.get(file.path)) for file in parcel.files if _names(file)):
        return Change(files)  # the manifest is there already: what is stale went with it
    before = read_manifest_at(repo, head, there)
    if before is None:
        _refuse_foreign(repo, there)
        return Change(files)
    mine = {file.path for file in files}
    return Change(files, [path for path in owned_paths(before[0]) if path not in mine])


def _names(file: Wanted) -> bool:
    return file.path == MANIFEST_PATH


def _refuse_foreign(repo: str, there: dict[str, RemoteFile]) -> None:
    others = sorted(p for p in there if p not in NOT_DATA and p != YANKED_PATH)
    if others:
        raise HubError(
            f"{repo} holds files that dataprune did not put there, such as {others[0]}",
            hint="publish to a repository of its own, so that nothing of theirs is replaced",
        )


def _published(parcel: Parcel, repo: str, commit: str, *, created: bool) -> Published:
    return Published(
        repo,
        parcel.manifest.version,
        commit,
        hashlib.sha256(parcel.manifest_bytes).hexdigest(),
        created,
        f"{endpoint()}/datasets/{repo}/tree/{parcel.manifest.version}",
        tuple(_warnings(parcel.manifest)),
    )


def _message(manifest: Manifest) -> str:
    selection = manifest.selection
    rows = f"{selection.rows_out} of {selection.rows_in} rows"
    return f"{manifest.name}@{manifest.version}: {rows}, {selection.strategy}"


def _warnings(manifest: Manifest) -> list[str]:
    uri = manifest.source.uri
    if manifest.source.files and not is_url(uri) and uri.startswith("/"):
        return [f"the manifest names the source by its path on this machine, {uri}"]
    return []


def _refuse_local_view(manifest: Manifest) -> None:
    """A view can be loaded where its source can be reached."""
    source = manifest.source
    if manifest.kind == "view" and source.files and not is_url(source.uri):
        raise UsageError(
            f"{manifest.name}@{manifest.version} is a view of {source.uri}, which lies on this "
            "machine: nobody else could load it",
            hint="make a version with its own rows (dataprune versions materialize), or score the "
            "dataset from the Hub (hf://datasets/ORG/NAME)",
        )


def _datasets(source: SourceRef) -> list[str]:
    """What the Hub's `source_datasets` says: the dataset on the Hub, if it is one."""
    if source.format != HUB:
        return []
    from dataprune.sources.hub import parse_address

    return [parse_address(source.uri).repo]
