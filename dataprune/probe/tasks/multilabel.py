"""Multilabel classification: one sigmoid per class, any number of classes right at once.

EL2N generalises to the norm of sigmoid minus multi-hot, range [0, sqrt(C)]. `correct` is the exact
match of the whole set (subset accuracy). There is no margin of its own definition in use, so
scores that read one are refused.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from dataprune.probe.tasks import Observation
from dataprune.sources._labels import Labels


class Multilabel:
    """Independent sigmoids with multi-hot labels."""

    name = "multilabel"
    has = frozenset({"loss", "error_BC", "correct"})
    metric = "exact match"

    def num_outputs(self, labels: Labels, num_classes: int) -> int:
        """One per class."""
        return num_classes

    def targets(self, labels: Labels, train: Labels) -> npt.NDArray[np.float32]:
        """Multi-hot, float32 (N, C)."""
        return labels.astype(np.float32)

    def chance(self, labels: Labels) -> float:
        """The share of the most frequent set."""
        return float(np.unique(labels, axis=0, return_counts=True)[1].max() / len(labels))

    def train_loss(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy, a sum over classes and a mean over the batch."""
        loss_BC = F.binary_cross_entropy_with_logits(outputs_BC.float(), targets, reduction="none")
        return loss_BC.sum(dim=1).mean()

    def observe(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> Observation:
        """Loss: binary cross-entropy summed over classes; error: sigmoid minus multi-hot.

        sigmoid(z) - 1 is written -sigmoid(-z), which keeps its digits near 0.
        """
        logits_BC = outputs_BC.float()
        signed_BC = torch.where(targets > 0, -logits_BC, logits_BC)
        error_BC = signed_BC.sigmoid() * torch.where(targets > 0, -1.0, 1.0)
        return Observation(
            loss=F.softplus(signed_BC).sum(dim=1),
            error_BC=error_BC,
            correct=self.quality(logits_BC, targets),
        )

    def quality(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """1.0 where every class is right: probability above one half where it is labelled."""
        return ((outputs_BC > 0) == (targets > 0)).all(dim=1).float()

    def summary(self, parts_N: torch.Tensor, targets: torch.Tensor) -> float:
        """The mean."""
        return float(parts_N.double().mean())


TASK = Multilabel()
