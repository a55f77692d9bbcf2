"""What all arms of one comparison share: rows to train on, what tests them, arrays, the metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError
from dataprune.core.protocols import Shared
from dataprune.core.recipe import Recipe
from dataprune.probe.data import statistics
from dataprune.probe.folds import strata_of, stratified_holdout
from dataprune.probe.plan import groups_of, model_inputs
from dataprune.probe.tasks import TASKS, Task
from dataprune.sources._load import Loaded

_HELD_OUT_FRAC = 0.2

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bench:
    """What all arms of one comparison share.

    train_rows: int64, ascending, the rows that may be trained on: all that are not held out.
    shared: arrays of the units: inputs, targets, and test_inputs and test_targets or held_out.
    held_out: what arms are tested on, for people.
    num_outputs: of the model. metric: accuracy, exact match or R2.
    classes: labels of the source as classes, int64 (n,); None where rows are of no one class.
    """

    train_rows: Rows
    shared: Shared
    held_out: str
    num_test_rows: int
    num_outputs: int
    metric: str
    classes: Rows | None


def task_of(recipe: Recipe) -> Task:
    """The task that arms are trained for.

    Raises:
        UsageError: there is none.
    """
    if recipe.task is None:
        raise UsageError("there are no labels to train on: the scores were made with task: null")
    return TASKS.get(recipe.task)


def make_bench(
    recipe: Recipe, loaded: Loaded, *, validation: int | None = None, doubtful: Mask | None = None
) -> Bench:
    """Lay out what arms share.

    Without a test split a stratified share, hashed from content, is held out of every arm.

    validation: number of a share of the training rows to test on instead, which is held out of
        every arm too; the test rows are then neither trained on nor looked at, so choices can be
        made by it. Shares of other numbers are other draws.
    doubtful: rows, bool (n,), that are not tested on then, since their labels are likely wrong.
    """
    task = task_of(recipe)
    has_test = loaded.test is not None
    held_out = np.zeros(len(loaded.labels), dtype=np.bool_)
    told = "test split"
    if not has_test:
        held_out = _share(loaded, ~held_out, recipe.seed)
        told = f"{held_out.mean():.0%} held out of every arm"
    tested = held_out
    if validation is not None:
        tested = _share(loaded, ~held_out, recipe.seed + 1 + validation)
        held_out |= tested
        if doubtful is not None and (tested & ~doubtful).any():
            tested = tested & ~doubtful
        told = f"{tested.sum()} training rows held out of every arm"
    train = loaded.labels[~held_out]
    shared = {**model_inputs(recipe, loaded), "targets": task.targets(loaded.labels, train)}
    if has_test and validation is None:
        assert loaded.test is not None
        shared["test_targets"] = task.targets(loaded.test.labels, train)
    else:
        shared.pop("test_inputs", None)
        shared["held_out"] = tested
        if loaded.inputs is not None:
            shared["mean"], shared["std"] = statistics(loaded.inputs, ~held_out)
    num_test = len(shared["test_targets"]) if "test_targets" in shared else int(tested.sum())
    return Bench(
        train_rows=np.flatnonzero(~held_out),
        shared=shared,
        held_out=told,
        num_test_rows=num_test,
        num_outputs=task.num_outputs(loaded.labels, len(loaded.ref.class_names)),
        metric=task.metric,
        classes=loaded.labels if recipe.task == "classification" else None,
    )


def _share(loaded: Loaded, among: Mask, seed: int) -> Mask:
    """A stratified share of some rows, bool (n,); groups are kept together."""
    strata, groups = strata_of(loaded.labels), groups_of(loaded)
    if not among.all() and groups is not None:
        _, groups = np.unique(groups[among], return_inverse=True)
    chosen = np.zeros(len(among), dtype=np.bool_)
    chosen[among] = stratified_holdout(
        loaded.hashes[among], strata[among], _HELD_OUT_FRAC, seed, groups
    )
    return chosen


def steps_per_epoch(recipe: Recipe, num_rows: int) -> int:
    """Batches of an epoch over so many rows; the last partial one is left out."""
    return num_rows // min(recipe.probe.batch_size, num_rows)
