"""Sample by temperature: between keeping the highest scores and keeping any rows.

Rows are drawn one by one without replacement, with a probability in proportion to
exp(score / temperature) among those that are left (Gumbel top-k). Towards temperature 0 this is
`hardest`, towards infinity `random`. The noise of a row is a function of the row and the seed, so a
smaller budget's rows are among those of a larger one. A temperature means something beside the
scores' own spread: start near their standard deviation.
"""

from __future__ import annotations

import math

import numpy as np

from dataprune.core.errors import UsageError
from dataprune.selection import Order, Pool, Strategy
from dataprune.selection._sampling import drawn_order


def _order(pool: Pool, *, temperature: object) -> Order:
    """temperature: above 0, in units of the score.

    Raises:
        UsageError: it is no such number.
    """
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, int | float)
        or not 0 < temperature < math.inf
    ):
        raise UsageError(
            f"temperature is {temperature!r}", hint="give a number above 0, in units of the score"
        )
    # From the highest score, so that a low temperature overflows to "never", not to infinity.
    with np.errstate(over="ignore"):
        below = (pool.scores - pool.scores.max()) / temperature
    places = drawn_order(below, pool.ties)
    if not np.isfinite(below).all():  # too far below to tell apart by the draw: by the score then
        places = places[np.argsort(-pool.scores[places], kind="stable")]
    return Order(places, np.full(len(places), "not_drawn"))


STRATEGY = Strategy(
    "gumbel",
    _order,
    draws=True,
    says="drew rows at random, those with a higher {by} more often",
    meanings={"not_drawn": "The random draw did not choose it."},
)
