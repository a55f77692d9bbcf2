"""A pass over rows in order, timed over the first of them: what the rest takes follows by rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from dataprune.probe.data import Batch, Batches
from dataprune.probe.stopwatch import Kind, Part, Stopwatch

Call = Callable[[Batches], object]


@dataclass(frozen=True)
class RowsPass:
    """What a unit does several times over rows in order.

    kind, what: for people.
    call: makes the pass over the batches it is given.
    count: how many times a unit does.
    num_rows: how many rows the batches have.
    needed: bool (N,); the pass needs to see one of these rows, at least.
    """

    kind: Kind
    what: str
    call: Call
    batches: Batches
    count: int
    num_rows: int
    needed: torch.Tensor | None = None

    def run(self, stopwatch: Callable[[], Stopwatch], limit_s: float) -> tuple[list[Part], int]:
        """Time the pass over the first rows, or several whole ones, until `limit_s` is over.

        The first batch of a pass is counted apart: some passes settle there how they go on.
        Returns the parts and how many rows the last pass saw.
        """
        self.call(_Watched(self, stopwatch(), stopwatch(), 0.0))  # warms up
        first, others = stopwatch(), stopwatch()
        passes = others_seen = 0
        while True:
            watched = _Watched(self, first, others, limit_s)
            first.start()
            self.call(watched)
            others.stop()
            passes += 1
            others_seen += watched.rows - watched.first_rows
            if passes == self.count or first.seconds + others.seconds >= limit_s:
                break
        done, whole = passes, self.count  # of a pass of one batch, `others` is how it ends
        if others_seen:
            done, whole = others_seen, self.count * (self.num_rows - watched.first_rows)
        parts = [
            first.part(self.kind, f"{self.what}, first batch", passes, self.count),
            others.part(self.kind, self.what, done, whole),
        ]
        return parts, watched.rows


class _Watched:
    """Batches in order that end early, and say how long the first one and the others took.

    first: runs already; stopped when the first batch was worked on, which starts `others`.
    """

    def __init__(self, of: RowsPass, first: Stopwatch, others: Stopwatch, limit_s: float) -> None:
        self.batches, self.needed = of.batches, of.needed
        self.first, self.others, self.limit_s = first, others, limit_s
        self.steps_per_epoch, self.device = of.batches.steps_per_epoch, of.batches.device
        self.generator, self.num_rows = of.batches.generator, of.batches.num_rows
        self.batch_size = of.batches.batch_size
        self.rows = self.first_rows = 0

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """As the batches."""
        return self.batches.epoch(start)

    def of(self, rows: torch.Tensor) -> Batches:
        """As the batches."""
        return self.batches.of(rows)

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Rows in order until the time is over; two batches at least, where there are two."""
        has_needed = self.needed is None
        for number, batch in enumerate(self.batches.in_order(batch_size, within), start=1):
            self.rows += len(batch.rows)
            yield batch
            if number == 1:
                self.first_rows = self.rows
                self.first.stop()
                self.others.start()
            has_needed = has_needed or bool(self.needed[batch.rows].any())  # type: ignore[index]
            if number > 1 and has_needed and self.others.since_start() >= self.limit_s:
                return
