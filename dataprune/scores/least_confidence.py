"""Least confidence: one minus the largest probability, of the prediction, not of the label.

Uncertainty sampling of active learning; reads no label. Higher is more uncertain. Range
[0, 1 - 1 / classes].

Cost: none beyond the pass that scores a checkpoint.

Pitfalls. A confident wrong prediction scores as low as a confident right one. Public code differs:
the largest logit in place of the probability, or a sign that flips with class balancing and keeps
the most confident.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="least_confidence",
    signals=("least_confidence",),
    compute=lambda seen: seen.signals["least_confidence"],
    higher_is="more uncertain",
    status="experimental",
    value_range="[0, 1 - 1/classes]",
    source="1 - max softmax",
    cost=FREE,
    pitfalls="reads no label: confident wrong rows look easy",
    spec={"of": "1 - max softmax"},
)
