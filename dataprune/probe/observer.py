"""Observers: what a unit records of every row, in passes of its own or along with training.

`EvalObserver` makes a clean pass with the model in eval mode; `StepObserver` (step_observer.py)
takes the outputs of the training steps as they come. Only scalars are kept, never outputs per
class.

Shape suffixes: N rows, B batch, C outputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dataprune.core.fingerprint import derive_seed
from dataprune.probe.data import Batch, Batches
from dataprune.probe.input_gradients import label_gradients, loss_curvature, skip_directions
from dataprune.probe.last_layer import LastLayer
from dataprune.probe.memorization import Basis
from dataprune.probe.removal import OF_REMOVAL, Removal, remove_from_last_layer
from dataprune.probe.removal_inside import remove_inside
from dataprune.probe.signal_store import Recorded, SignalStore, as_arrays, as_tensors
from dataprune.probe.tasks import Observation, Task
from dataprune.probe.team import Team
from dataprune.probe.train import SCORE_BATCH

# Outputs that are gathered before they are worked on: a small tensor costs as much as a large one.
GATHERED_NUMBERS = 2**15
OF_MODELS = frozenset({"grad_norm", "grad_norm_last"})
OF_NUMBERS = frozenset({"input_norm", "input_curvature"})  # of inputs that are no token ids
OF_LABEL_LOGITS = frozenset({"label_gradient_BD"})

InSample = npt.NDArray[np.bool_] | dict[int, npt.NDArray[np.bool_]]


class Observer(Protocol):
    """What a unit calls while it trains."""

    @property
    def step(self) -> Callable[[Batch, torch.Tensor], None] | None:
        """What to call with each training step's batch and outputs (B, C), if anything."""

    def at_start(self, model: nn.Module, batches: Batches) -> None:
        """Before the first step."""

    def after_epoch(self, epoch: int, model: nn.Module, batches: Batches) -> None:
        """After each epoch."""

    def finish(self) -> tuple[InSample, Recorded]:
        """The rows trained on, and observed, bool (N,), and the signals at each checkpoint."""

    def state(self) -> dict[str, Any]:
        """What later observations and the trace depend on, as a snapshot holds it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""


class EvalObserver:
    """Observes every row with the model in eval mode, on clean inputs.

    in_sample: bool (N,), the rows trained on. salt: what random draws come from.
    basis, layer: of what is removed for the signals of memorization; layer None: of the input of
        the last linear one. removals: what was, by epoch.
    within: the rows that the store holds and this process observes, where a team shares them out;
        default: all. What is removed is found by every process for itself, over all rows.
    """

    step = None

    def __init__(
        self,
        store: SignalStore,
        task: Task,
        in_sample: torch.Tensor,
        checkpoints: Iterable[int],
        *salt: int | str,
        basis: Basis = "directions",
        layer: str | None = None,
        within: range | None = None,
        team: Team | None = None,
    ) -> None:
        self.within = range(len(in_sample)) if within is None else within
        self.team = team or Team()
        self.basis: Basis = basis
        self.layer = layer
        self.removals: dict[int, dict[str, Any]] = {}
        self.store, self.task, self.in_sample = store, task, in_sample
        self.checkpoints, self.salt = frozenset(checkpoints), salt
        self.recorded: Recorded = {}

    def at_start(self, model: nn.Module, batches: Batches) -> None:
        """Before the first step: what is read off the untrained model."""
        self._observe(model, batches, 0, {"init"})

    def after_epoch(self, epoch: int, model: nn.Module, batches: Batches) -> None:
        """Observe what is due after this epoch."""
        is_checkpoint = epoch in self.checkpoints
        self._observe(
            model, batches, epoch, {"epoch", "checkpoint"} if is_checkpoint else {"epoch"}
        )
        if is_checkpoint:
            self.recorded[epoch] = self.store.snapshot()

    def _observe(self, model: nn.Module, batches: Batches, epoch: int, due: set[str]) -> None:
        signals = [s for s in self.store.signals if s.when in due]
        if not signals:
            return
        reads = {quantity for signal in signals for quantity in signal.reads}
        salt = (*self.salt, "directions", epoch)
        removed = {}
        if reads & OF_REMOVAL:
            removal = self._remove(model, batches)
            removed, self.removals[epoch] = removal.values, removal.told
        first, reads = self.within.start, reads - OF_REMOVAL
        for rows, seen in observations(model, self.task, batches, reads, *salt, within=self.within):
            with torch.no_grad():
                more = {quantity: values[rows] for quantity, values in removed.items()}
                held = slice(rows.start - first, rows.stop - first)
                self.store.put(held, dataclasses.replace(seen, **more), signals)
        ours = self._ours()
        self.store.finish(torch.ones_like(ours), ours, signals, self.team.mean)

    def _remove(self, model: nn.Module, batches: Batches) -> Removal:
        rows, salt = self.in_sample, self.salt
        if self.layer is None:
            return remove_from_last_layer(model, batches, rows, self.basis, *salt)
        return remove_inside(model, batches, rows, self.basis, self.layer, *salt)

    def _ours(self) -> torch.Tensor:
        """in_sample of the rows that this process observes."""
        return self.in_sample[self.within.start : self.within.stop]

    def finish(self) -> tuple[InSample, Recorded]:
        """Of the rows observed: those trained on, and the signals at each checkpoint."""
        return self._ours().cpu().numpy(), self.recorded

    def state(self) -> dict[str, Any]:
        """Signals, what was recorded of them, and what was removed."""
        recorded = as_tensors(self.recorded)
        return {"store": self.store.state(), "recorded": recorded, "removals": self.removals}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.store.restore(state["store"])
        self.recorded, self.removals = as_arrays(state["recorded"]), state["removals"]


def observations(
    model: nn.Module,
    task: Task,
    batches: Batches,
    reads: Iterable[str],
    *salt: int | str,
    within: range | None = None,
) -> Iterator[tuple[slice, Observation]]:
    """One clean pass over every row in order: rows and what `reads` needs of them.

    salt: what the random directions of the curvature are drawn from. within: the rows to look at;
    they see the same whatever it is.
    """
    model.eval()
    reads = set(reads)
    within = range(batches.num_rows) if within is None else within
    if reads <= task.has:
        yield from _seen_in_outputs(model, task, batches, within)
        return
    generator = torch.Generator().manual_seed(derive_seed(*salt))
    with _looking(model, reads) as look_at:
        for batch in batches.in_order(SCORE_BATCH[batches.device.type], within):
            start = int(batch.rows[0])
            if start == within.start and "input_curvature" in reads:
                skip_directions(batch.inputs, start, generator)
            seen = look_at(task, batch.inputs, batch.targets, generator)
            yield slice(start, start + len(batch.rows)), seen


def _seen_in_outputs(
    model: nn.Module, task: Task, batches: Batches, within: range
) -> Iterator[tuple[slice, Observation]]:
    """A pass that reads outputs only: forwards in small batches, observed many rows at once."""
    outputs, targets, start, count = [], [], within.start, within.start
    for batch in batches.in_order(SCORE_BATCH[batches.device.type], within):
        with torch.no_grad():
            outputs.append(model(batch.inputs))
        targets.append(batch.targets)
        count += len(batch.rows)
        if (count - start) * outputs[0].shape[1] >= GATHERED_NUMBERS:
            yield slice(start, count), _observed(task, outputs, targets)
            outputs, targets, start = [], [], count
    if outputs:
        yield slice(start, count), _observed(task, outputs, targets)


@torch.no_grad()
def _observed(task: Task, outputs: list[torch.Tensor], targets: list[torch.Tensor]) -> Observation:
    return task.observe(torch.cat(outputs), torch.cat(targets))


def look(
    model: nn.Module,
    task: Task,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    reads: Iterable[str],
) -> Observation:
    """What `reads` needs of one batch."""
    with _looking(model, set(reads)) as look_at:
        return look_at(task, inputs, targets, torch.Generator().manual_seed(0))


@contextlib.contextmanager
def _looking(
    model: nn.Module, reads: set[str]
) -> Iterator[Callable[[Task, torch.Tensor, torch.Tensor, torch.Generator], Observation]]:
    with contextlib.ExitStack() as stack:
        norms = None
        if "grad_norm" in reads:
            from dataprune.probe.gradients import GradientNorms

            norms = stack.enter_context(GradientNorms(model))
        last = stack.enter_context(LastLayer(model)) if "grad_norm_last" in reads else None

        def look_at(
            task: Task, inputs: torch.Tensor, targets: torch.Tensor, generator: torch.Generator
        ) -> Observation:
            def loss(outputs_BC: torch.Tensor) -> torch.Tensor:
                return task.observe(outputs_BC, targets).loss

            more: dict[str, torch.Tensor] = {}
            if norms is not None:
                outputs_BC, more["grad_norm"] = norms(inputs, loss)
            else:
                with torch.no_grad():
                    outputs_BC = model(inputs)
            if last is not None:
                more["grad_norm_last"] = last.gradient_norms(outputs_BC, loss)
            if "input_norm" in reads:
                more["input_norm"] = inputs.float().flatten(1).norm(dim=1)
            if "label_gradient_BD" in reads:
                more["label_gradient_BD"] = label_gradients(model, inputs, targets)
            if "input_curvature" in reads:
                more["input_curvature"] = loss_curvature(model, inputs, loss, generator)
            with torch.no_grad():
                return dataclasses.replace(task.observe(outputs_BC, targets), **more)

        yield look_at
