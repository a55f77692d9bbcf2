"""Input-loss curvature: how fast the loss's input gradient changes nearby, a mean over epochs.

Garg et al. 2024; Ravikumar et al. 2024. After each epoch, the mean over ten random directions v of
||grad loss(x + h v) - grad loss(x)||, where v is +-1 for each number of the standardised input and
h = 1e-3. The norm is not squared, nor divided by h. High curvature marks what is memorized: rare
and wrongly labelled rows. Higher is more memorized. Range [0, inf).

Cost: 11 forward and backward passes over the rows after every epoch.

Pitfalls. The values depend on h and on the size of the input, and the directions are random: ranks
of close rows differ between seeds for that alone. The authors' code takes the gradient of a batch's
mean loss, so its values are these divided by the batch size. Early descriptions square the norm.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="curvature",
    signals=("mean_curvature",),
    compute=lambda seen: seen.signals["mean_curvature"],
    higher_is="more memorized",
    status="experimental",
    value_range="[0, inf)",
    source="Garg et al. 2024; Ravikumar et al. 2024",
    cost="11 forward and backward passes after every epoch",
    pitfalls="the dearest score; random directions; depends on the step and the size of the input",
    spec={
        "of": "norm of the change of the loss's input gradient",
        "directions": 10,
        "step": 1e-3,
        "over_epochs": "mean",
    },
)
