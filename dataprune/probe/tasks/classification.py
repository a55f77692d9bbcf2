"""Single-label classification by softmax cross-entropy: the task of the Data Diet paper."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class ClassificationObservation:
    """Per-example quantities of a batch, float32.

    loss: -log p_label.
    error_BC: softmax minus one-hot.
    margin: p_label minus the largest other probability, in [-1, 1].
    correct: 1.0 where the label has the largest logit.
    """

    loss: torch.Tensor
    error_BC: torch.Tensor
    margin: torch.Tensor
    correct: torch.Tensor


class Classification:
    """Softmax classification with integer labels."""

    name = "classification"

    def train_loss(self, outputs_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of a batch."""
        return F.cross_entropy(outputs_BC, labels_B)

    def observe(
        self, outputs_BC: torch.Tensor, labels_B: torch.Tensor
    ) -> ClassificationObservation:
        """Per-example quantities of a batch.

        Near p_label = 1 both p - 1 and z_label - logsumexp(z) lose every digit in float32 and tie
        the easy examples. So the label's error is minus the sum of the other probabilities, and the
        loss is softplus(logsumexp of the other logits - z_label): the same numbers, kept exact.
        """
        logits_BC = outputs_BC.float()
        at_label_BC = F.one_hot(labels_B, logits_BC.shape[1]).bool()
        p_BC = logits_BC.softmax(dim=1)
        others_BC = p_BC.masked_fill(at_label_BC, 0)
        error_BC = torch.where(at_label_BC, -others_BC.sum(dim=1, keepdim=True), others_BC)
        p_label = p_BC.masked_fill(~at_label_BC, 0).sum(dim=1)
        z_label = logits_BC.masked_fill(~at_label_BC, 0).sum(dim=1)
        z_others = logits_BC.masked_fill(at_label_BC, -torch.inf).logsumexp(dim=1)
        return ClassificationObservation(
            loss=F.softplus(z_others - z_label),
            error_BC=error_BC,
            margin=p_label - others_BC.max(dim=1).values,
            correct=(logits_BC.argmax(dim=1) == labels_B).float(),
        )


TASK = Classification()
