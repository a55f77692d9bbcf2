"""Texts as words with their places, hashed; n words in a row are what copies are found by.

A word is a run of letters, digits and combining marks, in any case; where a script writes no
spaces, Chinese and Japanese, each character is one. Every step is a table look-up or a sum over an
array, so that time grows with length whatever the text is, and places are those of the text as it
came.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import mix64

Rows = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_LONGEST = 1 << 22  # characters; a longer text is read up to there: some 200 MB of temporaries
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LAST = 0x323B0  # no letters are assigned from here on
_NO_SPACES = (
    (0x3040, 0x3100),
    (0x3400, 0x4DC0),
    (0x4E00, 0xA000),
    (0xF900, 0xFB00),
    (0x20000, 0x323B0),
)
_LETTER, _WORD = 1, 2  # part of a word; a word by itself


@dataclass(frozen=True)
class Words:
    """n words: starts, ends (exclusive) in characters, int64 (n,); hashes, uint64 (n,)."""

    starts: Rows
    ends: Rows
    hashes: UInt64

    def __len__(self) -> int:
        return len(self.hashes)

    def sequences(self, width: int) -> UInt64:
        """A hash of each `width` words in a row, uint64 (max(0, n - width + 1),)."""
        count = max(0, len(self) - width + 1)
        rolled = np.zeros(count, dtype=np.uint64)
        for k in range(width):
            rolled = rolled * _MULTIPLIER + self.hashes[k : k + count]
        return mix64(rolled, "words", width)

    def shingles(self, width: int) -> UInt64:
        """The set of those hashes, ascending; of fewer words, a hash of all; of none, empty."""
        return _ascending(self.sequences(min(width, len(self)))) if len(self) else self.hashes


def words_of(text: str) -> Words:
    """The words of a text; of one longer than 4 million characters, of its beginning."""
    return _words(text[:_LONGEST])


def shingles_of_all(texts: Sequence[str], width: int) -> list[UInt64]:
    """`words_of(text).shingles(width)` of each text, all in one pass: for many short ones."""
    shortened = [text[:_LONGEST] for text in texts]
    words = _words("\n".join(shortened))  # no word goes over a line's end
    ends = np.cumsum([len(text) + 1 for text in shortened], dtype=np.int64)
    last = np.searchsorted(words.starts, ends).tolist()
    sequences = words.sequences(width)
    found = []
    for first, end in itertools.pairwise([0, *last]):
        if end - first >= width:
            found.append(_ascending(sequences[first : end - width + 1]))
        else:
            part = slice(first, end)
            few = Words(words.starts[part], words.ends[part], words.hashes[part])
            found.append(few.shingles(width))
    return found


def _ascending(hashes: UInt64) -> UInt64:
    """The different ones, sorted: np.unique without its overhead, which short arrays feel."""
    ordered = np.sort(hashes)
    different = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=different[1:])
    return ordered[different]


def _words(text: str) -> Words:
    data = text.encode("utf-32-le", "surrogatepass")
    codes = np.minimum(np.frombuffer(data, dtype="<u4"), _LAST)
    kinds_of, folded = _tables()
    kinds = kinds_of[codes]
    inside = np.flatnonzero(kinds)
    kind = kinds[inside]
    begins = np.ones(len(inside), dtype=np.bool_)
    begins[1:] = (inside[1:] != inside[:-1] + 1) | (kind[1:] == _WORD) | (kind[:-1] == _WORD)
    first = np.flatnonzero(begins)
    if not len(first):
        empty = np.empty(0, dtype=np.int64)
        return Words(empty, empty, empty.astype(np.uint64))
    lengths = np.diff(first, append=len(inside))
    place = np.arange(len(inside)) - np.repeat(first, lengths)
    powers = np.full(int(lengths.max()), _MULTIPLIER)
    powers[0] = 1
    powers = np.multiply.accumulate(powers)
    terms = folded[codes[inside]] * powers[place]
    starts = inside[first]
    return Words(starts, starts + lengths, mix64(np.add.reduceat(terms, first), "word"))


def normalised(text: str) -> str:
    """A short text's words with one space between them, in one case."""
    folded = text.casefold()
    return " ".join("".join(c if c.isalnum() or _is_mark(c) else " " for c in folded).split())


@functools.cache
def _tables() -> tuple[npt.NDArray[np.uint8], UInt64]:
    """What each character is in a word, and the character that stands for it in any case."""
    kinds = np.zeros(_LAST + 1, dtype=np.uint8)
    folded = np.arange(_LAST + 1, dtype=np.uint64)
    for code in range(_LAST):
        character = chr(code)
        if character.isalnum() or _is_mark(character):
            kinds[code] = _LETTER
            lower = character.casefold()
            if len(lower) == 1:
                folded[code] = ord(lower)
    for begin, end in _NO_SPACES:
        kinds[begin:end] = np.where(kinds[begin:end], _WORD, 0)
    return kinds, folded


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
