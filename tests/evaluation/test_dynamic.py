"""RS2 and InfoBatch do what their papers say, row by row, and go on from a snapshot unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from dataprune.core.recipe import ProbeRecipe
from dataprune.core.recipe_training import Optimizer
from dataprune.evaluation.dynamic import INFOBATCH, RS2, Dynamic, make_dynamic, subsets
from dataprune.probe.data import Batch, make_batches
from dataprune.probe.tasks.classification import TASK
from dataprune.probe.train import FitPlan, fit

pytestmark = pytest.mark.usefixtures("one_thread")
N, BATCH = 60, 8


def dynamic(about: dict[str, Any], num_steps: int, rows: list[int] | None = None) -> Dynamic:
    """A baseline over 60 rows of two overlapping classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 2
    inputs = (labels[:, None] + rng.normal(size=(N, 3))).astype(np.float32)
    shared = {"inputs": inputs, "targets": labels, "mean": np.zeros(3), "std": np.ones(3)}
    may = torch.tensor(rows) if rows else torch.arange(N)
    generator = torch.Generator().manual_seed(1)
    recipe = ProbeRecipe(batch_size=BATCH)
    batches = make_batches(shared, "", may, recipe, generator, torch.device("cpu"))
    return make_dynamic(about, batches, may, TASK, num_steps, 0, "test")


def train(batches: Dynamic, num_steps: int) -> list[tuple[list[int], float, torch.Tensor]]:
    """Rows, loss and outputs of each step of a linear model."""
    torch.manual_seed(0)
    model, seen, losses = torch.nn.Linear(3, 2), [], []

    def loss_of(batch: Batch, outputs: torch.Tensor) -> torch.Tensor:
        losses.append(batches.loss_of(batch, outputs))
        return losses[-1]

    def after_step(batch: Batch, outputs: torch.Tensor) -> None:
        seen.append((batch.rows.tolist(), losses[-1].item(), outputs))

    plan = FitPlan(Optimizer(lr=0.05), lambda _step: 1.0, num_steps)
    fit(model, TASK, batches, plan, lambda *_: None, after_step, loss_of=loss_of)
    return seen


@pytest.mark.parametrize(("num_rows", "budget"), [(10, 3), (10, 5), (7, 6), (12, 12), (5, 1)])
def test_rs2_shows_no_row_again_before_all_others(num_rows: int, budget: int) -> None:
    counts = np.zeros(num_rows, dtype=int)
    for subset in islice(subsets(num_rows, budget, 0), 25):
        rows = subset.tolist()
        assert len(set(rows)) == budget
        assert rows == sorted(rows)
        counts[rows] += 1
        assert counts.max() - counts.min() <= 1


def test_rs2_draws_other_subsets_for_another_seed() -> None:
    def first(seed: int) -> list[int]:
        return next(subsets(100, 10, seed)).tolist()

    assert first(0) == first(0) != first(1)


def test_rs2_trains_each_round_on_a_fresh_subset_of_its_own_rows() -> None:
    rows = list(range(0, N, 2))  # 30 rows, of which 16 are a round of two batches
    seen = train(dynamic({**RS2, "budget": 16}, 6, rows), 6)
    rounds = [set(a) | set(b) for (a, *_), (b, *_) in zip(seen[::2], seen[1::2], strict=True)]
    assert all(len(one) == 16 and one <= set(rows) for one in rounds)
    assert len(rounds[0] & rounds[1]) == 2  # 14 were left of the first pass
    for batch, loss, outputs in seen:
        plain = cross_entropy(outputs, torch.tensor(batch) % 2)
        assert loss == pytest.approx(plain.item())


def reference_infobatch(
    seen: list[tuple[list[int], float, torch.Tensor]], ratio: float, anneal_from: int
) -> list[tuple[int, int]]:
    """Follow a run with plain dictionaries; returns (first step, rows) of each epoch found.

    Asserts that each step's loss is the mean of its rows' losses times weights that are 1 or
    1 / (1 - ratio), of which the latter only for rows whose last loss was below the mean.
    """
    losses: dict[int, float] = {}
    epochs, step = [], 0
    while step < len(seen):
        known = list(losses.values())
        pruned = step < anneal_from and bool(known)
        mean = sum(known) / len(known) if known else 0.0
        low = {row for row, loss in losses.items() if loss < mean} if pruned else set()
        size = N - len(low) + round((1 - ratio) * len(low))
        count = size // min(BATCH, size)
        if step < anneal_from:
            count = min(count, anneal_from - step)
        taken = seen[step : step + count]
        shown = [row for rows, *_ in taken for row in rows]
        assert len(shown) == len(set(shown))
        if step + count < len(seen) and (step >= anneal_from or step + count < anneal_from):
            assert len(set(shown) & low) <= round((1 - ratio) * len(low))
        for rows, loss, outputs in taken:
            each = cross_entropy(outputs, torch.tensor(rows) % 2, reduction="none").double()
            weights = torch.tensor([1 / (1 - ratio) if row in low else 1.0 for row in rows])
            assert loss == pytest.approx((each * weights).mean().item(), rel=1e-5)
            losses |= dict(zip(rows, each.tolist(), strict=True))
        epochs.append((step, size))
        step += count
    return epochs


@pytest.mark.parametrize("num_steps", [40, 61])
def test_infobatch_is_its_slow_reference(num_steps: int) -> None:
    seen = train(dynamic(INFOBATCH, num_steps), num_steps)
    anneal_from = num_steps - round(num_steps / 8)
    epochs = reference_infobatch(seen, 0.5, anneal_from)
    assert len(seen) == num_steps
    assert epochs[0] == (0, N)  # nothing is known before the first epoch, so nothing is pruned
    assert any(size < N for _start, size in epochs)
    assert (anneal_from, N) in epochs  # annealing begins at its step, in the midst of an epoch too


def test_infobatch_prunes_nothing_where_all_losses_are_equal() -> None:
    batches = dynamic(INFOBATCH, 1000)
    for _epoch in range(3):
        for batch in batches.epoch():
            loss = batches.loss_of(batch, torch.full((len(batch.rows), 2), 0.1))
            assert loss.item() == pytest.approx(np.log(2))
    assert len(list(batches.epoch())) == N // BATCH


@pytest.mark.parametrize("cut", [3, 7, 14, 33, 34, 35, 37])
@pytest.mark.parametrize("about", [INFOBATCH, {**RS2, "budget": 20}], ids=["infobatch", "rs2"])
def test_a_baseline_goes_on_from_its_state_as_if_it_had_not_been_cut(
    about: dict[str, Any], cut: int
) -> None:
    def losses_of(rows: torch.Tensor, step: int) -> torch.Tensor:
        """Outputs that depend on the row and the step alone."""
        margin = torch.sin(rows.double() * 7 + step).float()
        return torch.stack([margin, -margin], dim=1)

    def steps(batches: Dynamic, start: int, first: int) -> Iterator[tuple[int, list[int], Any]]:
        """(batches of the epoch so far, rows, state after), from step `first` on."""
        step, done = first, start
        while step < 40:
            order = batches.generator.get_state()
            for batch in batches.epoch(start=done):
                batches.loss_of(batch, losses_of(batch.rows, step))
                step, done = step + 1, done + 1
                yield done, batch.rows.tolist(), (order, batches.state())
                if step == 40:
                    return
            done = 0

    whole = list(steps(dynamic(about, 40), 0, 0))
    until = islice(steps(dynamic(about, 40), 0, 0), cut)
    *_, (done, _rows, (order, kept)) = until
    again = dynamic(about, 40)
    again.restore(kept)
    again.generator.set_state(order)
    rest = [rows for _done, rows, _state in steps(again, done, cut)]
    assert rest == [rows for _done, rows, _state in whole[cut:]]
