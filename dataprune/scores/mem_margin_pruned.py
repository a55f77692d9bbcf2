"""How far what generalizes contradicts the label: minus the logit margin after removal.

A layer of the probe loses the part that held-out rows do not miss: by default its principal
directions of least variance (`scores.removal`: units, or magnitude as a control), of 50 levels, or
20 inside the network, the one that removes most while held-out accuracy stays within one standard
error of the best level's. The layer is the input of the last linear one, or the output of the
module that `scores.layer` names. Each seed's held-out rows choose; their labels may be noisy. No
class or period is assumed, which is how this differs from the paper, whose neurons are found by
their Fourier transform.
It also works where nothing was memorized. Higher is noisier. Range (-inf, inf).

Cost: as mem_flip.

Pitfalls. A well-timed EL2N, AUM or CSL is often as good. Hard rows are contradicted, too.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="mem_margin_pruned",
    signals=("mem_margin_pruned",),
    compute=lambda seen: -seen.signals["mem_margin_pruned"],
    higher_is="noisier",
    status="experimental",
    value_range="(-inf, inf)",
    source="own extension of To grok or not to grok, 2023 (arXiv 2310.13061)",
    cost="two forward passes a checkpoint, about ten inside a network; needs held-out rows",
    pitfalls="hard rows are contradicted, too; well-timed EL2N or AUM is often as good",
    spec={"of": "label logit less largest other, after removal"},
)
