"""EL2N: the L2 norm of the error vector, softmax minus one-hot (not squared).

Paul et al. 2021 (arXiv 2107.07075), Definition 2.3: the expectation over runs of the norm, so the
mean over seeds of per-seed norms, not the norm of the mean error. Evaluation mode, no
augmentation. Range [0, sqrt(2)]. Not reliable at initialisation: use epoch 10 to 20 of a usual run.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="el2n",
    signals=("el2n",),
    compute=lambda seen: seen.signals["el2n"],
    higher_is="harder",
    status="core",
    value_range="[0, sqrt(2)]",
    source="Paul et al. 2021, Definition 2.3",
    spec={"norm": "l2", "of": "softmax - onehot"},
)
