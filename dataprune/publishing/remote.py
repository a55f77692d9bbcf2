"""Load a version from the Hub: the version that was asked for, proven, or an error.

The client answers from its cache when the Hub does not answer, with whatever it has. Here a name
is resolved by the Hub itself or by a lock file, all else is read at the commit, and nothing is
handed out before every hash is that of the manifest.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.errors import (
    HubError,
    HubMissingError,
    UsageError,
    VersionError,
    VersionNotFoundError,
)
from dataprune.publishing.layout import (
    MANIFEST_PATH,
    read_manifest_at,
    read_yanked,
)
from dataprune.publishing.lock import Pin, read_pin, write_pin
from dataprune.sources._hub import (
    COMMIT,
    Refs,
    cached,
    check_repo_id,
    fetch,
    fetch_anew,
    is_offline,
    patiently,
    refs,
    tree,
)
from dataprune.tables.manifest import FileEntry, Manifest, is_tag
from dataprune.versions.identity import verify_file
from dataprune.versions.load import LoadedVersion, prove
from dataprune.versions.tags import tag_order

_AT_ONCE = 8

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Found:
    """A version in a repository, its manifest read.

    asked: what it was asked for by.
    names: the repository's names at that time; None if the Hub was not asked.
    """

    repo: str
    asked: str
    commit: str
    manifest: Manifest
    manifest_sha256: str
    names: Refs | None

    @property
    def pin(self) -> Pin:
        """What a lock file keeps of it."""
        return Pin(
            repo=self.repo,
            asked=self.asked,
            tag=self.manifest.version,
            commit=self.commit,
            manifest_sha256=self.manifest_sha256,
        )


def load_published(
    repo: str,
    asked: str,
    *,
    lock: Path | None = None,
    locked: bool = False,
    source_uri: str | None = None,
    prove_source: bool = True,
) -> LoadedVersion:
    """Load ORG/REPO at a tag, an alias or a commit.

    lock: a lock file: what it says of this version must hold; what is new is added.
    locked: it must know the version already; an alias then means the version it meant then.

    Raises:
        VersionNotFoundError: no such version; the hint lists those there are.
        VersionError: the tag has moved, or files are not those of the manifest.
        HubError: the Hub refused or did not answer; the message says which.
    """
    check_repo_id(repo)
    pin = read_pin(lock, repo, asked) if lock else None
    if locked and pin is None:
        raise UsageError(
            f"{lock} does not know {repo}@{asked}",
            hint="load it once without --locked, look at what it is, and keep the file",
        )
    found = _find_offline(repo, asked, pin) if is_offline() else _find(repo, asked, pin, locked)
    _check_pin(found, pin, lock)
    loaded = _fetched(found, source_uri, prove_source=prove_source)
    _warn_if_yanked(found)
    if lock is not None and not locked:
        write_pin(lock, found.pin)
    return loaded


def find(repo: str, asked: str) -> Found:
    """A version in a repository: its commit and manifest, without its rows.

    Raises:
        VersionNotFoundError, VersionError, HubError: as `load_published`.
    """
    return _find(check_repo_id(repo), asked, None, locked=False)


def tags_taken(repo: str) -> set[str]:
    """Tags of a repository; none if there is no such repository."""
    try:
        return set(patiently(lambda: refs(check_repo_id(repo))).tags)
    except HubMissingError:
        return set()


def find_all(repo: str) -> list[Found]:
    """Versions of a repository, by number.

    Tags that lead to no version of dataprune are passed over, with a warning.
    """
    names = patiently(lambda: refs(check_repo_id(repo)))
    found = []
    for tag in sorted(filter(is_tag, names.tags), key=tag_order):
        try:
            found.append(_at(repo, tag, names.tags[tag], names))
        except VersionError as exc:
            log.warning("%s", exc.message)
    return found


@dataclass(frozen=True)
class Listing:
    """What a repository holds.

    yanked: {tag: {"reason": ..., "use": tag or None}}. aliases: {name: tag}.
    """

    versions: list[Found]
    yanked: dict[str, dict[str, Any]]
    aliases: dict[str, str]


def list_published(repo: str) -> Listing:
    """Versions of a repository, which of them are yanked, and what its aliases mean."""
    versions = find_all(repo)
    names = versions[0].names if versions else patiently(lambda: refs(repo))
    assert names is not None, "the Hub was asked"
    aliases = {}
    for branch, commit in sorted(names.branches.items()):
        if branch != "main" and (read := _read_manifest(repo, commit)) is not None:
            aliases[branch] = read[0].version
    return Listing(versions, yanked(repo, names), aliases)


def yanked(repo: str, names: Refs) -> dict[str, dict[str, Any]]:
    """Versions that the repository marks as yanked now."""
    head = names.branches.get("main")
    if head is None:
        return {}
    return patiently(lambda: read_yanked(repo, head, tree(repo, head)))


def no_such_version(repo: str, asked: str, names: Refs) -> VersionNotFoundError:
    """The error for a version that a repository does not have; its hint lists those it has."""
    return VersionNotFoundError(f"{repo} has no version {asked}", hint=_tags_there(names))


def _find(repo: str, asked: str, pin: Pin | None, locked: bool) -> Found:  # noqa: FBT001
    names = patiently(lambda: refs(repo))
    if is_tag(asked):
        if asked not in names.tags:
            raise no_such_version(repo, asked, names)
        return _at(repo, asked, names.tags[asked], names)
    if COMMIT.fullmatch(asked):
        return _at(repo, asked, asked, names)
    if asked not in names.branches:
        raise no_such_version(repo, asked, names)
    as_it_was = pin.tag if locked and pin is not None else None
    tag = as_it_was or _aliased(repo, asked, names)
    if tag not in names.tags:
        raise VersionError(
            f"alias {asked} of {repo} means {tag}, and there is no such tag any more",
            hint=_tags_there(names),
        )
    return _at(repo, asked, names.tags[tag], names)


def _aliased(repo: str, alias: str, names: Refs) -> str:
    read = _read_manifest(repo, names.branches[alias])
    if read is None:
        raise VersionError(
            f"branch {alias} of {repo} holds no version of dataprune", hint=_tags_there(names)
        )
    return read[0].version


def _find_offline(repo: str, asked: str, pin: Pin | None) -> Found:
    """What a lock file pins, from the cache; nothing else can be known without the Hub."""
    if pin is None:
        raise HubError(
            f"{repo}@{asked} cannot be loaded: offline mode is on (HF_HUB_OFFLINE), and only the "
            "Hub or a lock file knows which commit that is",
            hint="load it once online with a lock file (dataprune load writes dataprune.lock), "
            "then it loads offline from the cache",
        )
    path = cached(repo, pin.commit, MANIFEST_PATH)
    if path is None:
        raise HubError(
            f"{repo}@{asked} is not in the cache, and offline mode is on (HF_HUB_OFFLINE)",
            hint="load it once online",
        )
    data = path.read_bytes()
    _check_manifest_sha256(data, pin, "the cache")
    manifest = Manifest.model_validate_json(data)
    return Found(repo, asked, pin.commit, manifest, pin.manifest_sha256, None)


def _check_manifest_sha256(data: bytes, pin: Pin, where: str) -> None:
    if hashlib.sha256(data).hexdigest() != pin.manifest_sha256:
        raise VersionError(
            f"the manifest of {pin.repo}@{pin.asked} in {where} is not the one that is locked",
            hint="delete the dataset from the Hub's cache (hf cache), then load it online",
        )


def _read_manifest(repo: str, commit: str) -> tuple[Manifest, bytes] | None:
    return patiently(lambda: read_manifest_at(repo, commit, tree(repo, commit)))


def _at(repo: str, asked: str, commit: str, names: Refs) -> Found:
    read = _read_manifest(repo, commit)
    if read is None:
        raise VersionError(
            f"{repo}@{asked} leads to commit {commit[:8]}, which holds no version of dataprune",
            hint="a plain dataset is read as a source: hf://datasets/ORG/NAME@REVISION",
        )
    manifest, data = read
    if is_tag(asked) and manifest.version != asked:
        raise VersionError(
            f"tag {asked} of {repo} leads to commit {commit[:8]}, which holds {manifest.version}: "
            "the tag was moved",
            hint="ask who moved it; versions never change, and a tag must not either",
        )
    return Found(repo, asked, commit, manifest, hashlib.sha256(data).hexdigest(), names)


def _check_pin(found: Found, pin: Pin | None, lock: Path | None) -> None:
    """What the lock file says of a tag holds for good; an alias may have moved on."""
    if pin is None or pin == found.pin:
        return
    if found.manifest.version != pin.tag and not is_tag(found.asked):
        log.info(
            "alias %s of %s meant %s, and means %s now",
            found.asked, found.repo, pin.tag, found.manifest.version,
        )  # fmt: skip
        return
    raise VersionError(
        f"{found.repo}@{pin.tag} led to commit {pin.commit[:8]} when {lock} was written, and leads "
        f"to {found.commit[:8]} now: the tag was moved",
        hint=f"ask who moved it; load the locked content as {found.repo} {pin.commit}, or delete "
        f"its entry from {lock} to take the new one",
    )


def _fetched(found: Found, source_uri: str | None, *, prove_source: bool) -> LoadedVersion:
    """Download what is not here yet, check every file, and hand the version out."""
    entries = found.manifest.files
    log.info(
        "loading %s@%s (commit %s): %d files", found.repo, found.asked, found.commit[:8],
        len(entries),
    )  # fmt: skip
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        paths = list(pool.map(lambda entry: _proven(found, entry), entries))
    folder = _common_folder(paths, entries)
    loaded = LoadedVersion(found.manifest, folder, source_uri, found.repo, found.commit)
    prove(loaded, files=False, source=prove_source)
    return loaded


def _proven(found: Found, entry: FileEntry) -> Path:
    """One file, its hash the manifest's; what the cache has wrong is fetched anew once."""
    path = patiently(lambda: fetch(found.repo, found.commit, entry.path))
    try:
        verify_file(path, entry)
    except VersionError:
        if found.names is None:
            raise
        path = patiently(lambda: fetch_anew(found.repo, found.commit, entry.path))
        try:
            verify_file(path, entry)
        except VersionError as exc:
            raise VersionError(
                f"{entry.path} of {found.repo}@{found.asked} is not the file that its manifest "
                "names, fetched twice",
                hint="the version is damaged on the Hub, or something on the way changes it",
            ) from exc
    return path


def _common_folder(paths: Iterable[Path], entries: Iterable[FileEntry]) -> Path:
    """The snapshot's folder, of which every path is the entry's."""
    for path, entry in zip(paths, entries, strict=True):
        folder = path
        for _ in entry.path.split("/"):
            folder = folder.parent
        return folder
    raise AssertionError("a version has files")


def _warn_if_yanked(found: Found) -> None:
    if found.names is None:
        return
    try:
        marks = yanked(found.repo, found.names)
    except HubError as exc:
        log.warning("whether %s@%s was yanked is not known: %s", found.repo, found.asked, exc)
        return
    mark = marks.get(found.manifest.version)
    if mark is not None:
        use = f"; use {mark['use']} instead" if mark.get("use") else ""
        log.warning(
            "%s@%s was yanked: %s%s", found.repo, found.manifest.version, mark.get("reason"), use
        )


def _tags_there(names: Refs) -> str:
    tags = sorted(filter(is_tag, names.tags), key=tag_order)
    return f"tags: {', '.join(tags)}" if tags else "dataprune publish puts versions there"
