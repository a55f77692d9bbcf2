"""TDDS so far: weighted deviations, over windows of epochs, of how far predictions moved.

How far: A_t = sum_c |p_t (log p_t - log p_{t-1})|. A window of J epochs has J - 1 of them; its
deviation is the L2 norm of A minus its mean. S <- 0.1 S + 0.9 deviation, window after window.

Keeps the previous epoch's probabilities of every class, in memory only.
"""

from __future__ import annotations

import torch

from dataprune.probe.signals import Signal, State, push
from dataprune.probe.tasks import Observation
from dataprune.tables.trace import NO_WINDOW

_DECAY = 0.9
_EPSILON = 1e-8  # inside the logarithms, as in the authors' code


def _observe(seen: Observation, state_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    p_BC = seen.get("p_BC")
    count, score = state_BS[:, 0], state_BS[:, 1]
    moves_BJ, before_BC = state_BS[:, 2 : -p_BC.shape[1]], state_BS[:, -p_BC.shape[1] :]
    moved = (p_BC * ((p_BC + _EPSILON).log() - (before_BC + _EPSILON).log())).abs().sum(dim=1)
    moved_BJ = push(moves_BJ, (count - 1).clamp(min=0), moved)
    moves_BJ = torch.where(count[:, None] > 0, moved_BJ, moves_BJ)  # the first epoch moves nothing
    deviation = (moves_BJ - moves_BJ.mean(dim=1, keepdim=True)).norm(dim=1)
    is_whole = count >= moves_BJ.shape[1]
    score = torch.where(is_whole, (1 - _DECAY) * score + _DECAY * deviation, score)
    value = torch.where(is_whole, score, NO_WINDOW)
    state = torch.stack([count + 1, score], dim=1)
    return value, torch.cat([state, moves_BJ, p_BC], dim=1)


# One move fewer than there are epochs in a window: 2 - 1 fixed floats.
SIGNAL = Signal(
    "window_kl_spread",
    _observe,
    ("p_BC",),
    "epoch",
    State(fixed=1, per_window=1, per_output=1),
)
