"""DUAL: the mean, over windows of J epochs, of deviation times one minus mean of p_label.

Cho et al. 2025 (arXiv 2502.06905): uncertain (deviation, ddof 1) and difficult (low mean) at once.
Windows are all runs of J consecutive epochs, J being `scores.window` (the authors use 10). Higher
is harder. Range [0, 0.4).

Cost: a forward pass over the rows after every epoch; none in mode train.

Pitfalls. The authors score after 30 epochs of a schedule of 200, while the learning rate is still
high: a run of 30 epochs that anneals to 0 has other dynamics (set `probe.schedule_epochs: 200` and
`stop_epoch: 30`). Keeping the highest alone collapses when little is kept; the authors then sample
with a Beta distribution, which is a matter of selection. Their code multiplies by 10. Needs J
epochs.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="dual",
    signals=("window_dual",),
    compute=lambda seen: seen.signals["window_dual"],
    higher_is="harder",
    status="core",
    value_range="[0, 0.4)",
    source="Cho et al. 2025 (DUAL)",
    cost=EVERY_EPOCH,
    pitfalls="needs scores.window epochs; meant for an early epoch of a long schedule",
    spec={
        "of": "softmax[label]",
        "in_window": "std * (1 - mean)",
        "ddof": 1,
        "over_windows": "mean",
    },
    window="whole",
)
