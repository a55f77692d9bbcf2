"""The order and the augmentation of one epoch, drawn at once from one generator on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dataprune.core.recipe import ProbeRecipe
from dataprune.core.recipe_training import BlockShuffle


@dataclass(frozen=True)
class Draws:
    """One epoch.

    rows: rows of the source in the order of training, int64.
    windows: stretches of `rows` that are shuffled together, in order; one for a full shuffle.
    shifts: pixels (down, right) to shift each by, int64 (len(rows), 2). flips: bool (len(rows),).
    """

    rows: torch.Tensor
    windows: list[range]
    shifts: torch.Tensor | None
    flips: torch.Tensor | None

    def to(self, device: torch.device) -> Draws:
        """The same on another device."""
        shifts, flips = (None if t is None else t.to(device) for t in (self.shifts, self.flips))
        return Draws(self.rows.to(device), self.windows, shifts, flips)


def draw_epoch(
    probe: ProbeRecipe, rows: torch.Tensor, used: int, generator: torch.Generator
) -> Draws:
    """Draw an epoch over `rows` (int64, ascending), of which the first `used` drawn are trained on.

    A full shuffle is one permutation. A block shuffle draws an order of blocks, takes them
    `window` at a time and permutes the rows of each window.
    """
    if isinstance(probe.shuffle, BlockShuffle):
        order, windows = _block_order(probe.shuffle, rows, generator)
    else:
        order, windows = torch.randperm(len(rows), generator=generator), [range(len(rows))]
    windows = [range(w.start, min(w.stop, used)) for w in windows if w.start < used]
    shifts = flips = None
    if probe.augment.crop:
        high = 2 * probe.augment.crop + 1
        shifts = torch.randint(high, (used, 2), generator=generator) - probe.augment.crop
    if probe.augment.flip:
        flips = torch.rand(used, generator=generator) < 0.5
    return Draws(rows[order[:used]], windows, shifts, flips)


def _block_order(
    shuffle: BlockShuffle, rows: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, list[range]]:
    """Positions in `rows` in training order, and the windows."""
    blocks, sizes = torch.unique_consecutive(rows // shuffle.rows, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    parts, windows, stop = [], [], 0
    for window in torch.split(torch.randperm(len(blocks), generator=generator), shuffle.window):
        places = torch.cat([torch.arange(starts[b], starts[b] + sizes[b]) for b in window])
        parts.append(places[torch.randperm(len(places), generator=generator)])
        windows.append(range(stop, stop + len(places)))
        stop += len(places)
    return torch.cat(parts), windows
