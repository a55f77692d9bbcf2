"""Batches on the device: the data is one tensor, and every batch is one gather from it.

Shape suffixes: N rows of the source, B batch, H height, W width, C channels, D features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from dataprune.core.protocols import Shared
from dataprune.core.recipe import Augment, ProbeRecipe


@dataclass(frozen=True)
class Batch:
    """Rows of the source, their inputs ready for a model, and their labels."""

    rows: torch.Tensor
    inputs: torch.Tensor
    labels: torch.Tensor


class Batches(Protocol):
    """Where a training loop gets its batches from; resident today, streaming later."""

    steps_per_epoch: int

    def epoch(self) -> Iterator[Batch]:
        """One pass in a fresh random order, augmented; the last partial batch is left out."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, in order, not augmented."""


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor over the array's own memory, read-only arrays too: nothing here writes to inputs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@dataclass(frozen=True)
class Normalise:
    """Standardisation per channel or feature: mean and std are float64, the result float32."""

    mean: torch.Tensor
    std: torch.Tensor

    def __call__(self, gathered: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) or (B, D) as stored -> float32 (B, C, H, W), channels last, or (B, D)."""
        if gathered.dtype == torch.uint8:
            x = gathered.float().sub_(self.mean.float()).div_(self.std.float())
        else:  # in float64: features far from zero have few digits left in float32
            x = gathered.double().sub(self.mean).div(self.std).float()
        return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


class ResidentBatches:
    """The whole source on the device as one tensor.

    inputs: uint8 (N, H, W, C) or numeric (N, D), on the device.
    rows: the rows to train on, int64, on the device.
    generator: draws order and augmentation; one epoch's draws are made at once, on the CPU, so
        that they are the same on every device.
    """

    def __init__(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        rows: torch.Tensor,
        normalise: Normalise,
        *,
        batch_size: int,
        augment: Augment,
        generator: torch.Generator,
    ) -> None:
        self.inputs, self.labels, self.rows, self.normalise = inputs, labels, rows, normalise
        self.batch_size = min(batch_size, len(rows))
        self.augment, self.generator = augment, generator
        self.steps_per_epoch = len(rows) // self.batch_size

    def epoch(self) -> Iterator[Batch]:
        """One pass in a fresh random order, augmented; the last partial batch is left out."""
        device = self.inputs.device
        used = self.steps_per_epoch * self.batch_size
        order = torch.randperm(len(self.rows), generator=self.generator)[:used].to(device)
        shifts, flips = self._draw(used)
        for start in range(0, used, self.batch_size):
            here = slice(start, start + self.batch_size)
            rows = self.rows[order[here]]
            gathered = self._gather(
                rows,
                None if shifts is None else shifts[here],
                None if flips is None else flips[here],
            )
            yield Batch(rows, self.normalise(gathered), self.labels[rows])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every row of the source once, in order, not augmented."""
        for start in range(0, len(self.inputs), batch_size):
            stop = min(start + batch_size, len(self.inputs))
            rows = torch.arange(start, stop, device=self.inputs.device)
            yield Batch(rows, self.normalise(self.inputs[start:stop]), self.labels[start:stop])

    def _draw(self, count: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        device = self.inputs.device
        shifts = flips = None
        if self.augment.crop:
            high = 2 * self.augment.crop + 1
            draw = torch.randint(high, (count, 2), generator=self.generator)
            shifts = (draw - self.augment.crop).to(device)
        if self.augment.flip:
            flips = (torch.rand(count, generator=self.generator) < 0.5).to(device)
        return shifts, flips

    def _gather(
        self, rows: torch.Tensor, shifts: torch.Tensor | None, flips: torch.Tensor | None
    ) -> torch.Tensor:
        """Select, crop with reflection, and flip, all in one indexing of the stored pixels."""
        if shifts is None and flips is None:
            return self.inputs[rows]
        height, width = self.inputs.shape[1:3]
        ys = torch.arange(height, device=rows.device).expand(len(rows), height)
        xs = torch.arange(width, device=rows.device).expand(len(rows), width)
        if flips is not None:
            xs = torch.where(flips[:, None], width - 1 - xs, xs)
        if shifts is not None:
            ys = _reflect(ys + shifts[:, :1], height)
            xs = _reflect(xs + shifts[:, 1:], width)
        return self.inputs[rows[:, None, None], ys[:, :, None], xs[:, None, :]]


def resident(
    shared: Shared,
    split: str,
    rows: torch.Tensor | None,
    probe: ProbeRecipe,
    generator: torch.Generator,
    device: torch.device,
) -> ResidentBatches:
    """Batches over a split of a unit's shared arrays.

    split: "" for the source, "test_" for its test split.
    rows: the rows to train on; None for all of them.
    """
    labels = tensor_of(shared[f"{split}labels"]).to(device)
    mean, std = (tensor_of(shared[name]).to(device) for name in ("mean", "std"))
    return ResidentBatches(
        tensor_of(shared[f"{split}inputs"]).to(device),
        labels,
        torch.arange(len(labels), device=device) if rows is None else rows.to(device),
        Normalise(mean, std),
        batch_size=probe.batch_size,
        augment=probe.augment,
        generator=generator,
    )


def _reflect(index: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror indices that fall outside 0..size-1, without repeating the border pixel."""
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def statistics(
    inputs: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation per channel (images) or feature, float64.

    In two passes: a sum of squares would lose the spread of features that lie far from zero.
    A constant channel gets deviation 1, so that it normalises to 0.
    """
    axes = tuple(range(inputs.ndim - 1))
    count = inputs.size // inputs.shape[-1]
    parts = [slice(start, start + 4096) for start in range(0, len(inputs), 4096)]
    first = inputs.reshape(count, -1)[0].astype(np.float64)  # makes a constant channel's mean exact
    mean = first + sum((inputs[p] - first).sum(axis=axes) for p in parts) / count
    squares = sum(np.square(inputs[p] - mean).sum(axis=axes) for p in parts)
    std = np.sqrt(squares / count)
    std[std == 0] = 1
    return mean, std
