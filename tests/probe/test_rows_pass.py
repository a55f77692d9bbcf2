"""A pass timed over its first rows: what it sees, what is counted apart, what is left to see."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Batches, make_batches
from dataprune.probe.rows_pass import RowsPass
from dataprune.probe.stopwatch import Stopwatch

NUM_ROWS, BATCH = 1000, 100


@pytest.fixture
def batches() -> Batches:
    shared = {"inputs": np.zeros((NUM_ROWS, 2), np.float32), "targets": np.zeros(NUM_ROWS, int)}
    device = torch.device("cpu")
    return make_batches(shared, "", None, ProbeRecipe(), torch.Generator(), device)


def stopwatch() -> Stopwatch:
    return Stopwatch(lambda: None)


class Slow:
    """A pass that takes its time over each batch; it remembers the rows that it saw."""

    def __init__(self, first_s: float, other_s: float) -> None:
        self.first_s, self.other_s = first_s, other_s
        self.passes: list[int] = []

    def __call__(self, batches: Batches) -> None:
        """Make one pass."""
        self.passes.append(0)
        for number, batch in enumerate(batches.in_order(BATCH)):
            time.sleep(self.other_s if number else self.first_s)
            self.passes[-1] += len(batch.rows)


def test_a_long_pass_is_cut_and_the_rest_follows_by_rows(batches: Batches) -> None:
    call = Slow(0.05, 0.01)
    parts, seen = RowsPass("score", "p", call, batches, 3, NUM_ROWS).run(stopwatch, 0.025)
    first, others = parts
    assert call.passes == [2 * BATCH, seen]  # one to warm up, one that was timed
    assert 2 * BATCH <= seen < NUM_ROWS
    assert (first.done, first.whole) == (1, 3)
    assert (others.done, others.whole) == (seen - BATCH, 3 * (NUM_ROWS - BATCH))
    assert first.seconds >= 0.05
    assert others.seconds / others.done >= 0.01 / BATCH


def test_short_passes_are_made_as_often_as_a_unit_makes_them(batches: Batches) -> None:
    call = Slow(0, 0)
    parts, seen = RowsPass("score", "p", call, batches, 4, NUM_ROWS).run(stopwatch, 10.0)
    assert call.passes == [2 * BATCH, *[NUM_ROWS] * 4]
    assert seen == NUM_ROWS
    assert [(part.done, part.whole) for part in parts] == [(4, 4), (3600, 3600)]


def test_a_pass_of_one_batch_has_no_rows_left(batches: Batches) -> None:
    def call(batches: Batches) -> None:
        for _ in batches.in_order(NUM_ROWS):
            pass

    parts, seen = RowsPass("score", "p", call, batches, 2, NUM_ROWS).run(stopwatch, 10.0)
    assert seen == NUM_ROWS
    assert [(part.done, part.whole) for part in parts] == [(2, 2), (2, 2)]


def test_a_pass_goes_on_until_it_has_seen_a_row_that_it_needs(batches: Batches) -> None:
    needed = torch.zeros(NUM_ROWS, dtype=torch.bool)
    needed[750] = True
    call = Slow(0, 0)
    timed = RowsPass("held-out", "p", call, batches, 1, NUM_ROWS, needed)
    _, seen = timed.run(stopwatch, 1e-9)
    assert call.passes == [800, 800]
    assert seen == 800
