"""Weighted draws without replacement that depend on the row and the seed alone."""

from __future__ import annotations

import numpy as np

from dataprune.core.fingerprint import UInt64
from dataprune.selection import Rows, Values

_BITS = np.uint64(12)  # of 64 that are left out: what remains and a half is exact in a float64
_STEP = 2.0**-52


def gumbel_noise(ties: UInt64) -> Values:
    """Standard Gumbel noise of each row's seeded hash, float64 (n,)."""
    uniform = ((ties >> _BITS).astype(np.float64) + 0.5) * _STEP  # strictly between 0 and 1
    noise: Values = -np.log(-np.log(uniform))
    return noise


def drawn_order(log_weights: Values, ties: UInt64) -> Rows:
    """Positions in the order in which they are drawn one by one, each by weight among the rest.

    The largest of log weight + Gumbel noise first is such a draw (Yellott 1977; Kool et al. 2019).
    A weight of 0 (log -inf) is drawn after all others.
    """
    keys = log_weights + gumbel_noise(ties)
    return np.lexsort((ties, -keys))
