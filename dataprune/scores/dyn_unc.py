"""Dyn-Unc: the mean, over windows of J epochs, of the deviation of p_label within the window.

He et al. 2023. Deviation with ddof 1, windows of all runs of J consecutive epochs, J being
`scores.window` (the authors use 10). Higher is more uncertain. Range [0, sqrt(1/2)].

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. The authors' code multiplies by 10, leaves out the last epoch, and takes a probability of
exactly 0 for a missing one. None of that is done here; the first changes no rank. Needs J epochs.
A mean over windows counts middle epochs more often than the first and the last.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="dyn_unc",
    signals=("window_std",),
    compute=lambda seen: seen.signals["window_std"],
    higher_is="more uncertain",
    status="experimental",
    value_range="[0, sqrt(1/2)]",
    source="He et al. 2023 (Dyn-Unc)",
    cost=EVERY_EPOCH,
    pitfalls="needs scores.window epochs; the authors' values are 10 times these",
    spec={"of": "softmax[label]", "in_window": "std", "ddof": 1, "over_windows": "mean"},
    window="whole",
)
