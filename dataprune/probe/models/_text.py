"""Text as rows of hashed ids: what the text models share. No vocabulary is built or stored.

A token is a lowercased word or a punctuation mark. The id of an n-gram is
1 + crc32(UTF-8 bytes) % buckets, the same on every machine and in every run; 0 pads at the end.

Shape suffixes: N texts, L ids per text, T tokens of a chunk, G n-gram lengths.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import chain, groupby
from zlib import crc32

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError

MOST_BUCKETS = 2**31 - 1  # ids are int32
_CHUNK_TEXTS = 4096  # tokens are Python objects, and only one chunk's live at a time


def _mark_ranges() -> str:
    r"""Combining marks and joiners, as the inside of a regex class: `\w` has none of them.

    Without them the tone marks of Yoruba and the vowel signs of Hindi would cut words apart.
    """
    marks = (c for c in range(0x20000) if unicodedata.category(chr(c)).startswith("M"))
    runs = ([c for _, c in run] for _, run in groupby(enumerate(marks), lambda m: m[1] - m[0]))
    return "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs) + "\u200c\u200d"


_TOKEN = re.compile(rf"[\w{_mark_ranges()}]+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks, lowercased.

    Composed (NFC) too, so that a text means the same however its accents were typed.
    """
    return _TOKEN.findall(unicodedata.normalize("NFC", text.lower()))


def hashed_ids(
    texts: Sequence[str], *, buckets: int, max_tokens: int, ngrams: int = 1, char_ngrams: int = 0
) -> npt.NDArray[np.int32]:
    """Ids of every text's n-grams, int32 (N, L): 1..buckets, then zeros.

    ngrams: runs of 1 to this many tokens.
    char_ngrams: also every run of this many characters of `<token>`; 0 for none.
    max_tokens: ids kept per text. They are ordered by the token they start at, so what is cut is
        the end of the text. L is the longest that is left, and at least 1.
    """
    counts_N = np.zeros(len(texts), dtype=np.int64)
    kept = []
    for start in range(0, len(texts), _CHUNK_TEXTS):
        chunk = [tokens(text)[:max_tokens] for text in texts[start : start + _CHUNK_TEXTS]]
        crcs, owners = _ngram_crcs(chunk, ngrams, char_ngrams)
        found = np.bincount(owners, minlength=len(chunk))
        rank = np.arange(len(owners)) - np.repeat(np.cumsum(found) - found, found)
        kept.append((crcs[rank < max_tokens] % np.uint32(buckets)).astype(np.int32) + np.int32(1))
        counts_N[start : start + len(chunk)] = np.minimum(found, max_tokens)
    ids_NL = np.zeros((len(texts), max(1, counts_N.max(initial=0))), dtype=np.int32)
    if kept:
        ids_NL[np.arange(ids_NL.shape[1]) < counts_N[:, None]] = np.concatenate(kept)
    return ids_NL


def _ngram_crcs(
    chunk: list[list[str]], ngrams: int, char_ngrams: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The hash of every n-gram and the text it is from, in the order of the tokens they start at.

    A hash goes on from that of the n-gram one token shorter: crc32(b, crc32(a)) is crc32(a + b).
    """
    words = [token.encode() for token in chain.from_iterable(chunk)]
    lengths = np.array([len(text) for text in chunk])
    ngrams = min(ngrams, int(lengths.max()))
    text_T = np.repeat(np.arange(len(chunk)), lengths)
    crc_TG = np.zeros((len(words), ngrams), dtype=np.uint32)
    inside_TG = np.zeros((len(words), ngrams), dtype=np.bool_)
    spaced = [b" " + word for word in words]
    crcs = list(map(crc32, words))
    for more in range(ngrams):
        if more:
            crcs = list(map(crc32, spaced[more:], crcs))
        crc_TG[: len(crcs), more] = crcs
        inside_TG[: len(crcs), more] = text_T[more:] == text_T[: len(crcs)]
    if not char_ngrams:
        return crc_TG[inside_TG], np.repeat(text_T, inside_TG.sum(axis=1))
    hashed = {token: _char_crcs(token, char_ngrams) for token in set(chain.from_iterable(chunk))}
    parts = [hashed[token] for token in chain.from_iterable(chunk)]
    flat = np.fromiter(chain.from_iterable(parts), dtype=np.uint32)
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    token_of = np.concatenate([np.nonzero(inside_TG)[0], np.repeat(np.arange(len(parts)), sizes)])
    order = np.argsort(token_of, kind="stable")
    return np.concatenate([crc_TG[inside_TG], flat])[order], text_T[token_of[order]]


def _char_crcs(token: str, size: int) -> list[int]:
    """Hashes of the character n-grams of `<token>`, NUL first so that none is a word's hash."""
    bounded = f"<{token}>"
    return [crc32(b"\0" + bounded[i : i + size].encode()) for i in range(len(bounded) - size + 1)]


def check_text(model: str, shape: tuple[int, ...]) -> None:
    """Refuse what is not a row of ids.

    Raises:
        UsageError: the input is an image.
    """
    if len(shape) != 1:
        raise UsageError(
            f"model {model} wants text, and the input is an image of {'x'.join(map(str, shape))}",
            hint="set probe.model.name to small_cnn or resnet18",
        )
