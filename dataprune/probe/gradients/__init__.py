"""Exact per-example gradient norms (GraNd) at about the cost of a plain forward and backward pass.

One forward pass, and one backward pass that makes no weight gradients. On its way every place
where a parameter meets examples gives each example's squared gradient norm in the cheapest exact
form:

    graph        the autograd graph: what was used where, and where the examples are in a tensor
    plan         which nodes join parameters and examples, and what leads from them to a parameter
    rules        one per kind of node: output gradient -> factors
    factors      per-example gradients in a form that is cheap to take norms of
    backward     the pass itself
    general      the slow, general way, for what has no rule

Shape suffixes: B batch, C outputs.
"""

from __future__ import annotations

import torch
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.gradients.losses import Loss, loss_named
from dataprune.probe.gradients.norms import GradientNorms

__all__ = ["GradientNorms", "gradient_norms"]


def gradient_norms(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    loss: str | Loss = "cross_entropy",
) -> torch.Tensor:
    """Norm of the gradient of each example's own loss over all trainable parameters, float32 (B,).

    Paul et al. 2021 (arXiv 2107.07075), Definition 2.1, before its mean over runs. See
    `GradientNorms` for what is promised of models, precision and state.

    inputs: numbers or integer ids; dimension 0 is the batch.
    loss: "cross_entropy" (targets: class indices), "binary_cross_entropy" (multi-hot, summed over
        classes), "mse" (mean over outputs), or (outputs_BC, targets) -> (B,).

    Raises:
        UsageError: a model, batch, loss or targets that this is not defined for.
    """
    per_example = loss_named(loss)
    if not isinstance(targets, torch.Tensor):
        raise UsageError(
            f"targets are a {type(targets).__name__}, not a tensor",
            hint="give torch.as_tensor(targets)",
        )
    if len(targets) != len(inputs):
        raise UsageError(
            f"there are {len(targets)} targets for {len(inputs)} inputs",
            hint="give one target per example",
        )
    with GradientNorms(model) as norms:
        return norms(inputs, lambda outputs_BC: per_example(outputs_BC, targets))[1]
