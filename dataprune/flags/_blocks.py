"""Work over blocks of rows: memory stays small however many rows and classes there are.

Where blocks begin depends on shapes alone and results come back in row order, so the number of
threads changes nothing but the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")

_BLOCK_VALUES = 1 << 17  # 1 MiB of float64: what is made of a block stays in the cache
_MOST_THREADS = 4


def over_blocks(work: Callable[[slice], R], num_rows: int, row_values: int) -> list[R]:
    """Call `work` for every block of rows, several at a time; its results in row order.

    row_values: how many numbers the largest array of the work has per row.
    """
    rows = max(1, _BLOCK_VALUES // row_values)
    blocks = [slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows)]
    if len(blocks) == 1:
        return [work(blocks[0])]
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, blocks))
