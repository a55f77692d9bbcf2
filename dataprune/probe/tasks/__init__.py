"""Tasks: what a probe predicts. One task a file, each defines `TASK`.

A task gives the training loss, and per example the loss and the output-error vector that EL2N
takes the norm of.

Shape suffixes: B batch, C classes or outputs.
"""

from __future__ import annotations

from typing import Protocol

import torch

from dataprune.core.registry import Registry


class Observation(Protocol):
    """Everything signals read of one batch: tensors of shape (B,) unless the suffix says else."""

    loss: torch.Tensor
    error_BC: torch.Tensor
    margin: torch.Tensor
    correct: torch.Tensor


class Task(Protocol):
    """What a probe predicts."""

    name: str

    def train_loss(self, outputs_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, for the backward pass."""

    def observe(self, outputs_BC: torch.Tensor, labels_B: torch.Tensor) -> Observation:
        """Per-example quantities of a batch, in float32."""


TASKS: Registry[Task] = Registry("dataprune.probe.tasks", "TASK", "task")
