"""Batches on the device: resident (the data is one tensor) or streamed (read in blocks from disk).

Both draw the same epochs from the same generator, so that where the data lies changes no result.

Shape suffixes: N rows of the source, B batch, H height, W width, C channels, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dataprune.core.disk_array import Array, DiskArray, pieces
from dataprune.core.protocols import Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.order import Draws, draw_epoch
from dataprune.probe.team import Team


@dataclass(frozen=True)
class Batch:
    """Rows of the source, their inputs ready for a model, and their targets.

    of: rows of the whole batch, where a team trains on it together; None: these are all.
    """

    rows: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    of: int | None = None

    @property
    def share(self) -> float:
        """Of the whole batch."""
        return 1.0 if self.of is None else len(self.rows) / self.of


class Batches(Protocol):
    """Where a training loop gets its batches from."""

    num_rows: int
    batch_size: int  # of whole batches
    steps_per_epoch: int
    device: torch.device
    generator: torch.Generator  # draws order and augmentation, at the start of each epoch

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """One pass in a fresh random order, augmented; the last partial batch is left out.

        Of each batch a team's process gets its slice.

        start: batches at its beginning to leave out, though they are drawn all the same.
        """

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Every row once, in order, not augmented; or those within a range only."""

    def of(self, rows: torch.Tensor) -> Batches:
        """The same, drawing epochs over other rows, int64, ascending, on the CPU."""


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor over the array's own memory, read-only arrays too: nothing here writes to inputs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Prepare:
    """What a model is given for stored rows.

    mean, std: standardisation per channel or feature in float64; None for token ids, which are
        handed over as they are.
    """

    mean: torch.Tensor | None
    std: torch.Tensor | None

    def __call__(self, gathered: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) or (B, D) as stored -> float32 (B, C, H, W), channels last, or (B, D)."""
        if self.mean is None or self.std is None:
            return gathered
        if gathered.dtype == torch.uint8:
            x = gathered.float().sub_(self.mean.float()).div_(self.std.float())
        else:  # in float64: features far from zero have few digits left in float32
            x = gathered.double().sub(self.mean).div(self.std).float()
        return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


@dataclass(frozen=True)
class Epochs:
    """What every kind of batches shares: whatever does not depend on where the inputs lie.

    targets: (N, ...), on the device.
    rows: the rows to train on, int64, ascending, on the CPU.
    generator: draws order and augmentation; one epoch's draws are made at once, on the CPU, so
        that they are the same on every device.
    """

    targets: torch.Tensor
    rows: torch.Tensor
    prepare: Prepare
    probe: ProbeRecipe
    generator: torch.Generator
    team: Team = field(default_factory=Team)

    @property
    def batch_size(self) -> int:
        """Rows of a batch: all of them, where there are fewer than the recipe says."""
        return min(self.probe.batch_size, len(self.rows))

    @property
    def steps(self) -> int:
        """Batches of an epoch; the last partial one is left out."""
        return len(self.rows) // self.batch_size

    def draw(self) -> Draws:
        """One epoch's order and augmentation."""
        return draw_epoch(self.probe, self.rows, self.steps * self.batch_size, self.generator)

    def slice_of(self, first: int) -> slice:
        """The places in the epoch that this process takes of the batch at `first`."""
        ours = self.team.slice_of(self.batch_size)
        return slice(first + ours.start, first + ours.stop)


class ResidentBatches:
    """The whole source on the device as one tensor.

    inputs: uint8 (N, H, W, C), numbers (N, D) or token ids (N, L), on the device.
    """

    def __init__(self, inputs: torch.Tensor, epochs: Epochs) -> None:
        self.inputs, self.epochs, self.device = inputs, epochs, inputs.device
        self.targets, self.prepare = epochs.targets, epochs.prepare
        self.num_rows, self.batch_size = len(inputs), epochs.batch_size
        self.steps_per_epoch, self.generator = epochs.steps, epochs.generator

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """One pass in a fresh random order, augmented, from batch `start` on."""
        draws, size = self.epochs.draw().to(self.inputs.device), self.epochs.batch_size
        for first in range(start * size, self.epochs.steps * size, size):
            here = self.epochs.slice_of(first)
            rows = draws.rows[here]
            gathered = gather(self.inputs, rows, draws, here)
            yield Batch(rows, self.prepare(gathered), self.targets[rows], size)

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Rows of the source once, in order, not augmented."""
        within = range(self.num_rows) if within is None else within
        for start in range(within.start, within.stop, batch_size):
            stop = min(start + batch_size, within.stop)
            rows = torch.arange(start, stop, device=self.inputs.device)
            yield Batch(rows, self.prepare(self.inputs[start:stop]), self.targets[start:stop])

    def of(self, rows: torch.Tensor) -> ResidentBatches:
        """The same inputs, trained on other rows."""
        return ResidentBatches(self.inputs, replace(self.epochs, rows=rows))


class StreamedBatches:
    """Inputs on disk: at most a window of blocks is held, and a batch that spans two windows.

    Targets are held in memory. As `ResidentBatches` otherwise, batch for batch.
    """

    def __init__(self, inputs: DiskArray, epochs: Epochs) -> None:
        self.inputs, self.epochs = inputs, epochs
        self.targets, self.prepare, self.device = (
            epochs.targets,
            epochs.prepare,
            epochs.targets.device,
        )
        self.num_rows, self.batch_size = len(inputs), epochs.batch_size
        self.steps_per_epoch, self.generator = epochs.steps, epochs.generator

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """One pass: blocks in a random order, rows shuffled inside each window, augmented.

        Windows before batch `start` are not read.
        """
        draws, size = self.epochs.draw(), self.epochs.batch_size
        on_device = draws.to(self.device)
        held = torch.empty(0)
        first = start * size  # place in the epoch of the first row that is held
        for window in draws.windows:
            if window.stop <= first:
                continue
            fresh = self._read(draws.rows[max(window.start, first) : window.stop])
            held = fresh if len(held) == 0 else torch.cat([held, fresh])
            full = (window.stop - first) // size * size
            for place in range(first, first + full, size):
                here = self.epochs.slice_of(place)
                at = torch.arange(here.start - first, here.stop - first)
                gathered = gather(held, at, draws, here).to(self.device)
                rows = on_device.rows[here]
                yield Batch(rows, self.prepare(gathered), self.targets[rows], size)
            held, first = held[full:].clone(), first + full

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Rows of the source once, in order, not augmented."""
        for start, values in pieces(self.inputs, batch_size, within):
            rows = torch.arange(start, start + len(values), device=self.device)
            inputs = self.prepare(torch.from_numpy(values).to(self.device))
            yield Batch(rows, inputs, self.targets[start : start + len(values)])

    def of(self, rows: torch.Tensor) -> StreamedBatches:
        """The same inputs, trained on other rows."""
        return StreamedBatches(self.inputs, replace(self.epochs, rows=rows))

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        """The inputs of some rows, in their order; each block they lie in is read once."""
        shuffle = self.epochs.probe.shuffle
        assert shuffle.name == "blocks"
        size = shuffle.rows
        wanted = rows.numpy()
        blocks = wanted // size
        values = np.empty((len(wanted), *self.inputs.shape[1:]), self.inputs.dtype)
        for block in np.unique(blocks).tolist():
            data = self.inputs.read(block * size, (block + 1) * size)
            here = np.flatnonzero(blocks == block)
            values[here] = data[wanted[here] - block * size]
        return torch.from_numpy(values)


def gather(inputs: torch.Tensor, at: torch.Tensor, draws: Draws, here: slice) -> torch.Tensor:
    """Select, crop with reflection, and flip, all in one indexing of the stored pixels.

    at: positions in `inputs`. here: their places in the epoch, for the epoch's draws.
    """
    if draws.shifts is None and draws.flips is None:
        return inputs[at]
    height, width = inputs.shape[1:3]
    ys = torch.arange(height, device=at.device).expand(len(at), height)
    xs = torch.arange(width, device=at.device).expand(len(at), width)
    if draws.flips is not None:
        xs = torch.where(draws.flips[here, None], width - 1 - xs, xs)
    if draws.shifts is not None:
        ys = _reflect(ys + draws.shifts[here, :1], height)
        xs = _reflect(xs + draws.shifts[here, 1:], width)
    return inputs[at[:, None, None], ys[:, :, None], xs[:, None, :]]


def make_batches(
    shared: Shared,
    split: str,
    rows: torch.Tensor | None,
    probe: ProbeRecipe,
    generator: torch.Generator,
    device: torch.device,
    team: Team | None = None,
) -> Batches:
    """Batches over shared arrays: streamed where the inputs are on disk, resident otherwise.

    split: "" for the source, "test_" for its test split.
    rows: the rows to train on; None for all of them. team: whose processes share each batch out.
    """
    inputs: Array = shared[f"{split}inputs"]
    targets = tensor_of(np.asarray(shared[f"{split}targets"])).to(device)
    rows = torch.arange(len(targets)) if rows is None else rows
    mean, std = (
        tensor_of(np.asarray(shared[name])).to(device) if name in shared else None
        for name in ("mean", "std")
    )
    epochs = Epochs(targets, rows, Prepare(mean, std), probe, generator, team or Team())
    if isinstance(inputs, DiskArray):
        return StreamedBatches(inputs, epochs)
    return ResidentBatches(tensor_of(inputs).to(device), epochs)


def _reflect(index: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror indices that fall outside 0..size-1, without repeating the border pixel."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def statistics(
    inputs: Array, rows: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation per channel (images) or feature, float64.

    In two passes: a sum of squares would lose the spread of features that lie far from zero.
    A constant channel gets deviation 1, so that it normalises to 0.
    rows: mask (N,) of the rows to count; None for all.
    """
    axes = tuple(range(inputs.ndim - 1))
    chosen = np.ones(len(inputs), dtype=np.bool_) if rows is None else rows

    def parts() -> Iterator[npt.NDArray[Any]]:
        for start, piece in pieces(inputs):
            here = chosen[start : start + len(piece)]
            if here.any():
                yield piece if here.all() else piece[here]

    first = next(parts()).reshape(-1, inputs.shape[-1])[0].astype(np.float64)
    total = squares = np.zeros(inputs.shape[-1])
    count = 0
    for piece in parts():  # from the first value on: makes a constant channel's mean exact
        total = total + (piece - first).sum(axis=axes)
        count += piece.size // piece.shape[-1]
    mean = first + total / count
    for piece in parts():
        squares = squares + np.square(piece - mean).sum(axis=axes)
    std = np.sqrt(squares / count)
    std[std == 0] = 1
    return mean, std
