"""How far the logit margin falls when what a layer memorized is removed.

A layer of the probe loses the part that held-out rows do not miss: by default its principal
directions of least variance (`scores.removal`: units, or magnitude as a control), of 50 levels, or
20 inside the network, the one that removes most while held-out accuracy stays within one standard
error of the best level's. The layer is the input of the last linear one, or the output of the
module that `scores.layer` names. Each seed's held-out rows choose; their labels may be noisy. No
class or period is assumed, which is how this differs from the paper, whose neurons are found by
their Fourier transform.
Higher is more memorized. Range (-inf, inf).

Cost: as mem_flip.

Pitfalls. It is no detector of wrong labels, and its size depends on how much was removed: where
nothing was memorized, well-learned rows fall furthest. Read mem_flip first.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="mem_drop",
    signals=("mem_drop",),
    compute=lambda seen: seen.signals["mem_drop"],
    higher_is="more memorized",
    status="experimental",
    value_range="(-inf, inf)",
    source="own extension of To grok or not to grok, 2023 (arXiv 2310.13061)",
    cost="two forward passes a checkpoint, about ten inside a network; needs held-out rows",
    pitfalls="depends on how much is removed: no detector of wrong labels",
    spec={"of": "logit margin before removal less after"},
)
