"""Data-IQ: the mean over epochs of p_label (1 - p_label), the aleatoric uncertainty.

Seedat et al. 2022. Higher is more uncertain. Range [0, 1/4].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. A confident wrong prediction has as low a value as a confident right one: the authors
sort rows by `confidence` first and use this one to find the ambiguous. Not the variance over epochs
(`variability`), which is the epistemic part: p = 1/2 at every epoch is the highest value here, and
0 there.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="data_iq",
    signals=("mean_p_variance",),
    compute=lambda seen: seen.signals["mean_p_variance"],
    higher_is="more uncertain",
    status="experimental",
    value_range="[0, 1/4]",
    source="Seedat et al. 2022",
    cost=EVERY_EPOCH,
    pitfalls="confident wrong rows score as low as confident right ones: read beside confidence",
    spec={"of": "softmax[label] * (1 - softmax[label])", "over_epochs": "mean"},
)
