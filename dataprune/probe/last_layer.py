"""GraNd of the last layer in closed form: no backward pass, no gradient per parameter.

For a last layer z = W f + b the gradient of a loss is g f^T for W and g for b, where g is the
gradient by the outputs, so its norm is ||g|| sqrt(||f||^2 + 1), without the 1 if there is no b.

Shape suffixes: B batch, C outputs, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from dataprune.core.errors import UsageError
from dataprune.probe.signals import row_norms

_RUNS_KEPT = 16  # runs on a few examples may come between the run that counts and its norms


@dataclass(frozen=True)
class _Call:
    layer: nn.Linear
    features_BD: torch.Tensor
    output: torch.Tensor

    def gave(self, outputs_BC: torch.Tensor) -> bool:
        """Whether these outputs are what this call returned."""
        return self.output.shape == outputs_BC.shape and torch.equal(self.output, outputs_BC)


class LastLayer:
    """Watches which linear layer gives the model's outputs, and what it reads.

    with LastLayer(model) as last:
        outputs_BC = model(inputs)
        norms_B = last.gradient_norms(outputs_BC, loss)
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._handles: list[Any] = []
        self._runs: deque[list[_Call]] = deque(maxlen=_RUNS_KEPT)

    def __enter__(self) -> Self:
        layers = (m for m in self.model.modules() if isinstance(m, nn.Linear))
        self._handles = [layer.register_forward_hook(self._keep) for layer in layers]
        begin = self.model.register_forward_pre_hook(lambda _model, _args: self._runs.append([]))
        self._handles.append(begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._runs.clear()

    def _keep(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        assert isinstance(layer, nn.Linear)
        if not self._runs:  # the model itself is the layer, and its own hook comes first
            self._runs.append([])
        calls = [call for call in self._runs[-1] if call.layer is layer]
        self._runs[-1] = [*calls, _Call(layer, inputs[0].detach(), output.detach())]

    def gradient_norms(
        self, outputs_BC: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Norms over the last layer's parameters, of outputs that the model gave just now, (B,).

        loss: outputs (B, C) -> each example's loss (B,).

        Raises:
            UsageError: the outputs are not those of one call of a linear layer.
        """
        calls = next((run for run in reversed(self._runs) if run and run[-1].gave(outputs_BC)), [])
        if len(calls) != 1 or calls[0].features_BD.dim() != 2:
            raise UsageError(
                f"{type(self.model).__name__} does not end in a linear layer, so the gradient of "
                "its last layer has no closed form",
                hint="use the score grand, or end the model in torch.nn.Linear",
            )
        layer, features_BD = calls[0].layer, calls[0].features_BD
        with torch.enable_grad():
            outputs_BC = outputs_BC.detach().requires_grad_()
            (by_outputs_BC,) = torch.autograd.grad(loss(outputs_BC).sum(), outputs_BC)
        squares = features_BD.float().square().sum(dim=1)
        if layer.bias is not None:
            squares = squares + 1
        norms: torch.Tensor = row_norms(by_outputs_BC.float()) * squares.sqrt()
        return norms
