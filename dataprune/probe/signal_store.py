"""Values and states of signals for every row: what an observer and a `Recorder` fill.

Shape suffixes: N rows, B rows of a batch, S state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dataprune.probe.signals import Mean, Signal, Sizes, mean_of_all
from dataprune.probe.tasks import Observation

Recorded = dict[int, dict[str, npt.NDArray[np.float32]]]  # signals at each checkpoint


def as_tensors(recorded: Recorded) -> dict[int, dict[str, torch.Tensor]]:
    """What was recorded, as a snapshot can hold it."""
    return {
        epoch: {name: torch.from_numpy(values) for name, values in columns.items()}
        for epoch, columns in recorded.items()
    }


def as_arrays(recorded: dict[int, dict[str, torch.Tensor]]) -> Recorded:
    """What was recorded, from a snapshot."""
    return {
        epoch: {name: values.numpy() for name, values in columns.items()}
        for epoch, columns in recorded.items()
    }


class SignalStore:
    """The last value of each signal and row, and what the signals remember."""

    def __init__(
        self, signals: Iterable[Signal], num_rows: int, sizes: Sizes, device: torch.device
    ) -> None:
        self.signals = tuple(signals)
        self.values = {s.name: torch.zeros(num_rows, device=device) for s in self.signals}
        self.states = {
            s.name: torch.zeros(num_rows, s.state.width(sizes), device=device) for s in self.signals
        }

    def put(self, rows: torch.Tensor | slice, seen: Observation, signals: Iterable[Signal]) -> None:
        """Take what some rows, each once, showed; computed where the observation is."""
        for signal in signals:
            values, states = self.values[signal.name], self.states[signal.name]
            state_BS = states[rows].to(seen.loss.device)
            values_B, state_BS = signal.observe(seen, state_BS)
            values[rows] = values_B.float().to(values.device)
            if states.shape[1]:
                states[rows] = state_BS.float().to(states.device)

    def finish(
        self,
        shown: torch.Tensor,
        in_sample: torch.Tensor,
        signals: Iterable[Signal],
        mean: Mean = mean_of_all,
    ) -> None:
        """End an epoch; shown and in_sample are bool (N,).

        mean: over the values that all processes of a team hold.
        """
        for signal in signals:
            if signal.finish is not None:
                states = self.states[signal.name]
                values_N, state_NS = signal.finish(states, shown, in_sample, mean)
                self.values[signal.name], self.states[signal.name] = values_N, state_NS

    def state(self) -> dict[str, Any]:
        """What later observations depend on."""
        return {"values": self.values, "states": self.states}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name, values in self.values.items():
            values.copy_(state["values"][name])
            self.states[name].copy_(state["states"][name])

    def snapshot(self) -> dict[str, npt.NDArray[np.float32]]:
        """The values of every signal, float32 (N,) each."""
        return {name: values.cpu().numpy().copy() for name, values in self.values.items()}
