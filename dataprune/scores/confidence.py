"""Confidence of a data map: minus the mean over epochs of p_label.

Swayamdipta et al. 2020 (dataset cartography). The authors' low value is hard to learn, often a
wrong label; stored negated, so higher is harder. Range [-1, 0].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. The probability of the label, not of the prediction (`least_confidence`). The authors
record training steps, with dropout on; a clean pass gives higher confidence. Falls with every
epoch that is trained after a row is fitted, so runs of two lengths do not compare.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="confidence",
    signals=("mean_p_label",),
    compute=lambda seen: -seen.signals["mean_p_label"],
    higher_is="harder",
    status="core",
    value_range="[-1, 0]",
    source="Swayamdipta et al. 2020",
    cost=EVERY_EPOCH,
    pitfalls="hard and wrongly labelled rows look alike; depends on the length of the run",
    spec={"of": "softmax[label]", "over_epochs": "mean", "sign": "negated"},
)
