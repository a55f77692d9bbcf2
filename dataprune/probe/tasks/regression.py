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
        std = train.std(axis=0)
        scaled: npt.NDArray[np.float64] = (labels - train.mean(axis=0)) / np.where(std > 0, std, 1)
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
        """1 minus squared error: in these units their mean is R2, against the training mean."""
        return 1 - (outputs_BC.float() - targets).square().mean(dim=1)


TASK = Regression()
