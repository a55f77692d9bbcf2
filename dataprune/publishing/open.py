"""Open a version wherever it is: in a local store, or on the Hub, by the form of its name."""

from __future__ import annotations

from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.versions.load import LoadedVersion, load_version
from dataprune.versions.store import DEFAULT_STORE, LocalStore


def open_version(
    name: str,
    tag: str,
    *,
    store: str | Path = DEFAULT_STORE,
    source: str | None = None,
    lock: str | Path | None = None,
    locked: bool = False,
    prove_source: bool = True,
    record: bool = False,
) -> LoadedVersion:
    """A version of the store or of the Hub, by the form of its name; as `load`.

    prove_source: check a view's source now, not when its rows are first asked for.
    record: add to the lock file what it does not know.
    """
    if "/" not in name:
        if lock is not None or locked:
            raise UsageError(
                f"a lock file has no effect on {name}, which is in a local store",
                hint="it is for versions on the Hub, ORG/REPO",
            )
        local = LocalStore(Path(store))
        return load_version(local, name, tag, source_uri=source, prove_source=prove_source)
    from dataprune.publishing.remote import load_published
    from dataprune.tables.lock import DEFAULT_LOCK

    if lock is None and (locked or DEFAULT_LOCK.exists()):
        lock = DEFAULT_LOCK
    return load_published(
        name,
        tag,
        lock=None if lock is None else Path(lock),
        locked=locked,
        source_uri=source,
        prove_source=prove_source,
        record=record,
    )
