"""1.0 once the example has been predicted right after any epoch so far."""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    learned = torch.maximum(state_BS[:, 0], seen.get("correct"))
    return learned, learned[:, None]


SIGNAL = Signal("learned", _observe, ("correct",), "epoch", State(fixed=1))
