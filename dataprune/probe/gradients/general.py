"""The general path: exact per-example gradients of any parameters of any model, slower.

Shape suffixes: B batch, C outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from dataprune.probe.gradients.graph import wide_dtype, widen

_GRADIENTS_BYTES = 64 << 20  # all parameters of the examples that vmap works on at once


class GeneralPath:
    """Squared norms over some parameters, by torch.func or else one example at a time."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._vmap_works = True

    def squared(
        self, parameters: Sequence[torch.Tensor], inputs: torch.Tensor, grads_BC: torch.Tensor
    ) -> torch.Tensor:
        """Squared norm of each example's gradient over `parameters`, (B,).

        grads_BC: gradients of the examples' losses at the model's outputs.
        """
        if self._vmap_works and len(inputs) > 1:
            try:
                return self._by_vmap(parameters, inputs, grads_BC)
            except (RuntimeError, ValueError, TypeError, IndexError):
                self._vmap_works = False  # control flow on values, or an operation without a rule
        return self._by_loop(parameters, inputs, grads_BC)

    def _by_vmap(
        self, parameters: Sequence[torch.Tensor], inputs: torch.Tensor, grads_BC: torch.Tensor
    ) -> torch.Tensor:
        chosen = {id(p) for p in parameters}
        moving: dict[str, torch.Tensor] = {}
        fixed: dict[str, torch.Tensor] = {}
        for name, parameter in self.model.named_parameters():
            (moving if id(parameter) in chosen else fixed)[name] = parameter.detach()
        fixed.update(self.model.named_buffers())

        def product(
            values: dict[str, torch.Tensor], example: torch.Tensor, grad_C: torch.Tensor
        ) -> torch.Tensor:
            outputs = functional_call(self.model, {**values, **fixed}, (example[None],))
            total: torch.Tensor = (outputs * grad_C[None]).sum()
            return total

        def squared(example: torch.Tensor, grad_C: torch.Tensor) -> torch.Tensor:
            gradients = grad(product)(moving, example, grad_C)
            parts = [widen(g).square().sum() for g in gradients.values()]
            return torch.stack([part.to(torch.float64) for part in parts]).sum()

        example_bytes = 4 * sum(p.numel() for p in moving.values())
        chunk = max(1, _GRADIENTS_BYTES // example_bytes)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*batching rule", category=UserWarning)
            result: torch.Tensor = vmap(squared, chunk_size=chunk)(inputs, grads_BC)
        return result

    def _by_loop(
        self, parameters: Sequence[torch.Tensor], inputs: torch.Tensor, grads_BC: torch.Tensor
    ) -> torch.Tensor:
        squared = []
        for i in range(len(inputs)):
            here = slice(i, i + 1)
            with torch.enable_grad():
                outputs = self.model(inputs[here])
            squared.append(plain_squared(parameters, outputs, grads_BC[here]))
        return torch.stack(squared)


def plain_squared(
    parameters: Sequence[torch.Tensor], outputs_1C: torch.Tensor, grad_1C: torch.Tensor
) -> torch.Tensor:
    """Squared norm () of the gradient of a batch of one, by plain autograd, float64."""
    total = torch.zeros((), dtype=torch.float64, device=grad_1C.device)
    if outputs_1C.requires_grad:
        gradients = torch.autograd.grad(outputs_1C, parameters, grad_1C, allow_unused=True)
        for gradient in gradients:
            if gradient is not None:
                total += gradient.to(wide_dtype(gradient)).square().sum()
    return total
