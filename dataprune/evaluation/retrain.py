"""The retraining unit: one seed on one arm's rows, for a fixed number of steps, then a test."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from dataprune.core.files import write_json
from dataprune.core.protocols import Attempt, Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.evaluation.dynamic import Dynamic, make_dynamic
from dataprune.probe.data import make_batches, tensor_of
from dataprune.probe.schedule import lr_factor
from dataprune.probe.snapshot import Keeper
from dataprune.probe.tasks import TASKS
from dataprune.probe.team import Team, joined
from dataprune.probe.train import (
    FitPlan,
    fit,
    pinned_arithmetic,
    quality_parts,
    seeded_generator,
    seeded_layers,
)
from dataprune.probe.unit import build_model


def retrain_unit(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Train on the rows of one arm and write `quality.json`.

    spec: probe, task, num_outputs, root_seed, seed, num_steps, threads, device, torch; rows and
        targets, the shared arrays of these; dynamic, a baseline of `dynamic` or None.
    shared: inputs, targets, mean and std (not for text), rows, and test_inputs and test_targets or
        the mask held_out.

    Returns value (the metric), num_rows, class_accuracy (of each class that is tested, null for
    others; null where rows are of no one class), and train_s, the seconds of training.
    """
    probe = ProbeRecipe.model_validate(spec["probe"])
    with (
        pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device,
        joined(attempt.gang, spec["workers"], device) as team,
    ):
        measured, train_s = _train_and_test(spec, probe, shared, attempt, device, team)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    if team.leads:
        write_json(attempt.folder / "quality.json", measured)
    about = {"num_rows": len(shared[spec["rows"]]), "train_s": round(train_s, 4), "device": name}
    return {**measured, **about}


def _train_and_test(
    spec: dict[str, Any],
    probe: ProbeRecipe,
    shared: Shared,
    attempt: Attempt,
    device: torch.device,
    team: Team,
) -> tuple[dict[str, Any], float]:
    salt = (spec["root_seed"], spec["seed"], "evaluate")
    task, num_steps = TASKS.get(spec["task"]), spec["num_steps"]
    generator = seeded_generator(*salt)
    rows = tensor_of(np.asarray(shared[spec["rows"]]))
    own = {**shared, "targets": shared[spec["targets"]]}
    batches = make_batches(own, "", rows, probe, generator, device, team)
    test, held_out = batches, None
    if "test_inputs" in shared:
        test = make_batches(shared, "test_", None, probe, generator, device)
    else:
        held_out = tensor_of(np.asarray(shared["held_out"])).to(device)
    dynamic = None
    if spec["dynamic"] is not None:
        dynamic = make_dynamic(spec["dynamic"], batches, rows, task, num_steps, *salt)
    model = build_model(probe, shared["inputs"].shape, spec["num_outputs"], *salt).to(device)
    model = team.prepared(model)
    epochs = int(np.ceil(num_steps / (dynamic or batches).steps_per_epoch))
    beside = _Beside(dynamic)

    def after_epoch(epoch: int, train_loss: float) -> None:
        if not team.leads:
            return
        left_s = beside.seconds / epoch * max(epochs - epoch, 0)
        attempt.report(
            {"epoch": epoch, "epochs": epochs, "train_loss": train_loss, "left_s": round(left_s, 1)}
        )

    factor = lr_factor(probe.schedule, num_steps)
    plan = FitPlan(probe.optimizer, factor, num_steps, probe.precision)
    made_for = {key: value for key, value in spec.items() if key != "arm"}  # it is but a name
    keeper = Keeper(attempt.snapshots, made_for, beside, team)
    if team.leads:
        attempt.report({"epoch": 0, "epochs": epochs})
    with seeded_layers(device, *salt, rank=team.rank):
        loss_of = None if dynamic is None else dynamic.loss_of
        source = dynamic or batches
        fit(model, task, source, plan, after_epoch, keeper=keeper, loss_of=loss_of, team=team)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    train_s = beside.seconds
    parts, targets = quality_parts(model, task, test, held_out, team)
    return _measured(spec, task.summary(parts, targets), parts, targets), train_s


def _measured(
    spec: dict[str, Any], value: float, parts: torch.Tensor, targets: torch.Tensor
) -> dict[str, Any]:
    """The metric, and beside it each class's accuracy."""
    if spec["task"] != "classification":
        return {"value": value, "class_accuracy": None}
    size = spec["num_outputs"]
    labels = targets.cpu().numpy()
    counts = np.bincount(labels, minlength=size)
    right = np.bincount(labels, weights=parts.double().cpu().numpy(), minlength=size)
    shares = [float(r / n) if n else None for r, n in zip(right, counts, strict=True)]
    return {"value": value, "class_accuracy": shares}


class _Beside:
    """What a snapshot keeps beside the model: seconds of training, a baseline's state."""

    def __init__(self, dynamic: Dynamic | None) -> None:
        self._dynamic, self._started = dynamic, time.monotonic()

    @property
    def seconds(self) -> float:
        """Of training, those before a snapshot too."""
        return time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """As a snapshot holds it."""
        inner = None if self._dynamic is None else self._dynamic.state()
        return {"seconds": self.seconds, "dynamic": inner}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._started = time.monotonic() - state["seconds"]
        if self._dynamic is not None:
            self._dynamic.restore(state["dynamic"])
