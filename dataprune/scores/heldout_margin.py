"""Held-out margin: the margin, of the seeds that did not train on the row.

As `margin`, the largest other probability minus the label's, but a mean over the seeds that held
the row out, which is how UNSEEN (2025, arXiv 2511.12988) proposes to score: a row that was
memorized looks easy to the models that trained on it. Higher is harder. Range [-1, 1].

Cost: none beyond the pass that scores a checkpoint, but seeds that hold rows out.

Pitfalls. Each row has as many values as folds are repeated, often one to three. In float32 the
easiest rows tie at -1.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="heldout_margin",
    signals=("margin",),
    compute=lambda seen: -seen.signals["margin"],
    higher_is="harder",
    status="experimental",
    value_range="[-1, 1]",
    source="UNSEEN 2025; max_margin of the Data Diet code",
    cost=f"{FREE}; needs seeds that hold rows out",
    pitfalls="few seeds count for each row; the easiest rows tie at -1 in float32",
    spec={"of": "max other softmax - softmax[label]", "sign": "negated"},
    over="held_out",
)
