"""JSON out of streams of bytes: elements of long arrays and lines, one at a time.

Python's parser is fast and needs the whole text of a value; where that ends is not known before it
is parsed. So a value is tried on what was read so far; where it does not end there, its end is
found by counting brackets, once, and then it is parsed. So a wrong element ends where its brackets
do, and those behind it are still read. Both are linear.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataprune.core.errors import SourceError

MOST_BYTES = 256 << 20  # of a row
_PASSED = 1 << 16  # characters that are let go at once
_WINDOW = 1 << 10  # characters that are looked at first for the end of a value
_SPACE = re.compile(r"[ \t\r\n]*")
_STRUCTURE = re.compile(r'["\[\]{},]')
# As raw_decode, without a costly error where there is no value.
_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # typeshed lacks it


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row could not be read, in a few words."""

    says: str


def lines(chunks: Iterator[bytes], label: str) -> Iterator[tuple[int, Any]]:
    """Values of JSON Lines with their line, from 1; blank lines are none."""
    for number, line in enumerate(_split(chunks, label), start=1):
        if line.strip():
            yield number, _value_of(line)


def _split(chunks: Iterator[bytes], label: str) -> Iterator[bytes]:
    parts: list[bytes] = []
    num_bytes = 0
    for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        if whole:
            yield b"".join([*parts, whole[0]])
            yield from whole[1:]
            parts, num_bytes = [], 0
        parts.append(last)
        num_bytes += len(last)
        _check_size(num_bytes, label)
    yield b"".join(parts)


def _check_size(num_bytes: int, label: str) -> None:
    if num_bytes > MOST_BYTES:
        raise SourceError(
            f"a row of {label} is larger than {MOST_BYTES >> 20} MiB",
            hint="write one trajectory a line, as JSON Lines",
        )


def _value_of(line: bytes) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Problem("it is not UTF-8")
    return parse(text)


def parse(text: str) -> Any:
    """A JSON value, or the problem with it."""
    try:
        return json.loads(text)
    except RecursionError:
        return Problem("it is nested too deeply")
    except ValueError as exc:
        return Problem(f"it is not valid JSON: {' '.join(str(exc).split())[:200]}")


class Text:
    """The text of a JSON file, read as far as needed.

    Bytes that are no UTF-8 become surrogates, which no JSON text has, and are found when the value
    around them is cut out.
    """

    def __init__(self, chunks: Iterator[bytes], label: str) -> None:
        self._chunks, self._label = chunks, label
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at = "", 0

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None, "the pattern matches nothing, too"
            self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            self._text, self._at = self._more(), 0
            if not self._text:
                return ""

    def skip(self) -> None:
        """Pass over the character that `peek` gave."""
        self._at += 1

    def value(self) -> Any:
        """The value that begins here, or the problem with it; goes behind it, at least one on."""
        if self._at > _PASSED:  # errors count the lines before them
            self._text, self._at = self._text[self._at :], 0
        start = self._at
        try:
            value, end = _SCAN(self._text, start)
        except (ValueError, RecursionError, StopIteration):
            return _checked(*self._counted())
        if not isinstance(value, dict | list | str):
            return _checked(*self._counted())  # a number may go on
        self._at = end
        return _checked(self._text[start:end], value)

    def _counted(self) -> tuple[str, Any]:
        parts, num_open = [], 0
        for piece, end, depth in self._pieces():
            parts.append(piece[:end])
            num_open = depth
        text = "".join(parts)
        return text, Problem("the file ends inside of it") if num_open else parse(text)

    def _pieces(self) -> Iterator[tuple[str, int, int]]:
        """Pieces of the value that begins here, where each ends, and how many brackets are open."""
        count = _Count()
        size, window = 0, _WINDOW
        while True:
            piece = self._text[self._at : self._at + window]
            end = count.end(piece)
            length = len(piece) if end is None else end
            yield piece, length, count.depth
            self._at += length
            size += length
            window *= 2  # so that short values cost little, and long ones are linear
            _check_size(size, self._label)
            if end is not None:
                return
            if self._at == len(self._text):
                self._text, self._at = self._more(), 0
                if not self._text:
                    return

    def _more(self) -> str:
        """The next piece of the file, "" at the end."""
        for chunk in self._chunks:
            if text := self._decoder.decode(chunk):
                return text
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return text


class _Count:
    """Counts brackets outside of texts, piece by piece."""

    def __init__(self) -> None:
        self.depth, self.in_text, self.is_escaped, self.is_first = 0, False, False, True

    def end(self, piece: str) -> int | None:
        """Where the value ends in this piece: behind its last bracket, or before the next comma."""
        plain = self._without_escapes(piece)
        at = 0
        while True:
            if self.in_text:
                at = plain.find('"', at) + 1
                if not at:
                    return None
                self.in_text = False
            found = _STRUCTURE.search(plain, at)
            if found is None:
                self.is_first = self.is_first and not piece
                return None
            mark, at = found[0], found.end()
            if mark == '"':
                self.in_text = True
            elif mark in "[{":
                self.depth += 1
            elif mark == "}" and self.is_first:  # one too many, passed over with those behind it
                continue
            elif not self.depth:  # what stands behind it
                return max(at - 1, int(self.is_first))
            elif mark in "]}":
                self.depth -= 1
                if not self.depth:
                    return at
            self.is_first = False

    def _without_escapes(self, piece: str) -> str:
        """The piece with dots for escaped quotes and backslashes, every place as it was."""
        if self.is_escaped:  # by the last character of the piece before
            piece = "." + piece[1:]
        plain = piece.replace("\\\\", "..").replace('\\"', "..")
        self.is_escaped = plain.endswith("\\")
        return plain


def _checked(raw: str, value: Any) -> Any:
    """The value, unless its text had bytes that are no UTF-8."""
    if not raw.isascii():
        try:
            raw.encode()
        except UnicodeEncodeError:
            return Problem("it is not UTF-8")
    return value
