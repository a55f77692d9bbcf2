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
    features: torch.Tensor
    output: torch.Tensor  # kept, so that its memory is not another tensor's meanwhile


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
        self._runs[-1].append(_Call(layer, inputs[0].detach(), output.detach()))

    def layer_of(self, outputs_BC: torch.Tensor) -> tuple[nn.Linear, torch.Tensor]:
        """The layer that gave these outputs just now, and what it read, (B, D).

        Raises:
            UsageError: as `gradient_norms`.
        """
        call = self._last_call(outputs_BC)
        return call.layer, call.features

    def gradient_norms(
        self, outputs_BC: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Norms over the last layer's parameters, of outputs that the model gave just now, (B,).

        loss: outputs (B, C) -> each example's loss (B,). Frozen parameters do not count.

        Raises:
            UsageError: the outputs are not those of one linear layer whose parameters are its own.
        """
        call = self._last_call(outputs_BC)
        with torch.enable_grad():
            outputs_BC = outputs_BC.detach().requires_grad_()
            (by_outputs_BC,) = torch.autograd.grad(loss(outputs_BC).sum(), outputs_BC)
        squares = torch.zeros(len(outputs_BC), device=outputs_BC.device)
        if call.layer.weight.requires_grad:
            squares = squares + call.features.float().square().sum(dim=1)
        bias: nn.Parameter | None = call.layer.bias
        if bias is not None and bias.requires_grad:
            squares = squares + 1
        norms: torch.Tensor = row_norms(by_outputs_BC.float()) * squares.sqrt()
        return norms

    def _last_call(self, outputs_BC: torch.Tensor) -> _Call:
        """The call that gave the outputs, told by their memory."""
        for run in reversed(self._runs):
            if not run or run[-1].output.data_ptr() != outputs_BC.data_ptr():
                continue
            call = run[-1]
            if call.output.shape != outputs_BC.shape or call.features.dim() != 2:
                break
            if sum(other.layer is call.layer for other in run) > 1 or self._is_shared(call.layer):
                raise UsageError(
                    f"the last layer of {type(self.model).__name__} shares its weights with "
                    "another use, so nothing can be told of it alone",
                    hint="leave out the scores of the last layer (grand adds both uses)",
                )
            return call
        raise UsageError(
            f"{type(self.model).__name__} does not end in a linear layer, so scores of its last "
            "layer have no closed form",
            hint="use the score grand, or end the model in torch.nn.Linear",
        )

    def _is_shared(self, layer: nn.Linear) -> bool:
        """Whether another module holds one of the layer's parameters too."""
        own = {id(parameter) for parameter in layer.parameters()}
        others = (m for m in self.model.modules() if m is not layer)
        return any(
            id(parameter) in own for m in others for parameter in m.parameters(recurse=False)
        )
