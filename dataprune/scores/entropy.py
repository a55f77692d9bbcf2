"""Entropy of the predicted distribution, -sum_c p_c log p_c, in nats.

Uncertainty sampling of active learning; reads no label. Higher is more uncertain. Range
[0, ln(classes)].

Cost: none beyond the pass that scores a checkpoint.

Pitfalls. A confident wrong prediction scores as low as a confident right one, so wrong labels that
the model resists look easy. Near 0 for nearly all rows once they are fitted. Public code differs in
sign: sum p log p, where high is certain.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="entropy",
    signals=("entropy",),
    compute=lambda seen: seen.signals["entropy"],
    higher_is="more uncertain",
    status="experimental",
    value_range="[0, ln(classes)]",
    source="entropy of softmax",
    cost=FREE,
    pitfalls="reads no label: confident wrong rows look easy",
    spec={"of": "softmax", "unit": "nats"},
)
