"""The observer that takes the outputs of training steps as they come (`scores.mode: train`).

Shape suffixes: N rows, B batch, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dataprune.probe.data import Batch, Batches
from dataprune.probe.observer import GATHERED_NUMBERS, InSample
from dataprune.probe.signal_store import Recorded, SignalStore, as_arrays, as_tensors
from dataprune.probe.tasks import Task
from dataprune.probe.team import Team


class StepObserver:
    """Takes the outputs of training steps: no pass of its own, nothing clean, nothing fresh.

    A row comes once in an epoch. Of a team, the process that leads observes whole batches for all;
    the others hand their slices over.
    """

    def __init__(
        self,
        store: SignalStore,
        task: Task,
        in_sample: torch.Tensor,
        checkpoints: Iterable[int],
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        self.store, self.task, self.in_sample = store, task, in_sample
        self.checkpoints = frozenset(checkpoints)
        self.recorded: Recorded = {}
        self._ever = torch.zeros_like(in_sample)  # in any epoch so far
        self._shown_by: dict[int, npt.NDArray[np.bool_]] = {}
        self._shown = torch.zeros_like(in_sample)  # in this epoch
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._count = 0

    def step(self, batch: Batch, outputs_BC: torch.Tensor) -> None:
        """Take one step's outputs."""
        num_rows = batch.of or len(batch.rows)
        rows, outputs_BC, targets = (
            self.team.whole(part, num_rows) for part in (batch.rows, outputs_BC, batch.targets)
        )
        if not self.team.leads:
            return
        self._waiting.append((rows, outputs_BC, targets))
        self._count += len(rows)
        if self._count * outputs_BC.shape[1] >= GATHERED_NUMBERS:
            self._work()

    @torch.no_grad()
    def _work(self) -> None:
        rows, outputs_BC, targets = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self.store.put(rows, self.task.observe(outputs_BC, targets), self.store.signals)
        self._shown[rows] = True
        self._waiting, self._count = [], 0

    def at_start(self, model: nn.Module, batches: Batches) -> None:
        """Nothing: steps show trained models only."""

    def after_epoch(self, epoch: int, model: nn.Module, batches: Batches) -> None:
        """Finish what the epoch's steps showed."""
        if not self.team.leads:
            return
        if self._waiting:
            self._work()
        with torch.no_grad():
            self.store.finish(self._shown, self.in_sample, self.store.signals)
        self._ever |= self._shown
        self._shown = torch.zeros_like(self._shown)
        if epoch in self.checkpoints:
            self.recorded[epoch] = self.store.snapshot()
            self._shown_by[epoch] = self._ever.cpu().numpy().copy()

    def finish(self) -> tuple[InSample, Recorded]:
        """The rows that steps have shown by each checkpoint, bool (N,), and the signals at each."""
        return self._shown_by, self.recorded

    def state(self) -> dict[str, Any]:
        """Signals, what was recorded of them, and the steps that were not worked on yet."""
        shown_by = {epoch: torch.from_numpy(shown) for epoch, shown in self._shown_by.items()}
        return {
            "store": self.store.state(),
            "recorded": as_tensors(self.recorded),
            "ever": self._ever,
            "shown_by": shown_by,
            "shown": self._shown,
            # Joined: of a slice, torch would save all that it is a slice of.
            "waiting": [torch.cat(parts) for parts in zip(*self._waiting, strict=True)],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        device = self.in_sample.device
        self.store.restore(state["store"])
        self.recorded = as_arrays(state["recorded"])
        self._ever, self._shown = state["ever"].to(device), state["shown"].to(device)
        self._shown_by = {epoch: shown.numpy() for epoch, shown in state["shown_by"].items()}
        if state["waiting"]:
            rows, outputs_BC, targets = (part.to(device) for part in state["waiting"])
            self._waiting, self._count = [(rows, outputs_BC, targets)], len(rows)
