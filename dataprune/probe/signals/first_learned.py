"""The first epoch after which the prediction was right; 0 if there was none yet."""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    epoch, first = (state_BS[:, 0] + 1, state_BS[:, 1])
    first = torch.where((first == 0) & (seen.get("correct") > 0), epoch, first)
    return first, torch.stack([epoch, first], dim=1)


SIGNAL = Signal("first_learned", _observe, ("correct",), "epoch", State(fixed=2))
