"""Tasks: what a probe predicts. One task a file, each defines `TASK`.

A task turns labels into targets, gives the training loss, and per example the loss and the
output-error vector that EL2N takes the norm of. It says which of the observed quantities it has;
a score that reads another one is refused by name.

Shape suffixes: N rows, B batch, C classes or outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt
import torch

from dataprune.core.registry import Registry
from dataprune.sources._labels import Labels


@dataclass(frozen=True)
class Observation:
    """What signals read of one batch, float32; None is what the task, or this pass, does not have.

    loss: the task's loss of each example, (B,).
    error_BC: the output error, whose norm is EL2N.
    margin: how far the label's probability is ahead, (B,); above 0 is right.
    correct: 1.0 where the prediction is right, (B,).
    p_BC, p_label: probabilities of the classes, and of the label, (B,).
    logit_margin: the label's logit minus the largest other one, (B,).
    entropy: of the predicted distribution, in nats, (B,).
    least_confidence: 1 minus the largest probability, (B,).

    Of the model and its input, where a pass takes them (`probe/observer.py`):
    grad_norm, grad_norm_last: norm of the loss's gradient over all parameters, over those of the
        last layer, (B,).
    input_norm: of the input as the model reads it, (B,).
    label_gradient_BD: of the label's logit by each pixel, a mean over channels.
    input_curvature: mean change of the loss's input gradient at random points nearby, (B,).
    mem_margin_pruned, mem_drop, mem_flip, mem_relabel: after removal of what a layer memorized
        (`probe/removal.py`): logit margin, its fall, 1.0 where the label was fitted and is not any
        more, the class that is answered instead, (B,).
    """

    loss: torch.Tensor
    error_BC: torch.Tensor
    margin: torch.Tensor | None = None
    correct: torch.Tensor | None = None
    p_BC: torch.Tensor | None = None
    p_label: torch.Tensor | None = None
    logit_margin: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    least_confidence: torch.Tensor | None = None
    grad_norm: torch.Tensor | None = None
    grad_norm_last: torch.Tensor | None = None
    input_norm: torch.Tensor | None = None
    label_gradient_BD: torch.Tensor | None = None
    input_curvature: torch.Tensor | None = None
    mem_margin_pruned: torch.Tensor | None = None
    mem_drop: torch.Tensor | None = None
    mem_flip: torch.Tensor | None = None
    mem_relabel: torch.Tensor | None = None

    def get(self, quantity: str) -> torch.Tensor:
        """One quantity, which the task must have: plans refuse signals that it has not."""
        values: torch.Tensor | None = getattr(self, quantity)
        assert values is not None, f"the task has no {quantity}"
        return values


class Task(Protocol):
    """What a probe predicts."""

    name: str
    has: frozenset[str]
    metric: str

    def num_outputs(self, labels: Labels, num_classes: int) -> int:
        """Outputs that a model needs."""

    def targets(self, labels: Labels, train: Labels) -> npt.NDArray[Any]:
        """Labels as the losses take them; `train` are the labels trained on."""

    def chance(self, labels: Labels) -> float:
        """The metric of the best constant guess."""

    def train_loss(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, for the backward pass."""

    def observe(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> Observation:
        """Per-example quantities of a batch, in float32."""

    def quality(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Each example's part in the metric, (B,)."""

    def summary(self, parts_N: torch.Tensor, targets: torch.Tensor) -> float:
        """The metric of all the examples that were measured, from their parts."""


TASKS: Registry[Task] = Registry("dataprune.probe.tasks", "TASK", "task")
