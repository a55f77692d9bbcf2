"""The retraining unit: one seed on one arm's rows, for a fixed number of steps, then a test."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from dataprune.core.files import write_json
from dataprune.core.protocols import Attempt, Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import make_batches, tensor_of
from dataprune.probe.schedule import lr_factor
from dataprune.probe.snapshot import Keeper
from dataprune.probe.tasks import TASKS
from dataprune.probe.team import Team, joined
from dataprune.probe.train import (
    FitPlan,
    fit,
    pinned_arithmetic,
    quality,
    seeded_generator,
    seeded_layers,
)
from dataprune.probe.unit import build_model


def retrain_unit(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Train on the rows of one arm and write `quality.json`.

    spec: probe, task, num_outputs, root_seed, seed, arm, num_steps, threads, device.
    shared: inputs, targets, mean and std (not for text), `rows/<arm>`, `targets/<arm>` if it trains
    on labels of its own, and test_inputs and test_targets or the mask held_out.
    """
    probe = ProbeRecipe.model_validate(spec["probe"])
    with (
        pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device,
        joined(attempt.gang, spec["workers"], device) as team,
    ):
        value = _train_and_test(spec, probe, shared, attempt, device, team)
    if team.leads:
        write_json(attempt.folder / "quality.json", {"value": value})
    return {"value": value, "num_rows": len(shared[f"rows/{spec['arm']}"])}


def _train_and_test(
    spec: dict[str, Any],
    probe: ProbeRecipe,
    shared: Shared,
    attempt: Attempt,
    device: torch.device,
    team: Team,
) -> float:
    salt = (spec["root_seed"], spec["seed"], "evaluate")
    task = TASKS.get(spec["task"])
    generator = seeded_generator(*salt)
    rows = tensor_of(np.asarray(shared[f"rows/{spec['arm']}"]))
    targets = shared.get(f"targets/{spec['arm']}", shared["targets"])
    batches = make_batches({**shared, "targets": targets}, "", rows, probe, generator, device, team)
    test, held_out = batches, None
    if "test_inputs" in shared:
        test = make_batches(shared, "test_", None, probe, generator, device)
    else:
        held_out = tensor_of(np.asarray(shared["held_out"])).to(device)
    model = build_model(probe, shared["inputs"].shape, spec["num_outputs"], *salt).to(device)
    model = team.prepared(model)
    epochs = int(np.ceil(spec["num_steps"] / batches.steps_per_epoch))
    clock = _Clock()

    def after_epoch(epoch: int, train_loss: float) -> None:
        if not team.leads:
            return
        left_s = clock.seconds / epoch * (epochs - epoch)
        attempt.report(
            {"epoch": epoch, "epochs": epochs, "train_loss": train_loss, "left_s": round(left_s, 1)}
        )

    factor = lr_factor(probe.schedule, spec["num_steps"])
    plan = FitPlan(probe.optimizer, factor, spec["num_steps"], probe.precision)
    keeper = Keeper(attempt.snapshots, spec, clock, team)
    if team.leads:
        attempt.report({"epoch": 0, "epochs": epochs})
    with seeded_layers(device, *salt, rank=team.rank):
        fit(model, task, batches, plan, after_epoch, keeper=keeper, team=team)
    return quality(model, task, test, held_out, team)


class _Clock:
    """Seconds of training, those before a snapshot too."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """As a snapshot holds it."""
        return {"seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._started = time.monotonic() - state["seconds"]
