"""Which row of another revision of a source a row was: by content, label and occurrence.

The k-th copy of a row is matched with the k-th copy there, so rows may be added, removed or put in
another order in between. It is what scores are carried over by, and what drift is measured on.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.tables.examples import occurrences

NEW = -1
Rows = npt.NDArray[np.int64]


def match_rows(new: pa.Table, old: pa.Table, *, labels: bool = True) -> Rows:
    """For each row of one table of examples, its row in the other: int64 (n,), NEW where it is new.

    labels: a row whose label differs is another one. Class indices must mean the same classes.
    """
    hashes = np.concatenate([t.column("content_hash").to_numpy() for t in (old, new)])
    kinds = _label_ids(old, new) if labels else np.zeros(len(hashes), dtype=np.int64)
    order = np.lexsort((kinds, hashes))
    starts = np.ones(len(order), dtype=np.int64)
    starts[1:] = (np.diff(hashes[order]) != 0) | (np.diff(kinds[order]) != 0)
    ids = np.empty(len(order), dtype=np.int64)
    ids[order] = np.cumsum(starts) - 1
    was, now = ids[: len(old)], ids[len(old) :]
    copies = len(ids)  # more than any row has
    old_keys = was * copies + occurrences(was)
    new_keys = now * copies + occurrences(now)
    by_key = np.argsort(old_keys)
    at = np.minimum(np.searchsorted(old_keys[by_key], new_keys), len(old_keys) - 1)
    found = by_key[at]
    return np.where(old_keys[found] == new_keys, found, NEW).astype(np.int64)


def _label_ids(old: pa.Table, new: pa.Table) -> Rows:
    """A number for each label, equal for equal labels; rows of `old`, then of `new`."""
    columns = [t.column("label") for t in (old, new)]
    if columns[0].type != columns[1].type:  # another task: no label is the same
        sizes = [len(old), len(new)]
        return np.repeat(np.arange(2, dtype=np.int64), sizes)
    column = pa.chunked_array([c for both in columns for c in both.chunks], columns[0].type)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), dtype=np.int64)
    if pa.types.is_nested(column.type):
        told: list[Any] = [json.dumps(label) for label in column.to_pylist()]
        column = pa.chunked_array([pa.array(told, pa.string())])
    ids: Rows = column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return ids
