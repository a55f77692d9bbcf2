"""The probe unit: train one seed, record its trace. What runs inside a worker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataprune.core.protocols import Report, Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import resident, tensor_of
from dataprune.probe.models import MODELS
from dataprune.probe.schedule import lr_factor
from dataprune.probe.signals import SIGNALS
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    FitPlan,
    Observer,
    accuracy,
    fit,
    pinned_arithmetic,
    seeded_generator,
    seeded_model,
)
from dataprune.tables.trace import write_trace


def model_shape(inputs_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Stored (N, H, W, C) or (N, D) -> what a model is built for: (C, H, W) or (D,)."""
    return (inputs_shape[3], *inputs_shape[1:3]) if len(inputs_shape) == 4 else inputs_shape[1:]


def probe_unit(
    spec: dict[str, Any], shared: Shared, folder: Path, report: Report
) -> dict[str, Any]:
    """Train one probe and write `trace.parquet`.

    spec: `plan.unit_spec`. shared: inputs, labels, mean, std, and test_inputs and test_labels or
    folds. Returns the history of losses and held-out accuracies.
    """
    probe = ProbeRecipe.model_validate(spec["probe"])
    with pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device:
        return _train_and_record(spec, probe, shared, folder, report, device)


def _train_and_record(
    spec: dict[str, Any],
    probe: ProbeRecipe,
    shared: Shared,
    folder: Path,
    report: Report,
    device: torch.device,
) -> dict[str, Any]:
    salt = (spec["root_seed"], spec["seed"])
    task = TASKS.get(spec["task"])
    in_sample = _in_sample(spec, shared)
    generator = seeded_generator(*salt)
    batches = resident(shared, "", tensor_of(np.flatnonzero(in_sample)), probe, generator, device)
    test = None
    if "test_inputs" in shared:
        test = resident(shared, "test_", None, probe, generator, device)
    build = MODELS.get(probe.model.chosen).build
    shape = model_shape(shared["inputs"].shape)
    model = seeded_model(lambda: build(shape, spec["num_classes"], **probe.model.params), *salt)
    model = model.to(device)
    observer = Observer([SIGNALS.get(name) for name in spec["signals"]], len(in_sample), device)
    held_out = None if test is not None else tensor_of(~in_sample).to(device)
    checkpoints = set(spec["checkpoints"])
    recorded = {}
    history: list[dict[str, float]] = []
    started = time.monotonic()

    def after_epoch(epoch: int, train_loss: float) -> None:
        if observer.remembers or epoch in checkpoints:
            observer.observe(model, task, batches)
        if epoch in checkpoints:
            recorded[epoch] = observer.snapshot()
        held_out_accuracy = accuracy(model, task, test or batches, held_out)
        history.append(
            {"epoch": epoch, "train_loss": train_loss, "heldout_accuracy": held_out_accuracy}
        )
        left_s = (time.monotonic() - started) / epoch * (probe.last_epoch - epoch)
        report({**history[-1], "epochs": probe.last_epoch, "left_s": round(left_s, 1)})

    steps = batches.steps_per_epoch
    factor = lr_factor(probe.schedule, probe.schedule_epochs * steps)
    plan = FitPlan(probe.optimizer, factor, probe.last_epoch * steps)
    report({"epoch": 0, "epochs": probe.last_epoch})
    fit(model, task, batches, plan, after_epoch)
    write_trace(folder / "trace.parquet", in_sample, recorded, {"mode": "eval"})
    return {
        "history": history,
        "heldout_rows": len(shared["test_labels"]) if test is not None else int((~in_sample).sum()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _in_sample(spec: dict[str, Any], shared: Shared) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if spec["fold"] is None:
        return np.ones(len(shared["labels"]), dtype=np.bool_)
    in_sample: np.ndarray[Any, np.dtype[np.bool_]] = shared["folds"] != spec["fold"]
    return in_sample
