"""Forgetting events so far: times a correct example has become wrong (Toneva et al. 2019).

Counted once per epoch in which the row is observed; the first has nothing before it.
"""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    was_correct, events = state_BS.unbind(dim=1)
    correct = seen.get("correct")
    events = events + (was_correct > correct)
    return events, torch.stack([correct, events], dim=1)


SIGNAL = Signal("forget_events", _observe, ("correct",), "epoch", State(fixed=2))
