"""Signals: one scalar per (checkpoint, example). One signal a file, each defines `SIGNAL`.

A signal that remembers (forgetting events) keeps `state_width` floats per example and is observed
after every epoch; the others are observed at checkpoints only.

Shape suffixes: B batch, S state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dataprune.core.registry import Registry
from dataprune.probe.tasks import Observation, Task


@dataclass(frozen=True)
class Signal:
    """One recorded scalar.

    observe: (observation, state_BS) -> (values (B,), new state_BS); state starts at zero.
    reads: the quantity of the observation that it reads; a task without it cannot have the signal.
    state_width: floats remembered per example between epochs; 0 for none.
    """

    name: str
    observe: Callable[[Observation, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    reads: str
    state_width: int = 0


def stateless(
    name: str, reads: str, compute: Callable[[torch.Tensor], torch.Tensor] = lambda values: values
) -> Signal:
    """A signal that is computed from one observed quantity and remembers nothing."""
    return Signal(name, lambda seen, state_BS: (compute(seen.get(reads)), state_BS), reads)


def recorded_anyway(task: Task) -> list[str]:
    """What every unit of a task records."""
    return [name for name in ALWAYS_RECORDED if SIGNALS.get(name).reads in task.has]


SIGNALS: Registry[Signal] = Registry("dataprune.probe.signals", "SIGNAL", "signal")

# Read off the outputs that any scoring pass computes anyway, so every unit records them: asking
# for one of their scores later trains nothing again.
ALWAYS_RECORDED = ("correct", "el2n", "loss", "margin")
