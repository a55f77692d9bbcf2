"""GraNd of the last layer: the gradient norm over the last linear layer's parameters only.

With e the gradient of the loss by the outputs (softmax minus one-hot) and f the features that the
layer reads, the gradient is e f^T for the weights and e for the bias. Its norm is therefore
||e|| sqrt(||f||^2 + 1), without the 1 if there is no bias: EL2N times the size of the features.
Some public code calls this GraNd. Evaluation mode, no augmentation. Higher is harder. Range
[0, inf).

Cost: no backward pass, by the closed form; a model must end in torch.nn.Linear.

Pitfalls. It is not GraNd (`grand`), and can rank otherwise where feature norms vary. Public code
that takes the gradient of a batch's mean loss scores the rows of a short last batch too high.
"""

from __future__ import annotations

from dataprune.scores import Score

SCORE = Score(
    name="grand_last",
    signals=("grad_norm_last",),
    compute=lambda seen: seen.signals["grad_norm_last"],
    higher_is="harder",
    status="experimental",
    value_range="[0, inf)",
    source="Paul et al. 2021, Definition 2.1, on the last layer alone",
    cost="a product per row at each checkpoint: closed form, no backward pass",
    pitfalls="not GraNd, though some code calls it so; the model must end in a linear layer",
    spec={
        "norm": "l2",
        "of": "gradient of the example's loss",
        "parameters": "last linear layer, weights and bias",
    },
)
