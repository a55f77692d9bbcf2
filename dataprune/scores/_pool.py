"""From the values of seeds to one value per row: which seeds count, and what is made of them.

Shape suffixes: S seeds, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Over = Literal["in_sample", "held_out", "difference"]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pooled:
    """A row's value over seeds, and how sure it is, float64 (N,); NaN where no seed counts.

    spread: standard deviation over seeds (ddof 0); of a difference its standard error.
    """

    value: Floats
    spread: Floats


def counting(in_SN: Bools, over: Over) -> Bools:
    """Whether a seed counts for a row, bool (S, N)."""
    if over == "difference":
        return np.ones_like(in_SN)
    return in_SN if over == "in_sample" else ~in_SN


def pool(values_SN: Floats, in_SN: Bools, over: Over) -> Pooled:
    """Mean and spread over the seeds that count, or the difference of means and its error.

    values_SN: NaN where a seed has no value of a row. in_SN: whether it trained on the row.
    """
    if over != "difference":
        return Pooled(*_mean_and_std(np.where(counting(in_SN, over), values_SN, np.nan)))
    trained = _mean_and_std(np.where(in_SN, values_SN, np.nan))[0]
    held_out = _mean_and_std(np.where(in_SN, np.nan, values_SN))[0]
    return Pooled(trained - held_out, _error_of_difference(values_SN, in_SN))


def _mean_and_std(values_SN: Floats) -> tuple[Floats, Floats]:
    seen_SN = ~np.isnan(values_SN)
    counts = seen_SN.sum(axis=0)
    at_least_one = np.maximum(counts, 1)
    mean = np.where(seen_SN, values_SN, 0.0).sum(axis=0) / at_least_one
    squares = np.where(seen_SN, np.square(values_SN - mean), 0.0).sum(axis=0)
    missing = counts == 0
    return (
        np.where(missing, np.nan, mean),
        np.where(missing, np.nan, np.sqrt(squares / at_least_one)),
    )


def _error_of_difference(values_SN: Floats, in_SN: Bools) -> Floats:
    """Standard error of the difference of two shares, each with one success and one failure added.

    Agresti and Caffo 2000: without them, a row held out twice and right both times would have no
    error at all. Values are 0 or 1.
    """
    variance = np.zeros(values_SN.shape[1])
    for side_SN in (in_SN, ~in_SN):
        counts = side_SN.sum(axis=0) + 2
        share = (np.where(side_SN, values_SN, 0.0).sum(axis=0) + 1) / counts
        variance += share * (1 - share) / counts
    return np.sqrt(variance)
