"""Per-example losses by name.

Shape suffixes: B batch, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from dataprune.core.errors import UsageError, nearest

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_named(loss: str | Loss) -> Loss:
    """(outputs_BC, targets) -> losses (B,), by name or as the caller's own.

    Raises:
        UsageError: no such loss.
    """
    if callable(loss):
        return loss
    if loss not in _LOSSES:
        raise UsageError(f"there is no loss {loss!r}", hint=nearest(loss, _LOSSES))
    return _LOSSES[loss]


def cross_entropy(outputs_BC: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    """-log p_label as softplus(logsumexp of the other logits - z_label).

    Near p_label = 1 the usual form loses every digit of the gradient in float32, and this none.
    """
    if outputs_BC.dim() != 2 or targets_B.shape != outputs_BC.shape[:1]:
        raise _unfit("cross_entropy", "class indices (B,)", outputs_BC, targets_B)
    if targets_B.is_floating_point() or not _in_range(targets_B, outputs_BC.shape[1]):
        raise UsageError(
            f"targets are no class indices below {outputs_BC.shape[1]}, the number of outputs",
            hint="give integers, or name another loss",
        )
    if outputs_BC.shape[1] == 1:  # one class is certain
        return 0 * outputs_BC[:, 0]
    at_label_BC = F.one_hot(targets_B.long(), outputs_BC.shape[1]).bool()
    z_label = outputs_BC.masked_fill(~at_label_BC, 0).sum(dim=1)
    z_others = outputs_BC.masked_fill(at_label_BC, -torch.inf).logsumexp(dim=1)
    return F.softplus(z_others - z_label)


def binary_cross_entropy(outputs_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each class's sigmoid, summed over classes; targets are multi-hot."""
    if targets_BC.shape != outputs_BC.shape:
        raise _unfit("binary_cross_entropy", "one per output", outputs_BC, targets_BC)
    likely_BC = targets_BC.to(outputs_BC.dtype)
    losses_BC = likely_BC * F.softplus(-outputs_BC) + (1 - likely_BC) * F.softplus(outputs_BC)
    return losses_BC.flatten(1).sum(dim=1)


def mse(outputs_BC: torch.Tensor, targets_BC: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the outputs."""
    if targets_BC.numel() != outputs_BC.numel():
        raise _unfit("mse", "one per output", outputs_BC, targets_BC)
    errors_BC = outputs_BC - targets_BC.reshape(outputs_BC.shape)
    return errors_BC.square().flatten(1).mean(dim=1)


def _in_range(targets_B: torch.Tensor, num_classes: int) -> bool:
    return bool(((targets_B >= 0) & (targets_B < num_classes)).all())


def _unfit(loss: str, wants: str, outputs: torch.Tensor, targets: torch.Tensor) -> UsageError:
    return UsageError(
        f"{loss} cannot compare outputs of shape {tuple(outputs.shape)} with targets of shape "
        f"{tuple(targets.shape)}",
        hint=f"give targets as {wants}",
    )


_LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": mse,
}
