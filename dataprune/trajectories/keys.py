"""Numbers that stand for texts: what draws and comparisons depend on in place of row order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64, mix64

Rows = npt.NDArray[np.int64]


def text_key(*parts: str) -> int:
    """64 bits of some texts; half characters, which no UTF-8 can hold, count like any other."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(f"{len(data)}|".encode())
        digest.update(data)
    return int.from_bytes(digest.digest(), "little")


def text_keys(texts: Iterable[str]) -> UInt64:
    """The key of each text, uint64 (n,)."""
    return np.fromiter((text_key(text) for text in texts), dtype=np.uint64)


def draws(keys: UInt64, *salt: int | str) -> npt.NDArray[np.float64]:
    """A number in (0, 1) for each key, float64 (n,): of the key and the salt alone."""
    bits = (mix64(keys, *salt) >> np.uint64(11)).astype(np.float64)
    uniform: npt.NDArray[np.float64] = (bits + 0.5) / 2.0**53
    return uniform


def group_numbers(ids: Sequence[str]) -> tuple[list[str], Rows]:
    """Texts -> the different ones, sorted, and each text's place among them, int64 (n,)."""
    names = sorted(set(ids))
    place = {name: number for number, name in enumerate(names)}
    return names, np.fromiter((place[name] for name in ids), dtype=np.int64, count=len(ids))


def places_in_groups(groups: Rows, *sort_by: npt.NDArray[np.generic]) -> Rows:
    """Each row's place in its group, from 0, when groups are sorted, int64 (n,).

    sort_by: what to sort by, the most important first, ascending.
    """
    order = np.lexsort((*reversed(sort_by), groups))
    sorted_groups = groups[order]
    first = np.searchsorted(sorted_groups, sorted_groups, side="left")
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups)) - first
    return places
