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
    """What signals read of one batch, float32; None is what the task does not have.

    loss: the task's loss of each example, (B,).
    error_BC: the output error, whose norm is EL2N.
    margin: how far the label is ahead, (B,); above 0 is right.
    correct: 1.0 where the prediction is right, (B,).
    """

    loss: torch.Tensor
    error_BC: torch.Tensor
    margin: torch.Tensor | None = None
    correct: torch.Tensor | None = None

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
