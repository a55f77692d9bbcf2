"""Where each pool's best rows end, found in passes over batches: no sort, and bounded memory.

A row's key is its sorted score as a whole number, then its seeded tie-break; lower is better. A
pass counts rows per pool and leading digit of the key; the digit in which a pool's quota ends is
known then, and the next pass looks at the rows of that digit alone. When those are few they are
gathered and sorted, and the key of the last row within the quota is exact. With scores that are
spread, one pass counts and one gathers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.fingerprint import UInt64
from dataprune.selection import Rows

MOST_GATHERED = 1 << 21  # rows of all pools together
_COUNTERS = 20  # bits: counters of all pools together, 8 MiB
_TIE_BITS = 64
_TOP = np.uint64(2**64 - 1)

Mask = npt.NDArray[np.bool_]
Digit = tuple[str, int, int]  # of "word" or "tie": how far to shift, how many bits


@dataclass(frozen=True)
class Part:
    """Rows of one batch that compete, with the pool of each: int64, uint64, int64 (n,)."""

    pools: Rows
    words: UInt64
    rows: Rows

    def where(self, mask: Mask) -> Part:
        """Some of them."""
        return Part(self.pools[mask], self.words[mask], self.rows[mask])


@dataclass(frozen=True)
class Scan:
    """Rows to choose from, as often as they are asked for.

    parts: starts a pass. width: bits of the largest word. ties: second part of some rows' keys.
    """

    parts: Callable[[], Iterator[Part]]
    num_pools: int
    width: int
    ties: Callable[[Part], UInt64]


@dataclass(frozen=True)
class Cuts:
    """Per pool, the key of the last row within its quota; where that is 0, no row is within.

    quotas: int64; words, ties: uint64; all (pools,).
    """

    quotas: Rows
    words: UInt64
    ties: UInt64

    def within(self, part: Part, ties: Callable[[Part], UInt64]) -> Mask:
        """Which rows are within the quota of their pool, bool (n,)."""
        ends = self.words[part.pools]
        mask: Mask = part.words < ends
        at_end = part.words == ends
        last = part.where(at_end)
        mask[at_end] = ties(last) <= self.ties[last.pools]
        return mask & (self.quotas > 0)[part.pools]


def find_cuts(
    scan: Scan, quotas_of: Callable[[Rows], Rows], *, most: int = MOST_GATHERED
) -> tuple[Cuts, Rows]:
    """The cuts of every pool, and the sizes of the pools, int64 (pools,).

    quotas_of: sizes -> quotas, none above its size. most: rows to gather at once.
    """
    pools = np.arange(scan.num_pools)
    known: list[tuple[Digit, Rows]] = []
    sizes, quotas, wanted = (np.zeros(scan.num_pools, dtype=np.int64) for _ in range(3))
    for digit in _digits(scan):
        counts = _counted(scan, digit, known)
        if not known:
            sizes = counts.sum(axis=1)
            quotas = quotas_of(sizes)
            wanted = quotas.copy()
        is_open = (quotas > 0) & (quotas < sizes)
        upto = np.cumsum(counts, axis=1)
        ends = np.argmax(upto >= wanted[:, None], axis=1)
        inside = counts[pools, ends]
        wanted = wanted - (upto[pools, ends] - inside)
        known.append((digit, np.where(is_open, ends, -1)))
        if inside[is_open].sum() <= most:
            break
    words, ties = np.full(scan.num_pools, _TOP), np.full(scan.num_pools, _TOP)
    found = _gathered(scan, known)
    found_ties = scan.ties(found)
    order = np.lexsort((found_ties, found.words, found.pools))
    starts = np.searchsorted(found.pools[order], pools)
    is_open = (quotas > 0) & (quotas < sizes)
    last = order[starts[is_open] + wanted[is_open] - 1]
    words[is_open], ties[is_open] = found.words[last], found_ties[last]
    return Cuts(quotas, words, ties), sizes


def _digits(scan: Scan) -> Iterator[Digit]:
    """Leading digits first: of the word, then of the tie-break."""
    most = max(1, _COUNTERS - (scan.num_pools - 1).bit_length())
    for source, width in (("word", scan.width), ("tie", _TIE_BITS)):
        for shift in range(max(0, width - most), -most, -most) if width else ():
            yield source, max(0, shift), most + min(0, shift)


def _digit_of(scan: Scan, part: Part, digit: Digit) -> Rows:
    source, shift, bits = digit
    key = part.words if source == "word" else scan.ties(part)
    return ((key >> np.uint64(shift)) & np.uint64((1 << bits) - 1)).astype(np.int64)


def _members(scan: Scan, part: Part, known: list[tuple[Digit, Rows]]) -> Part:
    """Rows of the digits in which their pools' quotas end."""
    for digit, ends in known:
        part = part.where(_digit_of(scan, part, digit) == ends[part.pools])
    return part


def _counted(scan: Scan, digit: Digit, known: list[tuple[Digit, Rows]]) -> Rows:
    """Rows per pool and digit, of those that are members, int64 (pools, digits)."""
    bits = digit[2]
    counts = np.zeros(scan.num_pools << bits, dtype=np.int64)
    for part in scan.parts():
        members = _members(scan, part, known)
        places = (members.pools << bits) | _digit_of(scan, members, digit)
        counts += np.bincount(places, minlength=len(counts))
    return counts.reshape(scan.num_pools, 1 << bits)


def _gathered(scan: Scan, known: list[tuple[Digit, Rows]]) -> Part:
    parts = [_members(scan, part, known) for part in scan.parts()]
    return Part(
        np.concatenate([part.pools for part in parts]),
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )
