"""dataprune.lock: which commit and manifest a version on the Hub was when it was first loaded.

A tag can be deleted and made again elsewhere by anyone who may write; the file notices. Keep it in
git beside the code that trains on the version.
"""

from __future__ import annotations

from collections import Counter
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


class LockFile(Strict):
    """What the file holds."""

    lock_version: Literal[1] = 1
    pins: tuple[Pin, ...] = ()


def read_pin(path: Path, repo: str, asked: str) -> Pin | None:
    """What a lock file says of a version; None if nothing, or there is no such file.

    Raises:
        TableError: it is no lock file, is of another version, or holds two pins of one name.
    """
    found = [pin for pin in _read(path).pins if (pin.repo, pin.asked) == (repo, asked)]
    return found[0] if found else None


def write_pin(path: Path, pin: Pin) -> None:
    """Put a version into a lock file, in place of what it said of the same name before.

    Raises:
        TableError: as `read_pin`.
    """
    pins = _read(path).pins
    if pin in pins:
        return
    others = [p for p in pins if (p.repo, p.asked) != (pin.repo, pin.asked)]
    sorted_pins = tuple(sorted([*others, pin], key=lambda p: (p.repo, p.asked)))
    write_json(path, LockFile(pins=sorted_pins).model_dump(mode="json"))


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
    asked = Counter((pin.repo, pin.asked) for pin in lock.pins)
    for (repo, name), times in asked.items():
        if times > 1:
            raise TableError(f"{problem}: {repo}@{name} stands in it {times} times", hint=_RESTORE)
    return lock
