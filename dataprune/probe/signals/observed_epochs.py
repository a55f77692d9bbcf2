"""Number of epochs in which the row was observed: what counts over epochs are out of."""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = state_BS[:, 0] + torch.ones_like(seen.get("loss"))
    return count, count[:, None]


SIGNAL = Signal("observed_epochs", _observe, ("loss",), "epoch", State(fixed=1))
