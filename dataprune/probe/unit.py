"""The probe unit: train one seed, record its trace. What runs inside a worker, or in several."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from dataprune.core.protocols import Attempt, Shared
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Batches, make_batches, tensor_of
from dataprune.probe.features import write_features_of
from dataprune.probe.models import find_model
from dataprune.probe.observer import EvalObserver, Observer
from dataprune.probe.schedule import lr_factor
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import SIGNALS, Sizes
from dataprune.probe.snapshot import Keeper
from dataprune.probe.step_observer import StepObserver
from dataprune.probe.tasks import TASKS, Task
from dataprune.probe.team import Team, joined
from dataprune.probe.text import build_params
from dataprune.probe.train import (
    FitPlan,
    fit,
    pinned_arithmetic,
    scored_by,
    seeded_generator,
    seeded_layers,
    seeded_model,
)
from dataprune.probe.watch import Watch
from dataprune.tables.features import FEATURES
from dataprune.tables.heldout import condense, write_heldout
from dataprune.tables.trace import TRACE, write_trace, write_trace_shards

HELD_OUT = "heldout.parquet"


def model_shape(inputs_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Stored (N, H, W, C) or (N, D) -> what a model is built for: (C, H, W) or (D,)."""
    return (inputs_shape[3], *inputs_shape[1:3]) if len(inputs_shape) == 4 else inputs_shape[1:]


def num_pixels(inputs_shape: tuple[int, ...]) -> int:
    """Pixels of stored images (N, H, W, C), features of vectors (N, D), places of texts (N, L)."""
    return math.prod(inputs_shape[1:3])


def build_model(
    probe: ProbeRecipe, inputs_shape: tuple[int, ...], num_outputs: int, *salt: int | str
) -> nn.Module:
    """The recipe's model for stored inputs, its weights drawn from `salt`."""
    model = find_model(probe.model.chosen)
    params = build_params(model, probe.model.params)
    return seeded_model(
        lambda: model.build(model_shape(inputs_shape), num_outputs, **params), *salt
    )


def probe_unit(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Train one probe and write its trace; `heldout.parquet` when cross-fitting, features if asked.

    The trace is `trace.parquet`, or of several workers that observed a range of rows each, shards
    (`tables/trace.py`). spec: made in `plan`. shared: inputs, targets, mean and std (not for text),
    and test_inputs and test_targets or folds. Returns the history of losses and held-out quality.
    """
    probe = ProbeRecipe.model_validate(spec["probe"])
    with (
        pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device,
        joined(attempt.gang, spec["workers"], device) as team,
    ):
        return _train_and_record(spec, probe, shared, attempt, device, team)


def _train_and_record(
    spec: dict[str, Any],
    probe: ProbeRecipe,
    shared: Shared,
    attempt: Attempt,
    device: torch.device,
    team: Team,
) -> dict[str, Any]:
    salt = (spec["root_seed"], spec["seed"])
    task = TASKS.get(spec["task"])
    in_sample = trained_rows(spec, shared)
    generator = seeded_generator(*salt)
    rows = tensor_of(np.flatnonzero(in_sample))
    batches = make_batches(shared, "", rows, probe, generator, device, team)
    test = None
    if "test_inputs" in shared:
        test = make_batches(shared, "test_", None, probe, generator, device)
    model = build_model(probe, shared["inputs"].shape, spec["num_outputs"], *salt).to(device)
    model = team.prepared(model)
    held_out = tensor_of(~in_sample).to(device)
    observer = make_observer(
        spec, task, batches, num_pixels(shared["inputs"].shape), ~held_out, team
    )
    watch = Watch(
        observer,
        task,
        batches,
        test,
        held_out,
        heldout_from=probe.last_epoch - spec["heldout_last"] + 1,
        epochs=probe.last_epoch,
        report=attempt.report,
        team=team,
    )
    steps = batches.steps_per_epoch
    factor = lr_factor(probe.schedule, probe.schedule_epochs * steps)
    plan = FitPlan(probe.optimizer, factor, probe.last_epoch * steps, probe.precision)
    keeper = Keeper(attempt.snapshots, spec, watch, team)
    if team.leads:
        attempt.report({"epoch": 0, "epochs": probe.last_epoch})
    with seeded_layers(device, *salt, rank=team.rank):
        if not keeper.resumes:
            watch.at_start(model)
        after_epoch = functools.partial(watch.after_epoch, model)
        fit(model, task, batches, plan, after_epoch, observer.step, keeper, team)
    _write_trace(attempt.folder, spec["mode"], observer, len(held_out), team)
    if watch.num_outputs_taken:
        _write_heldout(attempt.folder / HELD_OUT, spec, shared, in_sample, watch)
    if spec["features"]:
        write_features_of(attempt.folder / FEATURES, model, batches, team, probe.last_epoch)
    removals = observer.removals if isinstance(observer, EvalObserver) else {}
    return {
        **({"removals": {str(k): v for k, v in removals.items()}} if removals else {}),
        "history": watch.history,
        "metric": task.metric,
        "heldout_rows": len(shared["test_targets"]) if test else int((~in_sample).sum()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _write_trace(folder: Path, mode: str, observer: Observer, num_rows: int, team: Team) -> None:
    """One file, or the shards of the rows that this process observed, where each observed some."""
    in_sample, signals = observer.finish()
    if isinstance(observer, EvalObserver) and team.size > 1:
        assert not isinstance(in_sample, dict)
        write_trace_shards(folder, observer.within, num_rows, in_sample, signals, {"mode": mode})
    elif team.leads:
        write_trace(folder / TRACE, in_sample, signals, {"mode": mode})


def _write_heldout(
    path: Path, spec: dict[str, Any], shared: Shared, in_sample: npt.NDArray[np.bool_], watch: Watch
) -> None:
    is_classes = watch.task.name == "classification"
    rivals = np.asarray(shared["targets"])[~in_sample] if is_classes else None
    values = watch.heldout_outputs()
    if not watch.team.leads:
        return
    if "target_std" in shared:  # regression: back to the labels' own units
        values = values * np.asarray(shared["target_std"]) + np.asarray(shared["target_mean"])
    table = condense(np.flatnonzero(~in_sample), values, rivals)
    write_heldout(path, table, {"fold": spec["fold"], "epochs": watch.num_outputs_taken})


def make_observer(
    spec: dict[str, Any],
    task: Task,
    batches: Batches,
    pixels: int,
    in_sample: torch.Tensor,
    team: Team,
) -> EvalObserver | StepObserver:
    """What records the unit's signals, in the way of its mode.

    pixels: of an image. in_sample: bool (N,), the rows trained on.
    """
    signals = [SIGNALS.get(name) for name in spec["signals"]]
    sizes = Sizes(spec["num_outputs"], spec["window"], pixels)
    if spec["mode"] == "train":
        rows_held = len(in_sample) if team.leads else 0
        store = SignalStore(signals, rows_held, sizes, in_sample.device)
        return StepObserver(store, task, in_sample, spec["checkpoints"], team)
    within = scored_by(team, batches)
    return EvalObserver(
        SignalStore(signals, len(within), sizes, in_sample.device),
        task,
        in_sample,
        spec["checkpoints"],
        *(spec["root_seed"], spec["seed"]),
        basis=spec.get("removal", "directions"),
        layer=spec.get("layer"),
        within=within,
        team=team,
    )


def trained_rows(spec: dict[str, Any], shared: Shared) -> npt.NDArray[np.bool_]:
    """The rows that a unit trains on, bool (N,)."""
    if spec["fold"] is None:
        return np.ones(len(shared["targets"]), dtype=np.bool_)
    in_sample: npt.NDArray[np.bool_] = shared[f"folds/{spec['repeat']}"] != spec["fold"]
    return in_sample
