"""Forgetting events: how often an example went from right to wrong between epochs.

Toneva et al. 2019. Never learned is the hardest of all: such an example gets the number of epochs
observed, which no count can reach (public code that gives it 0 ranks mislabelled examples as the
easiest). Counted once per epoch on a clean evaluation pass; Toneva counts on training batches.
Range [0, epochs]; integers per seed, so ties are many and are broken by the selection's seed.
"""

from __future__ import annotations

import numpy as np

from dataprune.scores import Score, Seen, Values


def _compute(seen: Seen) -> Values:
    learned = seen.signals["learned"] > 0
    return np.where(learned, seen.signals["forget_events"], float(seen.epoch))


SCORE = Score(
    name="forgetting",
    signals=("forget_events", "learned"),
    compute=_compute,
    higher_is="harder",
    status="core",
    value_range="[0, epochs]",
    source="Toneva et al. 2019",
    spec={"counted": "per epoch, evaluation pass", "never_learned": "epochs observed"},
)
