"""Text files as streams of bytes: unpacked, hashed, and refused where they cannot be text."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from typing import IO, Any

from dataprune.core.errors import SourceError
from dataprune.sources._files import DataFile, HashedFile
from dataprune.tables.manifest import FileEntry

_BUFFER_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class TextFile(io.RawIOBase):
    """A text file that is being read, once, in order; a byte order mark is left out.

    num_quotes: how many double quotes were read; an odd number means that one is not closed.
    """

    def __init__(self, file: DataFile, raw: IO[bytes]) -> None:
        self.file, self.num_quotes = file, 0
        self._hashed = HashedFile(raw)
        unpacked: Any = io.BufferedReader(self._hashed, _BUFFER_BYTES)
        if file.name.lower().endswith(".gz"):
            unpacked = gzip.GzipFile(fileobj=unpacked)
        if unpacked.peek(len(_BOM)).startswith(_BOM):
            unpacked.read(len(_BOM))
        self._unpacked = unpacked

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Read at most so many bytes.

        Raises:
            SourceError: there is a zero byte, which no UTF-8 text has and UTF-16 is full of.
        """
        data: bytes = self._unpacked.read(size)
        if b"\0" in data:
            raise SourceError(
                f"{self.file.where} is no UTF-8 text: it holds zero bytes",
                hint="write it again as UTF-8",
            )
        self.num_quotes += data.count(b'"')
        return data

    def entry(self, rows: int) -> FileEntry:
        """The file's entry, with the hash of all its bytes: reads what is left."""
        while self.read(_BUFFER_BYTES):
            pass
        self._hashed.drain()
        hashed = self._hashed
        return FileEntry(
            path=self.file.name, sha256=hashed.sha256, bytes=hashed.num_bytes, rows=rows
        )


@contextlib.contextmanager
def text_file(file: DataFile) -> Iterator[TextFile]:
    """Open a text file, gzipped if its name ends in .gz.

    Raises:
        SourceError: it cannot be read, or not unpacked.
    """
    with file.reading(), file.open() as raw:
        yield TextFile(file, raw)
