"""Variability of a data map: the standard deviation over epochs of p_label, with ddof 0.

Swayamdipta et al. 2020 (dataset cartography): high is ambiguous. Higher is more uncertain. Range
[0, 0.5].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. Needs two epochs to say anything: after one it is 0 for every row. A row that is learned
once, late, and kept has a high value too: it measures change, not only wavering. Low values are
easy rows and hopeless ones alike, so read it together with `confidence`.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="variability",
    signals=("std_p_label",),
    compute=lambda seen: seen.signals["std_p_label"],
    higher_is="more uncertain",
    status="core",
    value_range="[0, 0.5]",
    source="Swayamdipta et al. 2020",
    cost=EVERY_EPOCH,
    pitfalls="0 after one epoch; easy rows and hopeless ones are both low",
    spec={"of": "softmax[label]", "over_epochs": "std", "ddof": 0},
)
