"""GraNd of the untrained weights: a negative control, not a score to prune by.

As `grand`, before the first step. Paul et al. 2021 reported that it works. The claim did not
reproduce (Kirsch 2023, arXiv 2303.14753): their code, asked for the checkpoint of step 0, restored
the last one. Computed as defined it is near the norm of the input (`input_norm`; Spearman 0.96 on
CIFAR-10 in a public reproduction) and prunes no better than random. Higher is nothing. Range
[0, inf).

Cost: a forward and a backward pass over the rows, once before training.

Pitfall. Seeds agree well, because inputs do not change: a reliable score need not be a useful one.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="grand_init",
    signals=("grad_norm_init",),
    compute=lambda seen: seen.signals["grad_norm_init"],
    higher_is="nothing",
    status="experimental",
    value_range="[0, inf)",
    source="negative control; Paul et al. 2021, Definition 2.1 at step 0; Kirsch 2023",
    cost="a forward and a backward pass over the rows, once before training",
    pitfalls="negative control: near the input norm; the published claim did not reproduce",
    spec={"norm": "l2", "of": "gradient of the example's loss", "parameters": "all"},
    at_init=True,
)
