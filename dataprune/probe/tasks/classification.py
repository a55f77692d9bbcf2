"""Single-label classification by softmax cross-entropy: the task of the Data Diet paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from dataprune.probe.tasks import Observation
from dataprune.sources._labels import Labels


class Classification:
    """Softmax classification with integer labels."""

    name = "classification"
    has = frozenset(
        {
            "correct", "entropy", "error_BC", "least_confidence", "logit_margin", "loss", "margin",
            "p_BC", "p_label",
        }
    )  # fmt: skip
    metric = "accuracy"

    def num_outputs(self, labels: Labels, num_classes: int) -> int:
        """One per class."""
        return num_classes

    def targets(self, labels: Labels, train: Labels) -> npt.NDArray[np.int64]:
        """Class indices, int64 (N,)."""
        return labels

    def chance(self, labels: Labels) -> float:
        """The share of the largest class."""
        return float(np.bincount(labels).max() / len(labels))

    def train_loss(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a batch."""
        return F.cross_entropy(outputs_BC, targets)

    def observe(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> Observation:
        """Loss -log p_label; error softmax minus one-hot; margin p_label minus the largest other.

        Near p_label = 1 both p - 1 and z_label - logsumexp(z) lose every digit in float32 and tie
        the easy examples. So the label's error is minus the sum of the other probabilities, and the
        loss is softplus(logsumexp of the other logits - z_label): the same numbers, kept exact.
        Entropy and least confidence are written so around the likeliest class.
        """
        logits_BC = outputs_BC.float()
        at_label_BC = F.one_hot(targets, logits_BC.shape[1]).bool()
        p_BC = logits_BC.softmax(dim=1)
        others_BC = p_BC.masked_fill(at_label_BC, 0)
        error_BC = torch.where(at_label_BC, -others_BC.sum(dim=1, keepdim=True), others_BC)
        p_label = p_BC.masked_fill(~at_label_BC, 0).sum(dim=1)
        z_label = logits_BC.masked_fill(~at_label_BC, 0).sum(dim=1)
        z_others_BC = logits_BC.masked_fill(at_label_BC, -torch.inf)
        z_others = z_others_BC.logsumexp(dim=1)
        at_top_BC = F.one_hot(logits_BC.argmax(dim=1), logits_BC.shape[1]).bool()
        p_rest_BC = p_BC.masked_fill(at_top_BC, 0)
        p_top, z_top = p_BC.max(dim=1).values, logits_BC.max(dim=1).values
        z_rest = logits_BC.masked_fill(at_top_BC, -torch.inf).logsumexp(dim=1)
        return Observation(
            loss=F.softplus(z_others - z_label),
            error_BC=error_BC,
            margin=p_label - others_BC.max(dim=1).values,
            correct=self.quality(logits_BC, targets),
            p_BC=p_BC,
            p_label=p_label,
            logit_margin=z_label - z_others_BC.max(dim=1).values,
            entropy=p_top * F.softplus(z_rest - z_top) + torch.special.entr(p_rest_BC).sum(dim=1),
            least_confidence=p_rest_BC.sum(dim=1),
        )

    def quality(self, outputs_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """1.0 where the label has the largest logit."""
        return (outputs_BC.argmax(dim=1) == targets).float()

    def summary(self, parts_N: torch.Tensor, targets: torch.Tensor) -> float:
        """The mean."""
        return float(parts_N.double().mean())


TASK = Classification()
