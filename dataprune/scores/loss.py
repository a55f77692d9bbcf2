"""Loss: cross-entropy, -log p_label, in nats; of other tasks their own loss.

Higher is harder. Range [0, inf). Cost: none beyond the pass that scores a checkpoint.

Pitfalls. Unbounded, so that a few wrong labels rule the mean over seeds. At the end of a long run
all losses of rows trained on are near 0 and their order is mostly noise.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="loss",
    signals=("loss",),
    compute=lambda seen: seen.signals["loss"],
    higher_is="harder",
    status="core",
    value_range="[0, inf)",
    source="cross-entropy",
    cost=FREE,
    pitfalls="unbounded, so wrong labels rule means; near 0 for all rows once they are fitted",
    spec={"of": "-log softmax[label]"},
)
