"""What a unit takes down while it trains: signals, held-out outputs, losses and quality.

`probe_unit` makes it, `fit` calls it, a snapshot holds its state, and the unit is recorded from
it in the end.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dataprune.core.protocols import Report
from dataprune.probe.data import Batches
from dataprune.probe.observer import Observer
from dataprune.probe.tasks import Task
from dataprune.probe.team import Team
from dataprune.probe.train import outputs_of, quality


class Watch:
    """Calls the observer, measures held-out quality and reports after each epoch.

    batches: of the source. test: of its test split; None: quality is of the rows held out.
    held_out: bool (N,), the rows of the source that are not trained on; their outputs after the
        epochs from `heldout_from` on are added up. epochs: how many there will be. team: whose
        processes share scoring passes out.
    """

    def __init__(
        self,
        observer: Observer,
        task: Task,
        batches: Batches,
        test: Batches | None,
        held_out: torch.Tensor,
        *,
        heldout_from: int,
        epochs: int,
        report: Report,
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        self.observer, self.task, self.batches, self.test = observer, task, batches, test
        self.held_out, self.heldout_from = held_out, heldout_from
        self.epochs, self.report = epochs, report
        self.history: list[dict[str, float]] = []
        self.num_outputs_taken = 0
        self._outputs = torch.zeros(0)
        self._started = time.monotonic()

    def at_start(self, model: nn.Module) -> None:
        """Before the first step."""
        self.observer.at_start(model, self.batches)

    def after_epoch(self, model: nn.Module, epoch: int, train_loss: float) -> None:
        """Take down what the epoch brought, and tell it."""
        self.observer.after_epoch(epoch, model, self.batches)
        if epoch >= self.heldout_from:
            outputs = outputs_of(model, self.batches, self.held_out, self.team)
            self._outputs = outputs if self.num_outputs_taken == 0 else self._outputs + outputs
            self.num_outputs_taken += 1
        rows = None if self.test else self.held_out
        measured = quality(model, self.task, self.test or self.batches, rows, self.team)
        self.history.append({"epoch": epoch, "train_loss": train_loss, "heldout": measured})
        left_s = self._seconds / epoch * (self.epochs - epoch)
        if self.team.leads:
            self.report({**self.history[-1], "epochs": self.epochs, "left_s": round(left_s, 1)})

    def heldout_outputs(self) -> npt.NDArray[np.float64]:
        """Mean outputs of the rows held out, (k, C); every process of a team must ask."""
        outputs = self.team.joined([self._outputs] if len(self._outputs) else [])
        assert outputs is not None
        return (outputs / self.num_outputs_taken).numpy()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """As a snapshot holds it."""
        return {
            "observer": self.observer.state(),
            "outputs": self._outputs,
            "num_outputs_taken": self.num_outputs_taken,
            "history": self.history,
            "seconds": self._seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.observer.restore(state["observer"])
        self._outputs, self.num_outputs_taken = state["outputs"], state["num_outputs_taken"]
        self.history = state["history"]
        self._started = time.monotonic() - state["seconds"]
