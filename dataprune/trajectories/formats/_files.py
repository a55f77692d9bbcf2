"""Files of trajectories: which there are, opened unpacked, and refused where they are traps."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.tables.manifest import FileEntry

Kind = Literal["json", "lines", "parquet"]
_KINDS: dict[str, Kind] = {
    ".json": "json",
    ".traj": "json",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".parquet": "parquet",
}
_PACKED: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".zst": "zstd"}
SUFFIXES = ", ".join([*_KINDS, ".gz and .zst of these but .parquet"])
CHUNK_BYTES = 1 << 20
_TRUSTED_BYTES = 1 << 30  # that a small file may unpack to
_MOST_UNPACKED = 1000  # times its size, beyond that
_ZERO_WORDS = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file with rows.

    label: its path inside the folder asked for, or its name; unique in the input.
    stem: the label without suffixes where that is unique, too: names of rows begin with it.
    """

    path: Path
    label: str
    stem: str
    kind: Kind
    packed: Literal["gzip", "zstd"] | None


def find_files(paths: Iterable[str | Path]) -> tuple[RowsFile, ...]:
    """The files, and those in the folders at any depth: by argument, then by path.

    Hidden files and folders and files with other suffixes are passed over in folders.

    Raises:
        SourceError: there is no such path, no file in a folder, or the suffix is not known.
    """
    found = [pair for path in paths for pair in _below(Path(path))]
    if not found:
        raise SourceError("no file is named", hint="name files or folders with trajectories")
    first: dict[Path, tuple[Path, str]] = {}
    for path, label in found:  # a file that is named twice is read once
        first.setdefault(path.resolve(), (path, label))
    found = list(first.values())
    labels = Counter(label for _, label in found)
    several = [path for path, label in found if labels[label] > 1]
    above = Path(os.path.commonpath([path.resolve().parent for path in several] or [Path()]))
    found = [
        (path, label if labels[label] == 1 else path.resolve().relative_to(above).as_posix())
        for path, label in found
    ]
    stems = Counter(_stem(label) for _, label in found)
    return tuple(
        RowsFile(path, label, _stem(label) if stems[_stem(label)] == 1 else label, *_type(path))
        for path, label in found
    )


def _below(path: Path) -> Iterator[tuple[Path, str]]:
    if path.is_dir():
        inside = sorted(_walk(path), key=lambda file: file.relative_to(path).parts)
        if not inside:
            raise SourceError(
                f"there is no file of trajectories in {path}", hint=f"looked for {SUFFIXES}"
            )
        yield from ((file, file.relative_to(path).as_posix()) for file in inside)
    elif not path.exists():
        raise SourceError(f"there is no file or folder {path}", hint="check the path")
    elif _type_or_none(path) is None:
        raise SourceError(
            f"{path} has no suffix of a file of trajectories", hint=f"known are {SUFFIXES}"
        )
    else:
        yield path, path.name


def _walk(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(at, name) for name in names if not name.startswith("."))
        yield from (file for file in files if _type_or_none(file) and file.is_file())


def _type_or_none(path: Path) -> tuple[Kind, Literal["gzip", "zstd"] | None] | None:
    name = Path(path.name.lower())
    packed = _PACKED.get(name.suffix)
    kind = _KINDS.get((name.with_suffix("") if packed else name).suffix)
    return None if kind is None or (packed and kind == "parquet") else (kind, packed)


def _type(path: Path) -> tuple[Kind, Literal["gzip", "zstd"] | None]:
    known = _type_or_none(path)
    assert known is not None, "files of unknown types were refused"
    return known


def _stem(label: str) -> str:
    path = Path(label)
    while path.suffix.lower() in {*_KINDS, *_PACKED}:
        path = path.with_suffix("")
    return path.as_posix()


@contextlib.contextmanager
def reading(file: RowsFile) -> Iterator[None]:
    """What the system says while a file is read, in a sentence.

    Raises:
        SourceError: it cannot be read or unpacked.
    """
    try:
        yield
    except (OSError, EOFError) as exc:
        why = " ".join(str(getattr(exc, "strerror", None) or exc).split())
        raise SourceError(
            f"{file.label} cannot be read: {why}",
            hint="it may be damaged or cut short: fetch or write it again",
        ) from exc


@contextlib.contextmanager
def chunks_of(file: RowsFile) -> Iterator[Iterator[bytes]]:
    """The unpacked bytes of a file, in pieces of at most 1 MiB; a byte order mark is left out.

    Raises:
        SourceError: it cannot be read, is empty, is UTF-16, or unpacks to far more than its size.
    """
    with reading(file), pa.OSFile(str(file.path), "rb") as raw:
        num_bytes = raw.size()
        if not num_bytes:
            raise SourceError(f"{file.label} is empty", hint="leave it out or write it again")
        opened = pa.CompressedInputStream(raw, file.packed) if file.packed else raw
        yield _chunks(file, opened, num_bytes)


def _chunks(file: RowsFile, opened: Any, num_bytes: int) -> Iterator[bytes]:
    total = 0
    while chunk := opened.read(CHUNK_BYTES):
        if not total:
            if chunk.startswith(_ZERO_WORDS):
                raise SourceError(f"{file.label} is no UTF-8 text", hint="write it again as UTF-8")
            chunk = chunk.removeprefix(b"\xef\xbb\xbf")
        total += len(chunk) or 1
        if file.packed and total > max(_TRUSTED_BYTES, _MOST_UNPACKED * num_bytes):
            raise SourceError(
                f"{file.label} unpacks to more than {_MOST_UNPACKED} times its size",
                hint="if it is meant to, unpack it and name the unpacked file",
            )
        if chunk:
            yield chunk
    if not total:
        raise SourceError(f"{file.label} is empty", hint="leave it out or write it again")


def entry_of(file: RowsFile, rows: int | None) -> FileEntry:
    """A file by content: reads all of it."""
    digest, num_bytes = hashlib.sha256(), 0
    with reading(file), file.path.open("rb") as raw:
        while chunk := raw.read(CHUNK_BYTES):
            digest.update(chunk)
            num_bytes += len(chunk)
    return FileEntry(path=file.label, sha256=digest.hexdigest(), bytes=num_bytes, rows=rows)


def file_entries(
    files: Iterable[RowsFile], rows: Mapping[str, int] | None = None
) -> list[FileEntry]:
    """The files by content, in order; rows: {label: how many}, where they were counted."""
    return [entry_of(file, (rows or {}).get(file.label)) for file in files]
