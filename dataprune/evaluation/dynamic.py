"""Selection during training, the baselines of static pruning: RS2 and InfoBatch.

Both see all training rows in time and choose anew what the next epoch is made of, so they give no
dataset version; what they show is whether a fixed choice is worth its scores. Each is a source of
batches for `fit`, and keeps its state by itself: nothing global, rows as int64, means in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch

from dataprune.core.fingerprint import derive_seed
from dataprune.probe.data import Batch, Batches
from dataprune.probe.tasks import Task

RS2: dict[str, Any] = {"name": "rs2"}
# The ratio and the share of annealing of the authors' own runs.
INFOBATCH: dict[str, Any] = {"name": "infobatch", "ratio": 0.5, "annealing": 0.125}


class Dynamic(Batches, Protocol):
    """Batches whose rows are chosen anew for each epoch."""

    def loss_of(self, batch: Batch, outputs: torch.Tensor) -> torch.Tensor:
        """A step's loss; called once a step, in order."""

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps of it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""


def make_dynamic(
    about: dict[str, Any],
    batches: Batches,
    rows: torch.Tensor,
    task: Task,
    num_steps: int,
    *salt: int | str,
) -> Dynamic:
    """The baseline that a unit's spec names.

    about: name and parameters; of rs2 also its `budget` of rows. rows: int64, all it may train on.
    """
    if about["name"] == "rs2":
        return RepeatedSubsets(batches, rows, task, about["budget"], *salt)
    ratio, annealing = about["ratio"], about["annealing"]
    return InfoBatch(batches, rows, task, num_steps, ratio, annealing, *salt)


def subsets(num_rows: int, budget: int, *salt: int | str) -> Iterator[torch.Tensor]:
    """Random subsets of positions, int64 (budget,), ascending: no row again before every row was.

    Where a pass over the rows leaves fewer than the budget, the next subset takes these and as many
    others from the next pass. A subset holds no row twice, and counts never differ by more than 1.
    """
    left = torch.empty(0, dtype=torch.int64)
    passes = 0
    while True:
        if len(left) < budget:
            generator = torch.Generator().manual_seed(derive_seed(*salt, "rs2", passes))
            passes += 1
            fresh = torch.randperm(num_rows, generator=generator)
            again = torch.isin(fresh, left)  # these wait, as they are in the next subset already
            left = torch.cat([left, fresh[~again], fresh[again]])
        yield left[:budget].sort().values
        left = left[budget:]


class RepeatedSubsets:
    """RS2 without replacement: every epoch is a fresh random subset of a fixed size.

    Okanovic et al. 2024, "Repeated Random Sampling for Minimizing the Time-to-Accuracy of
    Learning", Section 3.

    budget: rows of a subset.
    """

    def __init__(
        self, batches: Batches, rows: torch.Tensor, task: Task, budget: int, *salt: int | str
    ) -> None:
        self._batches, self._rows, self._task = batches, rows, task
        self._budget, self._salt = budget, salt
        self._subsets, self._subset, self._round = self._draw(), rows, -1
        self.round = 0
        self.device, self.generator = batches.device, batches.generator
        round_ = batches.of(rows[:budget])
        self.num_rows, self.batch_size = round_.num_rows, round_.batch_size
        self.steps_per_epoch = round_.steps_per_epoch

    def _draw(self) -> Iterator[torch.Tensor]:
        return subsets(len(self._rows), self._budget, *self._salt)

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """One round: the next subset, shuffled and augmented."""
        while self._round < self.round:
            self._subset, self._round = self._rows[next(self._subsets)], self._round + 1
        yield from self._batches.of(self._subset).epoch(start)
        self.round += 1

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Every row of the source, or a range of them."""
        return self._batches.in_order(batch_size, within)

    def of(self, rows: torch.Tensor) -> Batches:
        """Plain batches over some rows."""
        return self._batches.of(rows)

    def loss_of(self, batch: Batch, outputs: torch.Tensor) -> torch.Tensor:
        """The task's own."""
        return self._task.train_loss(outputs, batch.targets)

    def state(self) -> dict[str, Any]:
        """Rounds that are over; what they drew follows from the seed."""
        return {"round": self.round}

    def restore(self, state: dict[str, Any]) -> None:
        """Draw as many rounds again."""
        self.round = state["round"]
        self._subsets, self._round = self._draw(), -1


class InfoBatch:
    """Skips a share of the rows with a loss below the mean, and weights the others of them up.

    Qin et al. 2024, "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning",
    Section 3: each epoch leaves out a random share `ratio` of the rows whose last training loss is
    below the mean; those of them that stay count 1 / (1 - ratio) times, so that the expected
    gradient is that of all rows. For the last `annealing` of the steps it is off.

    In public code a row that was not seen yet has a made-up loss, and a mean in float32 can lie
    above losses that are all equal: both can weight the whole first epoch. Here a loss that is not
    known is NaN and below nothing, and means are float64. There, too, annealing begins only if its
    epoch is a whole number; here the epoch under way ends at its first step.
    """

    def __init__(
        self,
        batches: Batches,
        rows: torch.Tensor,
        task: Task,
        num_steps: int,
        ratio: float,
        annealing: float,
        *salt: int | str,
    ) -> None:
        self._batches, self._rows, self._task, self._salt = batches, rows, task, salt
        self.ratio, self.anneal_from = ratio, num_steps - round(annealing * num_steps)
        self.device, self.generator = batches.device, batches.generator
        self.num_rows, self.batch_size = batches.num_rows, batches.batch_size
        self.steps_per_epoch = batches.steps_per_epoch
        every = int(rows.max()) + 1
        self.losses = torch.full((every,), torch.nan, dtype=torch.float64, device=self.device)
        self.weights = torch.ones(every, device=self.device)
        self.chosen: torch.Tensor | None = None
        self.prunes, self.step, self.round = True, 0, 0

    def epoch(self, start: int = 0) -> Iterator[Batch]:
        """One pass over what is left of the rows; it ends early where annealing begins."""
        if self.chosen is None:
            self.prunes = self.step < self.anneal_from
            self.chosen = self._choose() if self.prunes else self._all()
        for batch in self._batches.of(self.chosen).epoch(start):
            if self.prunes and self.step >= self.anneal_from:
                break
            yield batch
        self.chosen, self.round = None, self.round + 1

    def _all(self) -> torch.Tensor:
        self.weights.fill_(1)
        return self._rows

    def _choose(self) -> torch.Tensor:
        """Rows of the next epoch, ascending; sets their weights."""
        self.weights.fill_(1)
        losses = self.losses[self._rows.to(self.device)].cpu()
        known = losses[~losses.isnan()]
        if len(known) == 0:
            return self._rows
        low = (losses < known.mean()).nonzero().flatten()
        generator = torch.Generator().manual_seed(derive_seed(*self._salt, "infobatch", self.round))
        shuffled = low[torch.randperm(len(low), generator=generator)]
        num_kept = round((1 - self.ratio) * len(low))
        kept = self._rows[shuffled[:num_kept]]
        self.weights[kept.to(self.device)] = 1 / (1 - self.ratio)
        stays = torch.ones(len(self._rows), dtype=torch.bool)
        stays[shuffled[num_kept:]] = False
        return self._rows[stays]

    def in_order(self, batch_size: int, within: range | None = None) -> Iterator[Batch]:
        """Every row of the source, or a range of them."""
        return self._batches.in_order(batch_size, within)

    def of(self, rows: torch.Tensor) -> Batches:
        """Plain batches over some rows."""
        return self._batches.of(rows)

    def loss_of(self, batch: Batch, outputs: torch.Tensor) -> torch.Tensor:
        """Mean of the weighted losses; takes each row's own loss down for the next choice."""
        losses = self._task.observe(outputs, batch.targets).loss
        self.losses[batch.rows] = losses.detach().double()
        self.step += 1
        return (losses * self.weights[batch.rows]).mean()

    def state(self) -> dict[str, Any]:
        """What it knows, and the epoch under way: choosing again would see later losses."""
        return {
            "losses": self.losses,
            "weights": self.weights,
            "chosen": self.chosen,
            "prunes": self.prunes,
            "step": self.step,
            "round": self.round,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the same epoch."""
        self.losses = state["losses"].to(self.device)
        self.weights = state["weights"].to(self.device)
        self.chosen, self.prunes = state["chosen"], state["prunes"]
        self.step, self.round = state["step"], state["round"]
