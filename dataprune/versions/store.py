"""The local store: `<store>/<name>/<tag>/`, a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from dataprune.core.errors import VersionError, VersionNotFoundError, nearest
from dataprune.core.files import exclusive, sync
from dataprune.tables.manifest import Manifest, check_name, check_tag, is_tag, read_manifest
from dataprune.versions.tags import tag_order

DEFAULT_STORE = Path(".dataprune/store")
MANIFEST = "manifest.json"
_STAGING = ".staging-"


class LocalStore:
    """Versions under a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Names that have a version."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if p.is_dir() and self.tags(p.name))

    def tags(self, name: str) -> list[str]:
        """Tags of a name, by version number; a folder of another name is none of its versions."""
        home = self.folder / name
        if not home.is_dir():
            return []
        found = [p.parent.name for p in home.glob(f"*/{MANIFEST}")]
        return sorted(filter(is_tag, found), key=tag_order)

    def has(self, name: str, tag: str) -> bool:
        """Whether the version is there."""
        return (self.path(name, tag) / MANIFEST).is_file()

    def path(self, name: str, tag: str) -> Path:
        """Folder of a version, whether or not it is there.

        Raises:
            UsageError: not a legal name or tag.
        """
        return self.folder / check_name(name) / check_tag(tag)

    def manifest(self, name: str, tag: str) -> Manifest:
        """The version's manifest.

        Raises:
            VersionNotFoundError: no such version; the hint lists the tags there are.
        """
        check_name(name)
        if tag not in self.tags(name):
            tags = self.tags(name)
            if tags:
                raise VersionNotFoundError(
                    f"{name} has no version {tag}", hint=f"tags: {', '.join(tags)}"
                )
            hint = nearest(name, self.names()) if self.names() else "dataprune prune makes one"
            raise VersionNotFoundError(f"store {self.folder} has nothing named {name}", hint=hint)
        return read_manifest(self.path(name, tag) / MANIFEST)

    @contextlib.contextmanager
    def staging(self, name: str, tag: str) -> Iterator[Path]:
        """A folder to build a version in; it becomes the version when the block ends well.

        Holds the name meanwhile, and sweeps away what a killed build left.

        Raises:
            VersionError: something else lies where the version would go.
        BusyError: another process is building a version of this name.
        """
        final = self.path(name, tag)
        if final.exists() and not (final / MANIFEST).is_file():
            raise VersionError(
                f"{final} is there and is no whole version: it has no {MANIFEST}",
                hint="move the folder away, then build again",
            )
        home = final.parent
        home.mkdir(parents=True, exist_ok=True)
        with exclusive(home / ".lock", what=f"{name} in store {self.folder}"):
            for leftover in home.glob(f"{_STAGING}*"):
                shutil.rmtree(leftover)
            folder = home / f"{_STAGING}{tag}-{secrets.token_hex(4)}"
            folder.mkdir()
            try:
                yield folder
                if not (folder / MANIFEST).is_file():
                    return
                for path in folder.rglob("*"):
                    sync(path)
                sync(folder)
                folder.rename(final)
                sync(home)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
