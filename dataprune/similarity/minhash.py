"""Texts that say the same thing in nearly the same letters: MinHash finds pairs, Jaccard decides.

Candidates are texts whose MinHash signatures (Broder 1997) agree in one band (Leskovec, Rajaraman,
Ullman, Mining of Massive Datasets, 3.4). Bands are so narrow that a pair at the threshold is missed
once in a million; every candidate's Jaccard index is then computed from the sets themselves, so
the signatures decide what is looked at and never what is near.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.extras import require
from dataprune.core.fingerprint import mix64
from dataprune.similarity.content import content_groups
from dataprune.similarity.groups import join, singletons
from dataprune.similarity.pairs import Pairs, equal_pairs, pieces
from dataprune.similarity.shingles import Shingles, shingles_of

Rows = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]

_WHY = "finding near-duplicate texts"
_NUM_PERM = 128
_SEED = 1  # of the permutations; candidates alone depend on it
_MAX_MISS = 1e-6
_MIN_THRESHOLD = 0.5  # below it, bands are so narrow that most texts share one
_SKETCHED = 1 << 10  # values permuted at once: a megabyte, which a cache holds
_PIECE = 1 << 22  # shingles compared at once: some 100 MB


def minhash_groups(texts: Iterable[str], *, threshold: float = 0.8) -> Rows:
    """Group texts by the Jaccard index of their sets of character 5-grams.

    Case, white space and Unicode's compatibility forms do not count. Empty texts are copies of
    each other and near no other text.

    texts: n texts, read once; about 8 bytes a character are kept.
    threshold: from 0.5 to 1; texts with at least this index are together.

    Returns:
        int64 (n,), the smallest row position of each row's group.

    Raises:
        UsageError: the threshold is out of range.
        SourceError: a text is no string.
        MissingExtraError: the extra `similarity` is not installed.
    """
    _check_threshold(threshold)
    return near_sets(shingles_of(texts), threshold)


def near_sets(shingles: Shingles, threshold: float) -> Rows:
    """Group sets of shingles of any kind by their Jaccard index, as `minhash_groups` does.

    Sets of equal `text_hashes` are together; an empty one is near no other.
    """
    copies = content_groups(shingles.text_hashes)
    rows = np.flatnonzero((copies == singletons(len(copies))) & (shingles.sizes > 0))
    sets = _matrix(shingles, rows)
    sizes = shingles.sizes[rows]

    def join_near(groups: Rows, i: Rows, j: Rows) -> Rows:
        return _join_near(groups, i, j, sets, sizes, threshold)

    nowhere = np.zeros(len(rows), dtype=np.uint64)
    width = _band_width(threshold)
    groups = _grouped(_signatures(shingles, rows), nowhere, width, join_near)
    return join(copies, rows, rows[groups])


def near_signatures(signatures: Signatures, within: Rows, threshold: float) -> Rows:
    """Group rows by the share of MinHash values that agree, which estimates the Jaccard index J.

    For where the sets themselves would take too much memory. The estimate's standard error is
    sqrt(J (1 - J) / 128): 0.027 at J = 0.9. Among very many rows of one value of `within` that are
    somewhat alike and not near, work grows with the square of their number.

    signatures: (n, 128), as `signature_of` makes them, of sets that are not empty.
    within: int64 (n,); only rows of equal value are compared.

    Returns:
        int64 (n,), the smallest row position of each row's group.
    """
    salt = mix64(within, "within")

    def join_near(groups: Rows, i: Rows, j: Rows) -> Rows:
        for first, last in pieces(np.full(len(i), _NUM_PERM), _PIECE):
            a, b = i[first:last], j[first:last]
            near = (signatures[a] == signatures[b]).mean(axis=1) >= threshold
            near &= within[a] == within[b]
            groups = join(groups, a[near], b[near])
        return groups

    # With d values that may differ, one of d + 1 bands agrees wholly: nothing near is missed.
    may_differ = _NUM_PERM - math.ceil(threshold * _NUM_PERM)
    width = max(_band_width(threshold), _NUM_PERM // (may_differ + 1))
    return _grouped(signatures, salt, width, join_near)


def signature_of(shingles: UInt64) -> Signatures:
    """The MinHash values of one set, uint32 (128,); all 2^32 - 1 for an empty one."""
    values = (shingles >> np.uint64(32)).astype(np.uint32)
    sketch = _empty_sketch().copy()
    for first in range(0, len(values), _SKETCHED):
        sketch.update_batch(values[first : first + _SKETCHED].tolist())
    signature: Signatures = sketch.hashvalues.astype(np.uint32)
    return signature


@functools.cache
def _empty_sketch() -> Any:
    datasketch: Any = require("datasketch", extra="similarity", why=_WHY)
    return datasketch.MinHash(num_perm=_NUM_PERM, seed=_SEED, hashfunc=int)


def _grouped(
    signatures: Signatures,
    salt: UInt64,
    width: int,
    join_near: Callable[[Rows, Rows, Rows], Rows],
) -> Rows:
    """Join rows that share a band and a salt and that `join_near` finds near."""
    groups = singletons(len(signatures))
    for candidates in (_with_first, _with_all):
        for keys in _band_keys(signatures, salt, width):
            for i, j in candidates(keys, groups):
                groups = join_near(groups, i, j)
    return groups


def _check_threshold(threshold: object) -> None:
    if not isinstance(threshold, int | float) or not _MIN_THRESHOLD <= threshold <= 1:
        raise UsageError(f"threshold is {threshold!r}", hint="give a number from 0.5 to 1")


def _band_width(threshold: float) -> int:
    """The widest band that misses a pair at the threshold no more than once in a million."""
    return max(
        width
        for width in range(1, _NUM_PERM + 1)
        if (1 - threshold**width) ** (_NUM_PERM // width) <= _MAX_MISS
    )


def _signatures(shingles: Shingles, rows: Rows) -> Signatures:
    """MinHash values (len(rows), 128) of some of the sets."""
    datasketch: Any = require("datasketch", extra="similarity", why=_WHY)
    tokens = (shingles.values >> np.uint64(32)).astype(np.uint32)
    sets = (tokens[shingles.offsets[row] : shingles.offsets[row + 1]].tolist() for row in rows)
    sketches = datasketch.MinHash.generator(sets, num_perm=_NUM_PERM, seed=_SEED, hashfunc=int)
    signatures = np.empty((len(rows), _NUM_PERM), dtype=np.uint32)
    for k, sketch in enumerate(sketches):
        signatures[k] = sketch.hashvalues
    return signatures


def _band_keys(signatures: Signatures, salt: UInt64, width: int) -> Iterator[UInt64]:
    """One number a row for each band; equal bands of equal salt have equal numbers."""
    for first in range(0, _NUM_PERM - width + 1, width):
        keys = salt
        for column in range(first, first + width):
            keys = mix64(keys + signatures[:, column])
        yield keys


def _with_first(keys: UInt64, groups: Rows) -> Iterator[Pairs]:
    """Each row that is still apart from the first row of its key, with that row.

    Done for all bands first: it joins most of many texts from one template, which share keys by
    the thousand, without a look at each pair of them.
    """
    first = content_groups(keys)
    apart = np.flatnonzero(groups != groups[first])
    if len(apart):
        yield first[apart], apart


def _with_all(keys: UInt64, groups: Rows) -> Iterator[Pairs]:
    """Each row outside the largest group of its key, with every row of that key.

    Of two rows of a key in different groups, one at least is outside the largest.
    """
    num_rows = len(keys)
    first = content_groups(keys)
    codes, counts = np.unique(first * num_rows + groups, return_counts=True)
    by_size = codes[np.argsort(counts, kind="stable")]
    largest = np.empty(num_rows, dtype=np.int64)
    largest[by_size // num_rows] = by_size % num_rows  # the last one written stays
    outside = groups != largest[first]
    mixed = np.zeros(num_rows, dtype=np.bool_)
    mixed[first[outside]] = True
    left, right = np.flatnonzero(outside), np.flatnonzero(mixed[first])
    for i, j in equal_pairs(keys[left], keys[right]):
        yield left[i], right[j]


def _matrix(shingles: Shingles, rows: Rows) -> Any:
    """Some of the sets as a sparse matrix: a row a text, a column a shingle."""
    sparse: Any = require("scipy.sparse", extra="similarity", why=_WHY)
    _, columns = np.unique(shingles.values, return_inverse=True)
    shape = (len(shingles.sizes), int(columns.max(initial=-1)) + 1)
    ones = np.ones(len(columns), dtype=np.int32)
    return sparse.csr_array((ones, columns, shingles.offsets), shape=shape)[rows]


def _join_near(groups: Rows, i: Rows, j: Rows, sets: Any, sizes: Rows, threshold: float) -> Rows:
    """Join the pairs whose Jaccard index reaches the threshold, of those still apart."""
    for first, last in pieces(sizes[i] + sizes[j], _PIECE):
        a, b = i[first:last], j[first:last]
        likely = groups[a] != groups[b]
        # The index is at most the smaller size over the larger.
        likely &= np.minimum(sizes[a], sizes[b]) >= threshold * np.maximum(sizes[a], sizes[b])
        a, b = a[likely], b[likely]
        if len(a):
            shared = sets[a].multiply(sets[b]).sum(axis=1)
            near = shared / (sizes[a] + sizes[b] - shared) >= threshold
            groups = join(groups, a[near], b[near])
    return groups
