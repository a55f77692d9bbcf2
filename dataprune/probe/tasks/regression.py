"""Regression by squared error. EL2N generalises to the norm of the residual.

Targets are standardised with the mean and deviation of the labels trained on, so losses and
residuals are in units of the labels' deviation. There is no right or wrong: scores that count
either are refused.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from dataprune.probe.tasks import Observation
from dataprune.sources._labels import Labels


def target_scale(train: Labels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of each output, float64 (outputs,); a constant one has deviation 1."""
    first = train[0]
    mean = first + (train - first).mean(axis=0)  # from the first on: a constant's mean is exact
    std = np.where(np.ptp(train, axis=0) > 0, train.std(axis=0), 1.0)
    return mean, std


class Regression:
    """One number or several per example."""

    name = "regression"
    has = frozenset({"loss", "error_BC"})
    metric = "R2"

    def num_outputs(self, labels: Labels, num_classes: int) -> int:
        """One per number."""
        return int(labels.shape[1])

    def targets(self, labels: Labels, train: Labels) -> npt.NDArray[np.float32]:
        """Standardised, float32 (N, outputs); a constant output becomes 0."""
        mean, std = target_scale(train)
        scaled: npt.NDArray[np.float64] = (labels - mean) / std
        return scaled.astype(np.float32)

    def chance(self, labels: Labels) -> float:
        """What always guessing the mean gets."""
        return 0.0

    def train_loss(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Squared error, a mean over outputs and batch."""
        return (outputs_BC.float() - targets).square().mean()

    def observe(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> Observation:
        """Loss: squared error, a mean over outputs; error: prediction minus target."""
        error_BC = outputs_BC.float() - targets
        return Observation(loss=error_BC.square().mean(dim=1), error_BC=error_BC)

    def quality(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The squared error, a mean over outputs."""
        return (outputs_BC.float() - targets).square().mean(dim=1)

    def summary(self, parts_N: torch.Tensor, targets: torch.Tensor) -> float:
        """R2: 1 minus mean squared error over the measured rows' own variance, outputs pooled.

        Where all measured rows have one label there is no variance to explain: 0.
        """
        variance = targets.double().var(dim=0, correction=0).mean().item()
        return 1 - parts_N.double().mean().item() / variance if variance > 0 else 0.0


TASK = Regression()
