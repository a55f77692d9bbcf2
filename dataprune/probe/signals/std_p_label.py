"""Standard deviation (ddof 0) over epochs of the label's probability."""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count, mean, squares = state_BS.unbind(dim=1)  # Welford: no large numbers are subtracted
    p_label = seen.get("p_label")
    before = p_label - mean
    mean = mean + before / (count + 1)
    squares = squares + before * (p_label - mean)
    std = (squares / (count + 1)).sqrt()
    return std, torch.stack([count + 1, mean, squares], dim=1)


SIGNAL = Signal("std_p_label", _observe, ("p_label",), "epoch", State(fixed=3))
