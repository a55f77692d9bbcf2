"""Where a work folder lies: on a file system of this machine, or behind an fsspec URL.

The ledger and the lease are written on these few verbs, so that neither knows which it is. What is
written is whole or absent; names are relative, with slashes.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from dataprune.core.errors import UsageError
from dataprune.core.files import atomic_path, sync

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
# Azure's abfs://CONTAINER@ACCOUNT... names no user.
_CREDENTIALS = re.compile(r"^(?!abfss?://[^/:@]+@)[A-Za-z][A-Za-z0-9+.-]*://[^/@]*@")
_ATTEMPT, _BESIDE = ".attempt-", ".beside-"


class Place(Protocol):
    """A work folder.

    url: its name, for people and for workers elsewhere.
    folder: where its files can be read on this machine: the folder itself, or a mirror.
    """

    @property
    def url(self) -> str:
        """The folder's path, or its URL."""

    @property
    def folder(self) -> Path:
        """The folder itself, or its mirror on this machine."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if there is none."""

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file, whole or not at all; `durable` only for what may not be lost."""

    def take(self, path: Path, name: str) -> None:
        """Move a file of a scratch folder into place."""

    def fetch(self, name: str) -> Path | None:
        """A path where the file's present bytes can be read; None if there is none."""

    def share(self, *names: str) -> None:
        """Make files that were written into `folder` seen by others."""

    def names(self, pattern: str) -> list[str]:
        """Names that match a glob pattern, sorted; each part may have stars."""

    def remove(self, *names: str) -> None:
        """Remove files, if they are there."""

    def scratch(self, home: str, *, counts: bool = True) -> Path:
        """A fresh folder on this machine for the unit whose folder is `home`.

        counts: it is an attempt at the unit, which is known by it until it ends.
        """

    def attempts(self, home: str) -> int:
        """Attempts that left their scratch folder or its mark: under way, or cut off."""

    def end(self, home: str, attempt: Path | None) -> None:
        """Drop an attempt's folder and mark; with None, those of every attempt at the unit."""

    def sweep(self) -> None:
        """Drop what killed processes left. Only for who holds the folder."""


class LocalPlace:
    """A folder on a file system of this machine, or one it mounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if there is none."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file, whole or not at all."""
        with atomic_path(self.folder / name, durable=durable) as temporary:
            temporary.write_bytes(data)

    def take(self, path: Path, name: str) -> None:
        """Rename a file into place, its bytes on disk first."""
        sync(path)
        path.replace(self.folder / name)
        sync((self.folder / name).parent)

    def fetch(self, name: str) -> Path | None:
        """The file itself."""
        path = self.folder / name
        return path if path.is_file() else None

    def share(self, *names: str) -> None:
        """Nothing: it is seen already."""

    def names(self, pattern: str) -> list[str]:
        """Names that match a glob pattern, sorted."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(pattern))

    def remove(self, *names: str) -> None:
        """Remove files, if they are there."""
        for name in names:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (self.folder / name).unlink()

    def scratch(self, home: str, *, counts: bool = True) -> Path:
        """A hidden folder beside the files it will become: moving them is a rename."""
        kind = _ATTEMPT if counts else _BESIDE
        folder = self.folder / home / f"{kind}{secrets.token_hex(8)}"
        folder.mkdir(parents=True)
        return folder

    def attempts(self, home: str) -> int:
        """Scratch folders that are there."""
        return len(list((self.folder / home).glob(f"{_ATTEMPT}*")))

    def end(self, home: str, attempt: Path | None) -> None:
        """Drop scratch folders."""
        for folder in [attempt] if attempt else _scratch_folders(self.folder / home, "."):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Drop attempts and half writes of killed processes."""
        for leftover in _scratch_folders(self.folder, "units/*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for unfinished in self.folder.glob("units/*/.*.tmp"):
            unfinished.unlink(missing_ok=True)


def _scratch_folders(folder: Path, homes: str) -> list[Path]:
    return [path for kind in (_ATTEMPT, _BESIDE) for path in folder.glob(f"{homes}/{kind}*")]


def is_url(where: str | Path) -> bool:
    """Whether it names something behind a URL that is not of this machine's files."""
    text = str(where)
    return bool(_URL.match(text)) and not text.startswith(("file://", "local://"))


def open_place(where: str | Path | Place) -> Place:
    """The work folder of that path or URL; `file://` URLs are paths.

    Raises:
        UsageError: the URL holds credentials, which would end up in logs.
        MissingExtraError: its scheme wants a package that is not installed.
    """
    if not isinstance(where, str | Path):
        return where
    if not is_url(where):
        return LocalPlace(Path(str(where).removeprefix("file://").removeprefix("local://")))
    if _CREDENTIALS.match(str(where)):
        scheme = str(where).partition("://")[0]
        raise UsageError(
            f"the work folder's {scheme} URL holds credentials, which would end up in logs",
            hint="give them as the storage's own client reads them, such as environment variables",
        )
    from dataprune.runs.remote import RemotePlace

    return RemotePlace(str(where))
