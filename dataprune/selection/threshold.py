"""Drop the rows whose score is below or above a limit; a filter.

Limits are rounded to float32 first, as the stored scores are: a limit that is equal to a score as
it is shown drops nothing at it.
"""

from __future__ import annotations

import math

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Dropped, Left, Strategy


def _drop(
    left: Left, *, by: str | None = None, below: object = None, above: object = None
) -> Dropped:
    """below, above: rows with a lower, with a higher score go. by: default: the one decided by.

    Raises:
        UsageError: no limit is given, one is no number, or they leave nothing between them.
    """
    if below is None and above is None:
        raise UsageError(
            "strategy threshold needs a limit", hint="give below=VALUE, above=VALUE or both"
        )
    lower, upper = _limit("below", below, -math.inf), _limit("above", above, math.inf)
    if lower > upper:
        raise UsageError(f"below is {below} and above is {above}: no score is between them")
    values = left.pool.score(by).values
    reasons = np.where(values < lower, "below_threshold", "above_threshold")
    places = np.flatnonzero((values < lower) | (values > upper))
    places = places[np.argsort(left.pool.ties[places])]
    return Dropped(places, reasons[places])


def _limit(name: str, value: object, absent: float) -> float:
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{name} is {value!r}", hint="give a number")
    with np.errstate(over="ignore"):
        return float(np.float32(value))


STRATEGY = Strategy(
    "threshold",
    drop=_drop,
    reads=("by",),
    row_local=True,
    says="left out the rows beyond a limit",
    meanings={
        "below_threshold": "Its score was below the limit that was set.",
        "above_threshold": "Its score was above the limit that was set.",
    },
)
