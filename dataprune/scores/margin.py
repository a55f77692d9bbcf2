"""Margin: the largest other probability minus the label's, so that higher is harder.

The `max_margin` of the Data Diet code (softmax probabilities). Range [-1, 1]; above 0 the
prediction is wrong. The trace holds the margin in its usual sign (label minus other).

Cost: none beyond the pass that scores a checkpoint.

Pitfalls. In float32 all rows with p_label above about 1 - 3e-8 tie at -1; loss and EL2N keep them
apart. Margins of logits (AUM) and of the two likeliest classes, whatever the label, are other
scores.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="margin",
    signals=("margin",),
    compute=lambda seen: -seen.signals["margin"],
    higher_is="harder",
    status="core",
    value_range="[-1, 1]",
    source="max_margin of the Data Diet code (Paul et al. 2021)",
    cost=FREE,
    pitfalls="the easiest rows tie at -1 in float32",
    spec={"of": "max other softmax - softmax[label]", "sign": "negated"},
)
