"""Share of seeds that memorized the row: its label is fitted, and not after removal.

A layer of the probe loses the part that held-out rows do not miss: by default its principal
directions of least variance (`scores.removal`: units, or magnitude as a control), of 50 levels, or
20 inside the network, the one that removes most while held-out accuracy stays within one standard
error of the best level's. The layer is the input of the last linear one, or the output of the
module that `scores.layer` names. Each seed's held-out rows choose; their labels may be noisy. No
class or period is assumed, which is how this differs from the paper, whose neurons are found by
their Fourier transform.
Higher is more memorized. Range [0, 1].

Cost: two forward passes at each checkpoint; up to 10,000 held-out rows' activations, float64, and a
matrix as wide as the layer are held. Inside the network: three passes, and 38 over up to 2,000
held-out rows, whose inputs are held.

Pitfalls. Memorized is not mislabelled: rare and odd rows are memorized, too, and a network that
resists noise memorizes none of it. Where the table's metadata says not_localizable it means
nothing. Without `scores.layer` the model must end in torch.nn.Linear.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="mem_flip",
    signals=("mem_flip",),
    compute=lambda seen: seen.signals["mem_flip"],
    higher_is="more memorized",
    status="experimental",
    value_range="[0, 1]",
    source="own extension of To grok or not to grok, 2023 (arXiv 2310.13061)",
    cost="two forward passes a checkpoint, about ten inside a network; needs held-out rows",
    pitfalls="memorized is not mislabelled; means nothing where not localizable",
    spec={"of": "fitted before removal and not after"},
)
