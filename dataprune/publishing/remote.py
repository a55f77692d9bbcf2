"""Load a version from the Hub: the version that was asked for, proven, or an error.

The client answers from its cache when the Hub does not answer, with whatever it has. Here a name
is resolved by the Hub itself or by a lock file, all else is read at the commit, and nothing is
handed out before every hash is that of the manifest.
"""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dataprune.core.errors import (
    HubError,
    HubMissingError,
    HubUnsureError,
    UsageError,
    VersionError,
)
from dataprune.publishing.found import Found, look_up, told, yanked
from dataprune.publishing.layout import (
    MANIFEST_PATH,
)
from dataprune.sources._hub import (
    bar,
    cached,
    check_repo_id,
    fetch,
    fetch_anew,
    is_offline,
    patiently,
)
from dataprune.tables.lock import Pin, read_pin, write_pin
from dataprune.tables.manifest import FileEntry, Manifest, is_tag
from dataprune.versions.identity import verify_file
from dataprune.versions.load import HUB, LoadedVersion, prove

_AT_ONCE = 8

log = logging.getLogger("dataprune")


def load_published(
    repo: str,
    asked: str,
    *,
    lock: Path | None = None,
    locked: bool = False,
    source_uri: str | None = None,
    prove_source: bool = True,
    record: bool = True,
) -> LoadedVersion:
    """Load ORG/REPO at a tag, an alias or a commit.

    lock: a lock file: what it says of this version must hold.
    locked: it must know the version already; an alias then means the version it meant then.
    source_uri: where a view's source lies; must be said if that is neither on the Hub nor built in.
    record: add to the lock file what it does not know.

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
    found = _find_with(repo, asked, pin, locked=locked)
    _check_pin(found, pin, lock)
    if prove_source and source_uri is None:
        _check_source(found)
    loaded = _fetched(found, source_uri, prove_source=prove_source)
    _warn_if_yanked(found)
    if lock is not None and record and not locked:
        try:
            write_pin(lock, found.pin)
        except OSError as exc:
            why = exc.strerror or exc
            log.warning("%s was not written (%s): name another one with --lock", lock, why)
    return loaded


def _find_with(repo: str, asked: str, pin: Pin | None, *, locked: bool) -> Found:
    """Ask the Hub; what a lock file pins can do without, since its hashes prove it."""
    if is_offline():
        return _find_offline(repo, asked, pin)
    try:
        return look_up(repo, asked, pin.tag if locked and pin is not None else None)
    except HubUnsureError as exc:
        if pin is None or cached(repo, pin.commit, MANIFEST_PATH) is None:
            raise HubError(exc.message, hint="try again later") from exc
        log.warning("%s; going on with what the lock file pins, from the cache", exc.message)
        return _find_offline(repo, asked, pin)


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


def _check_pin(found: Found, pin: Pin | None, lock: Path | None) -> None:
    """What the lock file says of a tag holds for good; an alias may have moved on."""
    if pin is None or pin.content == found.pin.content:
        return
    if found.manifest.version != pin.tag and not is_tag(found.asked):
        log.warning(
            "alias %s of %s meant %s, and means %s now",
            found.asked, found.repo, pin.tag, found.manifest.version,
        )  # fmt: skip
        return
    if found.commit == pin.commit:
        raise VersionError(
            f"the manifest of {found.repo}@{found.asked} is not the one that {lock} pins at the "
            "same commit: one of them was changed by hand",
            hint=f"restore {lock} from git, or delete its entry and load again",
        )
    raise VersionError(
        f"{found.repo}@{pin.tag} led to commit {pin.commit[:8]} when {lock} was written, and leads "
        f"to {found.commit[:8]} now: the tag was moved",
        hint=f"ask who moved it; load the locked content as {found.repo} {pin.commit}, or delete "
        f"its entry from {lock} to take the new one",
    )


def _fetched(found: Found, source_uri: str | None, *, prove_source: bool) -> LoadedVersion:
    """Download what is not here yet, check every file, and hand the version out."""
    entries = found.manifest.files
    paths = _downloaded(found, entries)
    folder = Path(str(paths[0]).removesuffix(entries[0].path))  # the snapshot's
    loaded = LoadedVersion(found.manifest, folder, source_uri, found.repo, found.commit)
    try:
        prove(loaded, files=False, source=prove_source)
    except HubMissingError as exc:
        raise VersionError(
            f"{found.repo}@{found.asked} is a view, and the source that its rows are in cannot be "
            f"read: {exc.message}",
            hint="without it this version cannot be loaded; only whoever may read it can load it",
        ) from exc
    return loaded


def _downloaded(found: Found, entries: list[FileEntry]) -> list[Path]:
    """Every file, on this machine and checked; several at once, under one bar."""
    missing = [e for e in entries if cached(found.repo, found.commit, e.path) is None]
    if not missing:
        return [_proven(found, entry) for entry in entries]
    total = sum(entry.bytes for entry in missing)
    log.info(
        "fetching %d files (%.1f MB) of %s@%s", len(missing), total / 1e6, found.repo,
        found.manifest.version,
    )  # fmt: skip
    with bar(total, found.manifest.version) as shown, ThreadPoolExecutor(_AT_ONCE) as pool:

        def fetched(entry: FileEntry) -> Path:
            path = _proven(found, entry)
            shown.update(entry.bytes if entry in missing else 0)
            return path

        return list(pool.map(fetched, entries))


def _proven(found: Found, entry: FileEntry) -> Path:
    """One file, its hash the manifest's; what the cache has wrong is fetched anew once."""
    path = patiently(lambda: fetch(found.repo, found.commit, entry.path))
    try:
        verify_file(path, entry)
    except VersionError as exc:
        if found.names is None:
            raise VersionError(exc.message, hint="load it once online: it is fetched anew") from exc
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


def _check_source(found: Found) -> None:
    """A manifest from the Hub may not choose what address this machine asks.

    Raises:
        VersionError: a view whose source is neither on the Hub nor built in.
    """
    source = found.manifest.source
    if found.manifest.kind == "view" and source.files and source.format != HUB:
        raise VersionError(
            f"{found.repo}@{found.asked} is a view of {source.uri}, which is not on the Hub",
            hint="if you trust that address, name it: --source (source= in Python)",
        )


def _warn_if_yanked(found: Found) -> None:
    if found.names is None:
        return
    try:
        mark = yanked(found.repo, found.names).get(found.manifest.version)
    except HubError as exc:
        log.warning("whether %s@%s was yanked is not known: %s", found.repo, found.asked, exc)
        return
    if mark is not None:
        log.warning("%s@%s was yanked: %s", found.repo, found.manifest.version, told(mark))
