"""Gradients by the input: what VoG and input-loss curvature look at. The model is in eval mode.

Shape suffixes: B batch, C outputs, D pixels of an image or features of a vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

NUM_DIRECTIONS = 10
STEP = 1e-3

Loss = Callable[[torch.Tensor], torch.Tensor]


def label_gradients(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Gradient of each example's label logit by its input, a mean over channels, (B, D).

    inputs: float (B, C, H, W) or (B, D). targets: class indices (B,).
    Source: Agarwal et al. 2022 (VoG), section 2.
    """
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        chosen = model(inputs).gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, inputs)
    return (gradient.mean(dim=1) if gradient.dim() == 4 else gradient).flatten(1)


def loss_curvature(
    model: nn.Module, inputs: torch.Tensor, loss: Loss, generator: torch.Generator
) -> torch.Tensor:
    """Mean over random directions v of || grad loss(x + h v) - grad loss(x) ||, (B,).

    v: ten draws of +-1 for each number of the input; h = 1e-3. loss: outputs (B, C) -> (B,).
    Source: Garg et al. 2024; Ravikumar et al. 2024, `loss_curve_score.py`, which takes the gradient
    of the batch's mean loss: its values are ours divided by the batch size.
    """
    at_x = _loss_gradients(model, inputs, loss)
    total = torch.zeros(len(inputs), device=inputs.device)
    for _ in range(NUM_DIRECTIONS):
        draw = torch.randint(
            2, inputs.shape, generator=generator
        )  # on the CPU: a GPU sees the same
        nearby = inputs + STEP * (2 * draw - 1).to(inputs)
        total += (_loss_gradients(model, nearby, loss) - at_x).norm(dim=1)
    return total / NUM_DIRECTIONS


def skip_directions(inputs: torch.Tensor, num_rows: int, generator: torch.Generator) -> None:
    """Leave the generator where `loss_curvature` of that many rows like these leaves it."""
    numbers = NUM_DIRECTIONS * inputs[0].numel()
    for _ in range(num_rows):
        torch.randint(2, (numbers,), generator=generator)


def _loss_gradients(model: nn.Module, inputs: torch.Tensor, loss: Loss) -> torch.Tensor:
    """Gradient of each example's loss by its input, flat, (B, D)."""
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(model(inputs)).sum(), inputs)
    return gradient.flatten(1)
