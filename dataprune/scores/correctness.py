"""Correctness of a data map: minus the number of epochs after which the prediction was right.

Swayamdipta et al. 2020 (dataset cartography). The authors' low value is hard; stored negated, so
higher is harder. Range [-epochs, 0].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. Integers per seed, so ties are many: most rows of an easy set are right at every epoch.
A count and not a share, so runs of two lengths do not compare.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="correctness",
    signals=("correct_epochs",),
    compute=lambda seen: -seen.signals["correct_epochs"],
    higher_is="harder",
    status="experimental",
    value_range="[-epochs, 0]",
    source="Swayamdipta et al. 2020",
    cost=EVERY_EPOCH,
    pitfalls="integers, so many ties among easy rows; grows with the length of the run",
    spec={"of": "prediction is the label", "over_epochs": "count", "sign": "negated"},
)
