"""Exact copies: rows whose content hash is the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def content_groups(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Group rows by their content hash.

    hashes: uint64 (n,), the `content_hash` column of the examples.

    Returns:
        int64 (n,), the smallest row position of each row's group.
    """
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64, copy=False)
