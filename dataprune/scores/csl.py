"""CSL, cumulative sample loss: the sum of the loss over epochs.

Ravikumar et al. 2025: a proxy of memorization, and in their comparison the best at finding wrong
labels (area under the curve 0.985 to 0.990 on CIFAR with 1 to 10 per cent symmetric noise). Higher
is more memorized. Range [0, inf).

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. A sum, so it grows with the run: compare at one epoch only. Ranks within a seed are those
of the mean loss. Unbounded: a few early losses of wrong labels rule it.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="csl",
    signals=("mean_loss", "observed_epochs"),
    compute=lambda seen: seen.signals["mean_loss"] * seen.signals["observed_epochs"],
    higher_is="more memorized",
    status="experimental",
    value_range="[0, inf)",
    source="Ravikumar et al. 2025",
    cost=EVERY_EPOCH,
    pitfalls="grows with every epoch: compare at one epoch only; unbounded",
    spec={"of": "loss", "over_epochs": "sum"},
)
