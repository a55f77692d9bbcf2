"""Held-out EL2N: the norm of softmax minus one-hot, of the seeds that did not train on the row.

As `el2n`, but a mean over the seeds that held the row out, which is how UNSEEN (2025, arXiv
2511.12988) proposes to score: a row that was memorized looks easy to the models that trained on it.
Higher is harder. Range [0, sqrt(2)].

Cost: none beyond the pass that scores a checkpoint, but seeds that hold rows out.

Pitfalls. Each row has as many values as folds are repeated, often one to three: its error is larger
than that of scores in sample. The models that score it saw less data than those of a full run.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="heldout_el2n",
    signals=("el2n",),
    compute=lambda seen: seen.signals["el2n"],
    higher_is="harder",
    status="experimental",
    value_range="[0, sqrt(2)]",
    source="UNSEEN 2025; Paul et al. 2021, Definition 2.3",
    cost=f"{FREE}; needs seeds that hold rows out",
    pitfalls="few seeds count for each row; their models saw less data",
    spec={"norm": "l2", "of": "softmax - onehot"},
    over="held_out",
)
