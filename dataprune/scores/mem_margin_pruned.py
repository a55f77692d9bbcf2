"""How far what generalizes contradicts the label: minus the logit margin after removal.

What is removed, from which layer, and what chooses it: as mem_flip has it.
Higher is noisier. Range (-inf, inf).

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
