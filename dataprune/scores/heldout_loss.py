"""Held-out loss: cross-entropy in nats, of the seeds that did not train on the row.

As `loss`, but a mean over the seeds that held the row out, which is how UNSEEN (2025, arXiv
2511.12988) proposes to score: a row that was memorized looks easy to the models that trained on it.
Higher is harder. Range [0, inf).

Cost: none beyond the pass that scores a checkpoint, but seeds that hold rows out.

Pitfalls. Unbounded, and models are often sure of what they never saw: one seed that is sure and
wrong rules the mean of the few that count for a row.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="heldout_loss",
    signals=("loss",),
    compute=lambda seen: seen.signals["loss"],
    higher_is="harder",
    status="experimental",
    value_range="[0, inf)",
    source="UNSEEN 2025; cross-entropy",
    cost=f"{FREE}; needs seeds that hold rows out",
    pitfalls="unbounded: one sure and wrong seed rules the mean of few",
    spec={"of": "-log softmax[label]"},
    over="held_out",
)
