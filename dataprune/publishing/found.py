"""Which versions a repository has, by tag, alias or commit: names and manifests, no rows."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass

from dataprune.core.errors import HubMissingError, VersionError, VersionNotFoundError
from dataprune.publishing.layout import MANIFEST_PATH, YANKED_PATH, read_manifest_at, read_yanked
from dataprune.sources._hub import COMMIT, Refs, check_repo_id, patiently, refs, some_files
from dataprune.tables.lock import Pin
from dataprune.tables.manifest import Manifest, is_tag
from dataprune.tables.yanked import Mark, Marks
from dataprune.versions.tags import tag_order

_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")

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


def find(repo: str, asked: str) -> Found:
    """A version in a repository: its commit and manifest, without its rows.

    Raises:
        VersionNotFoundError, VersionError, HubError: as `load_published`.
    """
    return look_up(check_repo_id(repo), asked)


def names_taken(repo: str) -> Refs:
    """Names of a repository; none if there is no such repository."""
    try:
        return patiently(lambda: refs(check_repo_id(repo)))
    except HubMissingError:
        return Refs({}, {})


def find_all(repo: str) -> tuple[list[Found], list[str]]:
    """Versions of a repository, by number, and tags of which the manifest cannot be read.

    Each of these is told of in a warning.
    """
    names = patiently(lambda: refs(check_repo_id(repo)))
    found, unread = [], []
    for tag in sorted(filter(is_tag, names.tags), key=tag_order):
        try:
            found.append(at_commit(repo, tag, names.tags[tag], names))
        except VersionError as exc:
            unread.append(tag)
            log.warning("%s", printable(exc.message))
    return found, unread


@dataclass(frozen=True)
class Listing:
    """What a repository holds.

    yanked: marks by tag. aliases: {name: tag}.
    """

    versions: list[Found]
    yanked: Marks
    aliases: dict[str, str]


def list_published(repo: str) -> Listing:
    """Versions of a repository, which of them are yanked, and what its aliases mean."""
    versions, _ = find_all(repo)
    names = versions[0].names if versions else patiently(lambda: refs(repo))
    assert names is not None, "the Hub was asked"
    return Listing(versions, yanked(repo, names), aliases_of(repo, names))


def aliases_of(repo: str, names: Refs) -> dict[str, str]:
    """What each branch but main means, as {name: tag}; those that hold no version are left out."""
    aliases = {}
    for branch, commit in sorted(names.branches.items()):
        if branch != "main" and (read := _read_manifest(repo, commit)) is not None:
            aliases[branch] = read[0].version
    return aliases


def yanked(repo: str, names: Refs) -> Marks:
    """Versions that the repository marks as yanked now."""
    head = names.branches.get("main")
    if head is None:
        return {}
    there = patiently(lambda: some_files(repo, head, [YANKED_PATH]))
    return patiently(lambda: read_yanked(repo, head, there))


def no_such_version(repo: str, asked: str, names: Refs) -> VersionNotFoundError:
    """The error for a version that a repository does not have; its hint lists those it has."""
    short = _SHORT_COMMIT.fullmatch(asked)
    said = "a commit is named by its 40 digits; " if short else ""
    return VersionNotFoundError(f"{repo} has no version {asked}", hint=said + _tags_there(names))


def look_up(repo: str, asked: str, meant: str | None = None) -> Found:
    """As `find`. meant: the tag that an alias is to mean, whatever it means now."""
    names = patiently(lambda: refs(repo))
    if is_tag(asked):
        if asked not in names.tags:
            raise no_such_version(repo, asked, names)
        return at_commit(repo, asked, names.tags[asked], names)
    if COMMIT.fullmatch(asked):
        return at_commit(repo, asked, asked, names)
    if asked not in names.branches:
        raise no_such_version(repo, asked, names)
    if meant is not None and meant in names.tags:
        return at_commit(repo, asked, names.tags[meant], names)
    return _aliased(repo, asked, names)


def _aliased(repo: str, alias: str, names: Refs) -> Found:
    """The version that a branch holds, read at the version's own tag."""
    read = _read_manifest(repo, names.branches[alias])
    if read is None:
        raise VersionError(
            f"branch {alias} of {repo} holds no version of dataprune", hint=_tags_there(names)
        )
    manifest, data = read
    tag = manifest.version
    found = at_commit(repo, alias, names.tags[tag], names) if tag in names.tags else None
    if found is None or found.manifest_sha256 != hashlib.sha256(data).hexdigest():
        raise VersionError(
            f"branch {alias} of {repo} holds a {tag} that was never tagged: publishing it was not "
            "finished",
            hint=_tags_there(names),
        )
    return found


def _read_manifest(repo: str, commit: str) -> tuple[Manifest, bytes] | None:
    there = patiently(lambda: some_files(repo, commit, [MANIFEST_PATH]))
    return patiently(lambda: read_manifest_at(repo, commit, there))


def at_commit(repo: str, asked: str, commit: str, names: Refs) -> Found:
    """The version that a commit holds.

    Raises:
        VersionError: it holds none, or another than the tag that was asked for.
    """
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


def told(mark: Mark) -> str:
    """Why a version was yanked and what to use, in one line that a terminal can show."""
    use = f"; use {mark.use} instead" if mark.use else ""
    return printable(mark.reason + use)


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def _tags_there(names: Refs) -> str:
    tags = sorted(filter(is_tag, names.tags), key=tag_order)
    aliases = sorted(name for name in names.branches if name != "main")
    also = f"; branches: {', '.join(aliases)}" if aliases else ""
    return f"tags: {', '.join(tags)}{also}" if tags else "dataprune publish puts versions there"
