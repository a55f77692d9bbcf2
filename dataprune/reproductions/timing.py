"""When scores mean something: EL2N of one network at one step, as a detector of wrong labels.

Legend of shapes: B examples, P outputs.
"""

from __future__ import annotations

import torch


def error_norms(logits_BP: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """Norm of outputs minus one-hot label, float64 (B,).

    EL2N (Data Diet, definition 2.3) with outputs in place of probabilities, because the network is
    trained on squared error. Not squared.
    """
    error_BP = logits_BP.double()
    error_BP[torch.arange(len(label_B)), label_B] -= 1
    norm_B: torch.Tensor = torch.linalg.vector_norm(error_BP, dim=1)
    return norm_B


def auroc(value_B: torch.Tensor, is_positive_B: torch.Tensor) -> float | None:
    """Probability that a positive's value is above a negative's, ties counted half.

    None where there are no positives or no negatives.
    """
    num_positive = int(is_positive_B.sum())
    num_negative = len(is_positive_B) - num_positive
    if not num_positive or not num_negative:
        return None
    ordered_B = value_B.sort().values
    positive = value_B[is_positive_B]
    below = torch.searchsorted(ordered_B, positive)
    not_above = torch.searchsorted(ordered_B, positive, right=True)
    rank_sum = float((below + not_above + 1).sum()) / 2  # ranks from 1; ties share their mean
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)
