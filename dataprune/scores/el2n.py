"""EL2N: the L2 norm of the error vector, softmax minus one-hot (not squared).

Paul et al. 2021 (arXiv 2107.07075), Definition 2.3: the expectation over runs of the norm, so the
mean over seeds of per-seed norms, not the norm of the mean error. Higher is harder. Range
[0, sqrt(2)].

Cost: none beyond the pass that scores a checkpoint. The authors score in evaluation mode, without
augmentation, at epoch 10 to 20 of 200, over 10 runs; a single run ranks clearly worse.

Pitfalls. At initialisation it says nothing. It is as high for a wrong label as for a hard example.
Public code differs: squared norms (a Brier score), or sums over epochs of augmented training steps.
"""

from __future__ import annotations

from dataprune.scores import FREE, Score

SCORE = Score(
    name="el2n",
    signals=("el2n",),
    compute=lambda seen: seen.signals["el2n"],
    higher_is="harder",
    status="core",
    value_range="[0, sqrt(2)]",
    source="Paul et al. 2021, Definition 2.3",
    cost=FREE,
    pitfalls="wrong labels rank highest; needs several seeds, and epoch 10 to 20 of a usual run",
    spec={"norm": "l2", "of": "softmax - onehot"},
)
