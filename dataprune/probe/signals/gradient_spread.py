"""Deviation (ddof 0) over epochs of the label logit's input gradient, a mean over pixels.

The gradient of a pixel is the mean over its channels. Keeps two floats per pixel.
"""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State
from dataprune.probe.tasks import Observation


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    gradient_BD = seen.get("label_gradient_BD")
    count_B1 = state_BS[:, :1] + 1
    mean_BD, squares_BD = state_BS[:, 1:].chunk(2, dim=1)  # Welford
    before_BD = gradient_BD - mean_BD
    mean_BD = mean_BD + before_BD / count_B1
    squares_BD = squares_BD + before_BD * (gradient_BD - mean_BD)
    spread = (squares_BD / count_B1).sqrt().mean(dim=1)
    return spread, torch.cat([count_B1, mean_BD, squares_BD], dim=1)


SIGNAL = Signal(
    "gradient_spread",
    _observe,
    ("label_gradient_BD",),
    "epoch",
    State(fixed=1, per_pixel=2),
)
