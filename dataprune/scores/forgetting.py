"""Forgetting events: how often an example went from right to wrong between epochs.

Toneva et al. 2019. Never learned is the hardest of all: such an example gets the number of epochs
observed, which no count can reach. Higher is harder. Range [0, epochs].

Counted once per epoch on a clean evaluation pass; Toneva counts on training batches, which
`scores.mode: train` does. Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. Integers per seed, so ties are many; they are broken by the selection's seed. Public code
that gives 0 to what was never learned ranks wrong labels among the easiest.
"""

from __future__ import annotations

import numpy as np

from dataprune.scores import EVERY_EPOCH, Score, Seen, Values


def _compute(seen: Seen) -> Values:
    learned = seen.signals["learned"] > 0
    return np.where(learned, seen.signals["forget_events"], seen.signals["observed_epochs"])


SCORE = Score(
    name="forgetting",
    signals=("forget_events", "learned", "observed_epochs"),
    compute=_compute,
    higher_is="harder",
    status="core",
    value_range="[0, epochs]",
    source="Toneva et al. 2019",
    cost=EVERY_EPOCH,
    pitfalls="integers, so many ties; counted per epoch, where the authors count training steps",
    spec={"counted": "per epoch", "never_learned": "epochs observed"},
)
