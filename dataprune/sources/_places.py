"""What a uri names: a file, a folder or a glob, on this machine or behind an fsspec URL.

Local files are plain paths and never pass through fsspec; `file://` URLs are local paths too. A
URL's scheme may need a package of its own (s3fs, gcsfs, aiohttp ...), which is named if missing.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dataprune.core.errors import MissingExtraError, SourceError
from dataprune.sources._files import DataFile, one_line, told

_URL = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(://|::)")
_WEB = re.compile(r"^https?://", re.IGNORECASE)
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Place:
    """What a uri names, not looked at yet.

    path: the uri without its scheme.
    fs: the fsspec file system; None for this machine.
    """

    uri: str
    path: str
    fs: Any | None

    @cached_property
    def kind(self) -> Literal["file", "folder", "glob"] | None:
        """One file, a folder, or a pattern: a wildcard, and nothing has that very name.

        None if nothing is there. Asked once, since each question to a URL is a request.
        """
        if self._ask("isfile"):
            return "file"
        # On the web a ? begins a query, and nothing can be listed.
        has_wildcard = bool(_GLOB & set(self.path)) and not _WEB.match(self.uri)
        if has_wildcard and not self._ask("exists"):
            return "glob"
        return "folder" if self._ask("isdir") else None

    def files(self) -> list[DataFile]:
        """The one file, what the glob matches, or a folder's files; sorted by name, part by part.

        Hidden files and folders (their name begins with a dot) are left out. Nothing there: none.
        """
        if self.kind is None:
            return []
        if self.kind == "glob":
            return self._matched()
        if self.kind == "file":
            return [self._file(self.path, without_query(self.path).rsplit("/", maxsplit=1)[-1])]
        return [self._file(f"{self._root}/{name}", name) for name in self.tree()[0]]

    def tree(self) -> tuple[list[str], list[str]]:
        """Relative names of a folder's files and of its folders, hidden ones left out; sorted."""
        if self.fs is None:
            entries = list(_walk(self.path, "", ()))
        else:
            with told(f"{self.uri} cannot be listed", remote=True):
                found = self.fs.find(self.path, withdirs=True, detail=True)
            root = self._root
            entries = [
                (path.removeprefix(root).strip("/"), info["type"] == "directory")
                for path, info in found.items()
            ]
        seen = [(n, folder) for n, folder in entries if n and not is_hidden(n, ".")]
        files = [name for name, folder in seen if not folder]
        _refuse_undecodable(files)
        return sorted(files, key=_parts), sorted((n for n, folder in seen if folder), key=_parts)

    def file(self, name: str) -> DataFile:
        """A file of this folder, by its relative name."""
        return self._file(f"{self._root}/{name}", name)

    @property
    def _root(self) -> str:
        return self.path.rstrip("/")

    def _ask(self, question: str) -> bool:
        if self.fs is None:
            return bool(getattr(os.path, question)(self.path))
        with told(f"{self.uri} cannot be reached", remote=True):
            return bool(getattr(self.fs, question)(self.path))

    def _matched(self) -> list[DataFile]:
        if self.fs is None:
            paths = [p for p in glob.glob(self.path, recursive=True) if Path(p).is_file()]  # noqa: PTH207
        else:
            with told(f"{self.uri} cannot be listed", remote=True):
                found = self.fs.glob(self.path, detail=True)
            paths = [p for p, info in found.items() if info["type"] != "directory"]
        _refuse_undecodable(paths)
        fixed = _fixed_folder(self.path)
        made = [self._file(p, p.removeprefix(fixed).lstrip("/")) for p in paths]
        if self.fs is not None:  # here a wildcard matches no hidden file, there it may
            made = [file for file in made if not is_hidden(file.name, ".")]
        return sorted(made, key=lambda file: _parts(file.name))

    def _file(self, path: str, name: str) -> DataFile:
        if self.fs is None:
            return DataFile(name, path)
        where = self.uri if path == self.path else self.fs.unstrip_protocol(path)
        return DataFile(name, where, (self.fs, path))


def place_of(uri: str) -> Place:
    """What a uri names.

    Raises:
        MissingExtraError: the URL's scheme needs a package that is not installed.
        SourceError: there is no such scheme.
    """
    found = _URL.match(uri)
    if found is None:
        return Place(uri, uri, None)
    if found["scheme"].lower() in {"file", "local"} and "::" not in uri:
        return Place(uri, uri[found.end() :], None)
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except ImportError as exc:
        package = getattr(exc.__cause__, "name", None) or getattr(exc, "name", None)
        raise MissingExtraError(
            f"{uri} needs the package {package or found['scheme']}, which is not installed",
            hint=f"pip install {package}" if package else one_line(exc),
        ) from exc
    except ValueError as exc:
        raise SourceError(
            f"{uri} cannot be opened: {one_line(exc)}",
            hint="a source is a path on this machine or a URL that fsspec knows, such as s3://",
        ) from exc
    fs.invalidate_cache()  # a store's listing may be from an earlier look
    return Place(uri, path, fs)


def is_there(uri: str) -> bool:
    """Whether a uri names a file, a folder, or a pattern that matches something."""
    place = place_of(uri)
    return bool(place.files()) if place.kind == "glob" else place.kind is not None


def absolute(uri: str) -> str:
    """A uri that means the same from any working folder; a URL already does."""
    return uri if is_url(uri) else str(Path(uri).resolve())


def without_query(uri: str) -> str:
    """A web address without its query; anything else as it is."""
    return uri.split("?", maxsplit=1)[0] if _WEB.match(uri) else uri


def is_url(uri: str) -> bool:
    """Whether a uri has a scheme (`s3://...`), `file://` too."""
    return _URL.match(uri) is not None


def is_on_this_machine(uri: str) -> bool:
    """Whether a uri is a path here, `file://` or not."""
    found = _URL.match(uri)
    return found is None or found["scheme"].lower() in {"file", "local"}


def has_secret(uri: str) -> bool:
    """Whether an address holds what may be a secret: a password, or a query such as a signature."""
    found = _URL.match(uri)
    if found is None:
        return False
    rest = uri[found.end() :]
    return "?" in rest or "@" in rest.split("/", maxsplit=1)[0]


def is_hidden(name: str, *marks: str) -> bool:
    """Whether a file, or a folder it lies in, has a name that begins with one of the marks."""
    return any(part.startswith(marks) for part in name.split("/"))


def _walk(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, bool]]:
    """Every entry below a folder, as (relative name, is a folder); links are followed."""
    with told(f"{folder} cannot be listed", remote=False):
        stat = os.stat(folder)  # noqa: PTH116 - strings: a folder may hold millions
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    if (stat.st_dev, stat.st_ino) in above:
        raise SourceError(f"{folder} is a link to a folder that it lies in", hint="remove the link")
    for name, is_folder in found:
        if name.startswith("."):
            continue
        yield f"{prefix}{name}", is_folder
        if is_folder:
            below = (*above, (stat.st_dev, stat.st_ino))
            yield from _walk(f"{folder}/{name}", f"{prefix}{name}/", below)


def _refuse_undecodable(names: Iterable[str]) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
            raise SourceError(
                f"the name of {shown} is not UTF-8", hint="rename the file; its name is recorded"
            ) from exc


def _fixed_folder(pattern: str) -> str:
    """The folder before a pattern's first wildcard, with its slash."""
    first = min(pattern.index(mark) for mark in _GLOB if mark in pattern)
    return pattern[: pattern.rfind("/", 0, first) + 1]


def _parts(name: str) -> list[str]:
    return name.split("/")
