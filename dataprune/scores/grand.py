"""GraNd: the L2 norm of the gradient of the example's own loss over all parameters.

Paul et al. 2021 (arXiv 2107.07075), Definition 2.1: the expectation over runs of the norm, so the
mean over seeds of norms. All trainable parameters count: kernels, biases, scales of normalisation.
The loss is that of one example, not its share of a batch's mean. Evaluation mode, no augmentation.
Higher is harder. Range [0, inf); its scale is the model's, so only ranks compare between models.

Cost: a forward and a backward pass over the rows at each checkpoint.

Pitfalls. Batch normalisation must use its running statistics, else there is no gradient of one
example. Public code differs: the last layer alone (here `grand_last`), gradients of a batch's mean
loss, which make the rows of a short last batch larger, or softmax before a loss that takes logits.
At initialisation it is a control (`grand_init`). Late in a run it ranks much as EL2N does, at a
higher cost: Spearman 0.98 at epoch 20 on CIFAR-10 (scores of a public reproduction).
"""

from __future__ import annotations

from dataprune.scores import BACKWARD, Score

SCORE = Score(
    name="grand",
    signals=("grad_norm",),
    compute=lambda seen: seen.signals["grad_norm"],
    higher_is="harder",
    status="core",
    value_range="[0, inf)",
    source="Paul et al. 2021, Definition 2.1",
    cost=BACKWARD,
    pitfalls="ranks much as el2n, which is free; its scale depends on the model",
    spec={"norm": "l2", "of": "gradient of the example's loss", "parameters": "all"},
)
