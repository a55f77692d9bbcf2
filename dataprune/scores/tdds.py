"""TDDS: how unsteadily predictions moved, window of epochs after window of epochs.

Zhang et al. 2024, as the authors' code computes it. A_t = sum_c |p_t,c (log p_t,c - log p_t-1,c)|,
with 1e-8 inside the logarithms. In a window of J epochs (`scores.window`) there are J - 1 such
moves; V is the L2 norm of A minus its mean over the window. S <- 0.1 S + 0.9 V, from 0, over all
runs of J consecutive epochs. Higher is harder. Range [0, inf).

Cost: a forward pass over the rows after every epoch, none in mode train; and in memory a float for
each class, and epoch of a window, of each row.

Pitfalls. The weighting is degenerate: 0.9 of it is on the last window, 0.99 on the last two, so
that the checkpoint decides. The paper writes of KL divergence; a sum of absolute values per class
is none. The authors choose checkpoint and J anew for each share that they keep (10 to 90 epochs, J
5 to 20), and their training on the subset weighs the loss by the score. Code of others that never
moves the window, or feeds logits to the logarithm, gives other rankings.
"""

from __future__ import annotations

from dataprune.scores import EVERY_EPOCH, Score

SCORE = Score(
    name="tdds",
    signals=("window_kl_spread",),
    compute=lambda seen: seen.signals["window_kl_spread"],
    higher_is="harder",
    status="experimental",
    value_range="[0, inf)",
    source="Zhang et al. 2024 (TDDS), the authors' code",
    cost=f"{EVERY_EPOCH}; a float held per class and row",
    pitfalls="0.9 of the weight is on the last window, 0.99 on the last two; not KL as written",
    spec={
        "of": "sum over classes of abs(p_t * (log p_t - log p_t-1))",
        "epsilon": 1e-8,
        "in_window": "l2 norm of deviations from the mean",
        "over_windows": "0.1 * before + 0.9 * this",
    },
    window="whole",
    least_window=3,
)
