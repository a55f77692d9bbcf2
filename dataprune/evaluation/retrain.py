"""The retraining unit: one seed on one arm's rows, for a fixed number of steps, then a test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataprune.core.files import write_json
from dataprune.core.protocols import Report, Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import resident, tensor_of
from dataprune.probe.models import MODELS
from dataprune.probe.schedule import lr_factor
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    FitPlan,
    accuracy,
    fit,
    pinned_arithmetic,
    seeded_generator,
    seeded_model,
)
from dataprune.probe.unit import model_shape


def retrain_unit(
    spec: dict[str, Any], shared: Shared, folder: Path, report: Report
) -> dict[str, Any]:
    """Train on the rows of one arm and write `accuracy.json`.

    spec: probe, task, num_classes, root_seed, seed, arm, num_steps, threads, device.
    shared: inputs, labels, mean, std, test_inputs, test_labels, and `rows/<arm>`.
    """
    probe = ProbeRecipe.model_validate(spec["probe"])
    with pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device:
        test_accuracy = _train_and_test(spec, probe, shared, report, device)
    write_json(folder / "accuracy.json", {"accuracy": test_accuracy})
    return {"accuracy": test_accuracy, "num_rows": len(shared[f"rows/{spec['arm']}"])}


def _train_and_test(
    spec: dict[str, Any],
    probe: ProbeRecipe,
    shared: Shared,
    report: Report,
    device: torch.device,
) -> float:
    salt = (spec["root_seed"], spec["seed"], "evaluate")
    task = TASKS.get(spec["task"])
    generator = seeded_generator(*salt)
    rows = tensor_of(shared[f"rows/{spec['arm']}"])
    batches = resident(shared, "", rows, probe, generator, device)
    test = resident(shared, "test_", None, probe, generator, device)
    build = MODELS.get(probe.model.chosen).build
    shape = model_shape(shared["inputs"].shape)
    model = seeded_model(lambda: build(shape, spec["num_classes"], **probe.model.params), *salt)
    model = model.to(device)
    epochs = int(np.ceil(spec["num_steps"] / batches.steps_per_epoch))
    started = time.monotonic()

    def after_epoch(epoch: int, train_loss: float) -> None:
        left_s = (time.monotonic() - started) / epoch * (epochs - epoch)
        report(
            {"epoch": epoch, "epochs": epochs, "train_loss": train_loss, "left_s": round(left_s, 1)}
        )

    factor = lr_factor(probe.schedule, spec["num_steps"])
    plan = FitPlan(probe.optimizer, factor, spec["num_steps"])
    report({"epoch": 0, "epochs": epochs})
    fit(model, task, batches, plan, after_epoch)
    return accuracy(model, task, test, None)
