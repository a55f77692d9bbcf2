"""dataprune.lock: which commit and manifest a version on the Hub was when it was first loaded.

A tag can be deleted and made again elsewhere by anyone who may write; the file notices. Keep it in
git beside the code that trains on the version.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from dataprune.core.errors import TableError
from dataprune.core.files import read_json, write_json
from dataprune.core.recipe_training import Strict
from dataprune.tables.manifest import TAG_PATTERN

DEFAULT_LOCK = Path("dataprune.lock")
_RESTORE = "restore it from git, or delete it and load again to write a new one"


class Pin(Strict):
    """One version as it was found.

    asked: the tag, alias or commit that was asked for.
    """

    repo: str
    asked: str
    tag: str = Field(pattern=TAG_PATTERN)
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def key(self) -> tuple[str, str]:
        """What it is looked up by; the Hub takes a repository's name in upper or lower case."""
        return self.repo.casefold(), self.asked

    @property
    def content(self) -> tuple[str, str, str]:
        """What it was found to be."""
        return self.tag, self.commit, self.manifest_sha256


class LockFile(Strict):
    """What the file holds."""

    lock_version: Literal[1] = 1
    pins: tuple[Pin, ...] = ()


def read_pin(path: Path, repo: str, asked: str) -> Pin | None:
    """What a lock file says of a version; None if nothing, or there is no such file.

    Raises:
        TableError: it is no lock file, is of another version, or holds two pins of one name.
    """
    found = [pin for pin in _read(path).pins if pin.key == (repo.casefold(), asked)]
    return found[0] if found else None


def write_pin(path: Path, pin: Pin) -> None:
    """Put a version into a lock file, in place of what it said of the same name before.

    Raises:
        TableError: as `read_pin`.
    """
    if pin in _read(path).pins:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _one_writer(path.parent):
        others = [p for p in _read(path).pins if p.key != pin.key]
        pins = tuple(sorted([*others, pin], key=lambda p: p.key))
        write_json(path.resolve(), LockFile(pins=pins).model_dump(mode="json"))


@contextlib.contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against other writers, so that two at once lose no pin; leaves no file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> LockFile:
    if not path.exists():
        return LockFile()
    problem = f"{path} is not a lock file of dataprune"
    try:
        lock = LockFile.model_validate(read_json(path))
    except TableError as exc:
        raise TableError(exc.message, hint=_RESTORE) from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        if where == "lock_version":
            raise TableError(
                f"{path} has lock_version {first['input']!r}, and this dataprune reads 1",
                hint="a newer dataprune may have written it: update, or use another --lock FILE",
            ) from exc
        raise TableError(f"{problem}: {where}: {first['msg']}", hint=_RESTORE) from exc
    asked = Counter(pin.key for pin in lock.pins)
    for (repo, name), times in asked.items():
        if times > 1:
            raise TableError(f"{problem}: {repo}@{name} stands in it {times} times", hint=_RESTORE)
    return lock
