"""Rows as batches in order give them, for what looks at every row of a model."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dataprune.probe.data import Batch


class Rows:
    """Rows in batches of 64, the last of them smaller. batch: all of them in one."""

    device = torch.device("cpu")
    steps_per_epoch = 1

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.batch = Batch(torch.arange(len(inputs)), inputs, targets)

    def in_order(self, _batch_size: int) -> Iterator[Batch]:
        """Every row, in order."""
        every = self.batch
        for rows in every.rows.split(64):
            yield Batch(rows, every.inputs[rows], every.targets[rows])
