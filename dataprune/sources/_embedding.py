"""A column of vectors that the source has of its rows, such as another model's embeddings.

It is read where scores are made, beside the examples and not as one of their inputs: it is no part
of what a row is, so that content hashes and fingerprints are those of a source without it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import SourceError, nearest
from dataprune.sources import Source
from dataprune.sources._columns import is_number_list
from dataprune.sources._inputs import stacked
from dataprune.sources._rows import refuse_problems

Float16 = npt.NDArray[np.float16]
_LARGEST = float(np.finfo(np.float16).max)


def read_embedding(source: Source) -> Float16 | None:
    """The vectors that `source.columns.embedding` names, (n, D); None where it names none.

    Raises:
        SourceError: no such column, one of something else than lists of numbers, or rows whose
            vectors are missing, of another length, or no numbers that float16 holds.
    """
    name = source.columns.embedding
    if name is None:
        return None
    if name not in source.schema.names:
        raise SourceError(
            f"source {source.uri} has no column {name}", hint=nearest(name, source.schema.names)
        )
    if not is_number_list(kind := source.schema.field(name).type):
        raise SourceError(
            f"column {name} of {source.uri} is {kind}, and an embedding is a list of numbers",
            hint="name another one as source.columns.embedding",
        )
    reader = _Reader(source.num_rows)
    for batch in source.batches([name]):
        reader.add(batch.column(name))
    refuse_problems(reader.problems, f"column {name} of {source.uri} ({source.split})", {})
    return reader.vectors


class _Reader:
    """Takes a source's batches of one column in order."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows, self.row = num_rows, 0
        self.vectors: Float16 | None = None
        self.problems: dict[str, list[int]] = {}

    def add(self, column: pa.Array) -> None:
        """One batch of lists."""
        missing = column.is_null().to_numpy(zero_copy_only=False)
        if missing.any():
            self._bad(missing, "have no vector")
        elif len(column):
            width = None if self.vectors is None else self.vectors.shape[1]
            values = stacked(column, width, self._bad)
            if values is not None:
                self._keep(values)
        self.row += len(column)

    def _keep(self, values: npt.NDArray[Any]) -> None:
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if self.vectors is None:
            self.vectors = np.zeros((self.num_rows, halves.shape[1]), dtype=np.float16)
        self.vectors[self.row : self.row + len(halves)] = halves
        fits, finite = _finite(halves), _finite(values)
        vanished = (values != 0).any(axis=1) & (halves == 0).all(axis=1)
        self._bad(vanished, "have a vector that is all zeros in float16: scale the column up")
        self._bad(~finite, "have a NaN or infinite feature")
        self._bad(finite & ~fits, f"have a feature beyond {_LARGEST:g}, the most in float16")

    def _bad(self, which: npt.NDArray[np.bool_], what: str) -> None:
        rows = (self.row + np.flatnonzero(which)).tolist()
        if rows:
            self.problems.setdefault(what, []).extend(rows)


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which rows hold finite numbers only, bool (k,)."""
    finite: npt.NDArray[np.bool_] = np.isfinite(values).all(axis=1)
    return finite
