"""LBPE: the mean EL2N over the epochs that were most accurate on the rows trained on.

He et al. 2023 (You Only Condense Once). As many epochs as `scores.window`; with fewer so far, all
of them. Of epochs of equal accuracy some are taken, the same for every row. The authors sum and
keep the lowest, balanced over classes: they prune sets that are condensed already, where easy
examples are worth most. Stored as it is, so higher is harder. Range [0, sqrt(2)].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. Training accuracy rises to the end of most runs, so this is often EL2N of the last epochs.
Another `scores.window` is another score.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="lbpe",
    signals=("best_epochs_el2n",),
    compute=lambda seen: seen.signals["best_epochs_el2n"],
    higher_is="harder",
    status="experimental",
    value_range="[0, sqrt(2)]",
    source="He et al. 2023 (YOCO)",
    cost=EVERY_EPOCH,
    pitfalls="often el2n of the last epochs; the authors keep low values, of condensed sets",
    spec={"of": "el2n", "over_epochs": "mean of the best", "best_epochs": "scores.window"},
    window="best",
)
