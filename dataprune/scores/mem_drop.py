"""How far the logit margin falls when what a layer memorized is removed.

What is removed, from which layer, and what chooses it: as mem_flip has it.
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
