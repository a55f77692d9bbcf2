"""Number of epochs after which the prediction was right."""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = state_BS[:, 0] + seen.get("correct")
    return count, count[:, None]


SIGNAL = Signal("correct_epochs", _observe, ("correct",), "epoch", State(fixed=1))
