"""Margin: the largest other probability minus the label's, so that higher is harder.

The `max_margin` of the Data Diet code (softmax probabilities). Range [-1, 1]; above 0 the
prediction is wrong. The trace holds the margin in its usual sign (label minus other).
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="margin",
    signals=("margin",),
    compute=lambda seen: -seen.signals["margin"],
    higher_is="harder",
    status="core",
    value_range="[-1, 1]",
    source="max_margin of the Data Diet code (Paul et al. 2021)",
    spec={"of": "max other softmax - softmax[label]"},
)
