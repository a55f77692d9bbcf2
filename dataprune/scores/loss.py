"""Loss: cross-entropy, -log p_label, in nats. Range [0, inf). Evaluation mode."""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="loss",
    signals=("loss",),
    compute=lambda seen: seen.signals["loss"],
    higher_is="harder",
    status="core",
    value_range="[0, inf)",
    source="cross-entropy",
    spec={"of": "-log softmax[label]"},
)
