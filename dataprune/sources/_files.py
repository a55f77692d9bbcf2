"""One file of a source, on this machine or behind a URL: opened, hashed, and its errors told."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from dataprune.core.errors import DatapruneError, SourceError
from dataprune.core.files import sha256_file

_CHUNK_BYTES = 1 << 20
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a source.

    name: its path relative to what the uri names, with slashes.
    where: its path or URL.
    remote: the fsspec file system and the path in it; None on this machine.
    """

    name: str
    where: str
    remote: tuple[Any, str] | None = None

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine; None behind a URL."""
        return Path(self.where) if self.remote is None else None

    def open(self) -> IO[bytes]:
        """Open for reading bytes; close it after."""
        with told(f"{self.where} cannot be read", remote=self.remote is not None):
            if self.remote is None:
                return Path(self.where).open("rb")
            opened: IO[bytes] = self.remote[0].open(self.remote[1], "rb")
            return opened

    def pin(self) -> tuple[str, int]:
        """SHA-256 of its bytes as hex digits, and how many there are."""
        with told(f"{self.where} cannot be read", remote=self.remote is not None):
            if self.remote is None:
                path = Path(self.where)
                return sha256_file(path), path.stat().st_size
            with self.open() as file:
                hashed = HashedFile(file)
                hashed.drain()
                return hashed.sha256, hashed.num_bytes

    @contextlib.contextmanager
    def reading(self, problem: str = "cannot be read") -> Iterator[None]:
        """Turn what reading it raises into one sentence that names it."""
        with told(f"{self.where} {problem}", remote=self.remote is not None):
            yield


class HashedFile(io.RawIOBase):
    """A stream that hashes and counts the bytes that are read through it, once, in order.

    end: the position after the last byte that is not zero, which tells a tar's padding.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.num_bytes, self.end = 0, 0

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, hashing what is read."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        if held := len(data.rstrip(b"\0")):
            self.end = self.num_bytes + held
        self.num_bytes += len(data)
        return len(data)

    def drain(self) -> None:
        """Read what is left."""
        while self.read(_CHUNK_BYTES):
            pass

    @property
    def sha256(self) -> str:
        """Of what has been read."""
        return self._digest.hexdigest()


def contents(files: Iterable[DataFile]) -> Iterator[bytes]:
    """The bytes of many small files, in order; behind a URL many are asked for at once."""
    files = iter(files)
    while some := list(itertools.islice(files, _AT_ONCE)):
        if some[0].remote is None:
            for file in some:
                with file.reading(), file.open() as opened:
                    yield opened.read()
            continue
        fs = some[0].remote[0]
        paths = [file.remote[1] for file in some if file.remote is not None]
        with told(f"{some[0].where} and more cannot be read", remote=True):
            read = fs.cat_ranges(paths, None, None, on_error="return")
        for file, data in zip(some, read, strict=True):
            if isinstance(data, Exception):
                raise SourceError(f"{file.where} cannot be read: {one_line(data)}") from data
            yield data


@contextlib.contextmanager
def told(problem: str, *, remote: bool) -> Iterator[None]:
    """Turn what reading raises into one sentence.

    Raises:
        SourceError: in place of an operating system's, Arrow's or a remote store's error.
    """
    try:
        yield
    except DatapruneError:
        raise
    except (OSError, EOFError, zlib.error, pa.ArrowException) as exc:
        raise SourceError(f"{problem}: {one_line(exc)}") from exc
    except Exception as exc:  # a store's client raises errors of its own, of any type
        if not remote:
            raise
        raise SourceError(f"{problem}: {one_line(exc)}") from exc


def one_line(exc: BaseException) -> str:
    """An error's text in one line of bounded length; its type where it has no text."""
    return " ".join(str(exc).split())[:200] or type(exc).__name__
