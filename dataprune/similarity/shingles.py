"""Texts as sets of hashed character 5-grams: what their similarity is measured on.

Characters, not words: in short questions one changed word of eight is another question or the same
one mistyped, and 5-grams tell these apart by how much changed; they need no word boundaries either.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import SourceError
from dataprune.core.fingerprint import mix64, text_hashes

WIDTH = 5
_BATCH_CHARS = 1 << 20  # characters hashed at once: some 100 MB of temporaries
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Rows = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Shingles:
    """n sets of shingles, and a hash (n,) of each normalised text.

    Set k is values[offsets[k] : offsets[k + 1]], ascending and without repeats.
    """

    offsets: Rows
    values: UInt64
    text_hashes: UInt64

    @property
    def sizes(self) -> Rows:
        """Number of shingles of each text."""
        return np.diff(self.offsets)


def normalise(text: str) -> str:
    """Same letters, one form: NFKC, case folded, every run of white space one space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def shingles_of(texts: Iterable[str]) -> Shingles:
    """Every text's character 5-grams, with a space before and after the text.

    A text shorter than that is one shingle; one of white space alone has none.

    Raises:
        SourceError: a text is no string, or holds half a character.
    """
    sizes, values, hashes = [], [], []
    for batch in _batches(texts):
        owners, shingles = _windows(batch)
        order = np.lexsort((shingles, owners))
        owners, shingles = owners[order], shingles[order]
        first = np.ones(len(owners), dtype=np.bool_)
        first[1:] = (owners[1:] != owners[:-1]) | (shingles[1:] != shingles[:-1])
        sizes.append(np.bincount(owners[first], minlength=len(batch)))
        values.append(shingles[first])
        hashes.append(text_hashes(batch, len(batch)))
    offsets = np.concatenate([[0], *sizes]).cumsum().astype(np.int64)
    empty = np.empty(0, dtype=np.uint64)
    return Shingles(offsets, np.concatenate([empty, *values]), np.concatenate([empty, *hashes]))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Normalised texts, about a million characters at a time."""
    batch: list[str] = []
    num_chars = 0
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise SourceError(
                f"text {row} is {type(text).__name__}, not a string",
                hint="drop the rows without a text, or fill them with an empty one",
            )
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise SourceError(
                f"text {row} holds a lone surrogate, which is no character",
                hint="decode its bytes with errors='replace'",
            ) from exc
        batch.append(normalise(text))
        num_chars += len(batch[-1])
        if num_chars >= _BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _windows(texts: list[str]) -> tuple[Rows, UInt64]:
    """Which text each window of WIDTH characters lies in, and its hash."""
    padded = [f" {text} ".ljust(WIDTH) if text else "" for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype="<u4")
    lengths = np.asarray([len(text) for text in padded], dtype=np.int64)
    counts = np.maximum(lengths - WIDTH + 1, 0)
    owners = np.repeat(np.arange(len(texts)), counts)
    starts = np.repeat(np.cumsum(lengths) - lengths, counts)
    starts += np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    rolled = np.zeros(len(owners), dtype=np.uint64)
    for k in range(WIDTH):
        rolled = rolled * _MULTIPLIER + codes[starts + k].astype(np.uint64)
    return owners, mix64(rolled, "shingle")
