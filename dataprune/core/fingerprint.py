"""Identity by content: canonical JSON, and 64-bit hashes of examples and of row numbers.

`HASH_VERSION` is stored with every table; a change to any function here must raise it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

HASH_VERSION = 1
_STEP = np.uint64(0x9E3779B97F4A7C15)  # of splitmix64, with what follows
_FIRST_SHIFT, _FIRST_FACTOR = np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)
_SECOND_SHIFT, _SECOND_FACTOR = np.uint64(27), np.uint64(0x94D049BB133111EB)
_LAST_SHIFT = np.uint64(31)

UInt64 = npt.NDArray[np.uint64]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; anything JSON cannot hold exactly is an error."""
    _refuse_inexact(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _refuse_inexact(value: Any, where: str) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                raise TypeError(f"{where} is {value}: not a number that JSON can hold")
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"{where} has a key of type {type(key).__name__}, not str")
                _refuse_inexact(item, f"{where}.{key}")
        case list() | tuple():
            for i, item in enumerate(value):
                _refuse_inexact(item, f"{where}[{i}]")
        case _:
            raise TypeError(f"{where} is a {type(value).__name__}, which has no canonical form")


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def content_hashes(array: npt.NDArray[Any]) -> UInt64:
    """Hash each row of an array (n, ...): dtype, the row's shape and its little-endian bytes.

    Pixels are uint8 (height, width, channels); features are whatever numeric dtype they have.
    """
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    start = _start(little.dtype.str, array.shape[1:])
    return _digests(start, (row.tobytes() for row in little), len(little))


def row_hash(row: npt.NDArray[Any]) -> int:
    """The hash that `content_hashes` gives a row, for rows that come one by one."""
    little = np.ascontiguousarray(row).astype(row.dtype.newbyteorder("<"), copy=False)
    digest = _start(little.dtype.str, row.shape).copy()
    digest.update(little.tobytes())
    return int.from_bytes(digest.digest(), "little")


@functools.lru_cache
def _start(dtype: str, shape: tuple[int, ...]) -> hashlib.blake2b:
    header = f"dataprune/{HASH_VERSION}|{dtype}|{shape}|"
    return hashlib.blake2b(header.encode(), digest_size=8)


def text_hashes(texts: Iterable[str], num_rows: int) -> UInt64:
    """Hash each text's UTF-8 bytes as they are: no stripping, no normalisation."""
    start = hashlib.blake2b(f"dataprune/{HASH_VERSION}|utf8|".encode(), digest_size=8)
    return _digests(start, (text.encode() for text in texts), num_rows)


def _digests(start: hashlib.blake2b, items: Iterable[bytes], num_rows: int) -> UInt64:
    hashes = np.empty(num_rows, dtype="<u8")
    for i, item in enumerate(items):
        digest = start.copy()
        digest.update(item)
        hashes[i] = int.from_bytes(digest.digest(), "little")
    return hashes.astype(np.uint64, copy=False)


def source_fingerprint(hashes: UInt64, labels: npt.NDArray[Any], classes: list[str]) -> str:
    """Identity of a source: every row's content hash and label, in order, and the class names.

    labels: class indices int64 (n,), or a row of numbers per example (n, d).
    """
    digest = hashlib.sha256(f"dataprune/source/{HASH_VERSION}|".encode())
    digest.update(canonical_json([len(hashes), classes]).encode())
    digest.update(hashes.astype("<u8").tobytes())
    if labels.ndim > 1:
        digest.update(f"|{labels.dtype.str}|{labels.shape[1]}|".encode())
    digest.update(labels.astype(labels.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def mix64(values: npt.NDArray[Any], *salt: int | str) -> UInt64:
    """Scramble integers with a seeded splitmix64: uniform, and a bijection for a fixed salt.

    Used wherever a draw must depend on the row and the seed alone, never on row order:
    tie-breaks, folds, random selection.
    """
    x: UInt64 = values.astype(np.uint64) + _salted(*salt)
    for _ in range(2):
        x += _STEP
        x ^= x >> _FIRST_SHIFT
        x *= _FIRST_FACTOR
        x ^= x >> _SECOND_SHIFT
        x *= _SECOND_FACTOR
        x ^= x >> _LAST_SHIFT
    return x


@functools.lru_cache(maxsize=1024, typed=True)
def _salted(*salt: int | str) -> np.uint64:
    digest = hashlib.blake2b(canonical_json(list(salt)).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def derive_seed(*salt: int | str) -> int:
    """A 63-bit generator seed from the things a draw depends on."""
    digest = hashlib.blake2b(canonical_json(list(salt)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
