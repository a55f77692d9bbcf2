"""Mean EL2N over the epochs of highest training accuracy: as many of them as a window has.

An epoch's accuracy is known only when all rows were seen, so it is put in place in `finish`.
State: this epoch's EL2N and correctness, then accuracies and EL2N of the best epochs so far.
"""

from __future__ import annotations

import torch

from dataprune.probe.signals import Mean, Signal, State, row_norms
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    now = torch.stack([row_norms(seen.get("error_BC")), seen.get("correct")], dim=1)
    return now[:, 0], torch.cat([now, state_BS[:, 2:]], dim=1)


def _finish(
    state_NS: torch.Tensor, shown: torch.Tensor, in_sample: torch.Tensor, mean: Mean
) -> tuple[torch.Tensor, torch.Tensor]:
    el2n, correct = state_NS[:, 0], state_NS[:, 1]
    # Stored one higher, so that a place never taken is below every accuracy.
    accuracy_NJ, el2n_NJ = (part.clone() for part in state_NS[:, 2:].chunk(2, dim=1))
    accuracy = mean(correct[shown & in_sample]).to(state_NS) + 1
    lowest, place = accuracy_NJ.min(dim=1, keepdim=True)
    better = shown[:, None] & (accuracy > lowest)
    accuracy_NJ.scatter_(1, place, torch.where(better, accuracy, lowest))
    el2n_NJ.scatter_(1, place, torch.where(better, el2n[:, None], el2n_NJ.gather(1, place)))
    taken = (accuracy_NJ > 0).sum(dim=1).clamp(min=1)
    value = el2n_NJ.sum(dim=1) / taken
    new = [torch.stack([el2n, correct], dim=1), accuracy_NJ, el2n_NJ]
    return value, torch.cat(new, dim=1)


SIGNAL = Signal(
    "best_epochs_el2n",
    _observe,
    ("error_BC", "correct"),
    "epoch",
    State(fixed=2, per_window=2),
    _finish,
)
