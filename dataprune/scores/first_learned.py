"""First learned: the first epoch after which the prediction was right.

The first learning event of Toneva et al. 2019; later forgetting does not undo it. Never learned is
the number of epochs observed plus one. Higher is harder. Range [1, epochs + 1].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. Integers per seed, so ties are many. No better than chance at finding wrong labels in one
published comparison (Ravikumar et al. 2025, Table 2: area under the curve 0.49 to 0.53).
"""

from __future__ import annotations

import numpy as np

from dataprune.scores import EVERY_EPOCH, Score, Seen, Values


def _compute(seen: Seen) -> Values:
    first = seen.signals["first_learned"]
    return np.where(first > 0, first, seen.signals["observed_epochs"] + 1)


SCORE = Score(
    name="first_learned",
    signals=("first_learned", "observed_epochs"),
    compute=_compute,
    higher_is="harder",
    status="experimental",
    value_range="[1, epochs + 1]",
    source="Toneva et al. 2019 (first learning event)",
    cost=EVERY_EPOCH,
    pitfalls="integers, so many ties; published as no better than chance at finding wrong labels",
    spec={"counted": "per epoch", "never_learned": "epochs observed + 1"},
)
