"""Random: a uniform draw in [0, 1) per row and seed; the control every other score must beat.

Higher is nothing. Needs no probe, so it costs nothing. Its reliability is near 0, as it should be.

Pitfall. Means over many seeds draw together around 0.5: fit to rank by, not to threshold.
"""

from __future__ import annotations

import numpy as np

from dataprune.core.fingerprint import mix64
from dataprune.scores import Score, Seen, Values


def _compute(seen: Seen) -> Values:
    draw = mix64(np.arange(seen.num_rows), "random score", seen.root_seed, seen.seed)
    return (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53


SCORE = Score(
    name="random",
    signals=(),
    compute=_compute,
    higher_is="nothing",
    status="core",
    value_range="[0, 1)",
    source="control",
    cost="nothing: no probe is trained",
    pitfalls="a mean over seeds is not uniform; rank by it, do not threshold it",
)
