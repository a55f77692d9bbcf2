"""Arrays that stay on disk: rows of one shape in a raw file, read a piece at a time.

Reading goes through the file, not through a memory map, so that what a process holds is what it
asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PIECE_ROWS = 4096


@dataclass(frozen=True)
class DiskArray:
    """Rows in a file.

    shape: (rows, ...). dtype: numpy's name, little-endian ("<f4", "|u1").
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes, rows included."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes held in memory: none."""
        return 0

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start..stop-1, a fresh array."""
        dtype = np.dtype(self.dtype)
        row = int(np.prod(self.shape[1:], dtype=np.int64))
        count = (min(stop, len(self)) - start) * row
        flat = np.fromfile(self.path, dtype, count, offset=start * row * dtype.itemsize)
        if len(flat) != count:
            raise OSError(f"{self.path} is shorter than it was: it changed while it was read")
        return flat.reshape(-1, *self.shape[1:])


Array = npt.NDArray[Any] | DiskArray


def pieces(
    array: Array, num_rows: int = _PIECE_ROWS, within: range | None = None
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Every row in order, or those within a range: (first row, rows), `num_rows` at a time."""
    within = range(len(array)) if within is None else within
    for start in range(within.start, within.stop, num_rows):
        stop = min(start + num_rows, within.stop)
        yield start, array.read(start, stop) if isinstance(array, DiskArray) else array[start:stop]
