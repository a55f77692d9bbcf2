"""Training as verbs on device tensors: fit a model, measure it.

Shape suffixes: N rows, B batch, C outputs.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from dataprune.core.errors import ProbeError
from dataprune.core.fingerprint import derive_seed
from dataprune.core.recipe_training import Optimizer
from dataprune.probe.data import Batch, Batches
from dataprune.probe.snapshot import Keeper, Reached
from dataprune.probe.tasks import Task
from dataprune.probe.team import Team

# Rows of a pass that trains nothing. On a CPU what a layer gives should stay in the cache: a small
# CNN scored 28x28 images at half the speed in batches of 512. A GPU wants its batches large.
SCORE_BATCH = {"cpu": 128, "cuda": 1024}
_DIVERGENCE_CHECK_STEPS = 50


@contextlib.contextmanager
def pinned_arithmetic(threads: int, device: str, version: str) -> Iterator[torch.device]:
    """Same bits each time: torch version, thread count, deterministic float32 kernels.

    What is changed is restored on the way out.
    device: "cpu" or "cuda". version: the torch that the unit was planned with.

    Raises:
        ProbeError: this worker has another torch, or CUDA was asked for and there is none.
    """
    if torch.__version__ != version:
        raise ProbeError(
            f"this unit was planned with torch {version} and its worker has {torch.__version__}",
            hint="install the same torch on every node",
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ProbeError(
            "this unit wants a GPU and torch sees none", hint="set run.num_gpus to 0 for the CPU"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    warn_only_before = torch.is_deterministic_algorithms_warn_only_enabled()
    tf32_before = torch.backends.cudnn.allow_tf32
    precision_before = torch.get_float32_matmul_precision()
    fused_before = torch.backends.mha.get_fastpath_enabled()
    filled_before = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 is what the score_spec says
    torch.set_float32_matmul_precision("highest")
    torch.backends.mha.set_fastpath_enabled(value=False)  # it is taken only without gradients
    torch.use_deterministic_algorithms(mode=True)
    # Filling what is allocated with NaN guards code that reads what it has not written. No kernel
    # here does, and it was a sixth of a small CNN's step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield torch.device(device)
    finally:
        torch.use_deterministic_algorithms(mode=deterministic_before, warn_only=warn_only_before)
        torch.utils.deterministic.fill_uninitialized_memory = filled_before  # type: ignore[attr-defined]
        torch.backends.cudnn.allow_tf32 = tf32_before
        torch.set_float32_matmul_precision(precision_before)
        torch.backends.mha.set_fastpath_enabled(value=fused_before)
        torch.set_num_threads(threads_before)


def seeded_model(build: Callable[[], nn.Module], *salt: int | str) -> nn.Module:
    """Build a model with initial weights drawn from `salt` alone; the global generator is kept.

    Channels last: images are stored that way, and convolutions were 1.27x faster on two CPUs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(*salt, "init"))
        model: nn.Module = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model


@contextlib.contextmanager
def seeded_layers(device: torch.device, *salt: int | str, rank: int = 0) -> Iterator[None]:
    """Seed the global generators, which dropout draws from; restored on the way out.

    rank: of a team, whose processes draw for different rows.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(*salt, "layers", *([rank] if rank else [])))
        yield


def seeded_generator(*salt: int | str) -> torch.Generator:
    """The generator of batch order and augmentation."""
    return torch.Generator().manual_seed(derive_seed(*salt, "order"))


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast to train.

    lr_factor: factor on the base rate at each step.
    stop_step: number of optimiser steps.
    precision: "bfloat16" trains under autocast; weights and updates stay float32.
    """

    optimizer: Optimizer
    lr_factor: Callable[[int], float]
    stop_step: int
    precision: str = "float32"


def fit(
    model: nn.Module,
    task: Task,
    batches: Batches,
    plan: FitPlan,
    after_epoch: Callable[[int, float], None],
    after_step: Callable[[Batch, torch.Tensor], None] | None = None,
    keeper: Keeper | None = None,
    team: Team | None = None,
    loss_of: Callable[[Batch, torch.Tensor], torch.Tensor] | None = None,
) -> None:
    """Train for `plan.stop_step` steps; call back with (epoch, mean training loss) at each pass.

    after_step: called with each batch and the outputs (B, C) that its step was taken on.
    keeper: keeps snapshots, and knows one to go on from.
    team: whose processes train together, each on the slice of every batch that `batches` gives it.
    loss_of: the mean loss of the rows of a batch, from its outputs; default: the task's own.

    Raises:
        ProbeError: a loss was not finite; the step is named.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=plan.optimizer.lr,
        momentum=plan.optimizer.momentum,
        weight_decay=plan.optimizer.weight_decay,
        nesterov=plan.optimizer.momentum > 0,
    )
    keeper, team = keeper or Keeper(), team or Team()
    at = keeper.restore(model, optimizer, batches.generator)
    while at.step < plan.stop_step:
        order = batches.generator.get_state()
        model.train()
        for batch in batches.epoch(start=len(at.losses)):
            for group in optimizer.param_groups:
                group["lr"] = plan.optimizer.lr * plan.lr_factor(at.step)
            with _autocast(batch.inputs.device, plan.precision):
                outputs_BC = model(batch.inputs)
                if loss_of is None:
                    loss = task.train_loss(outputs_BC, batch.targets) * batch.share
                else:
                    loss = loss_of(batch, outputs_BC) * batch.share
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            whole_loss = team.stepped(model, loss)
            optimizer.step()
            at.losses.append(whole_loss)
            if after_step is not None:
                after_step(batch, outputs_BC.detach())
            at.step += 1
            if at.step % _DIVERGENCE_CHECK_STEPS == 0:
                _raise_if_diverged(at)
            if at.step == plan.stop_step:
                break
            keeper.offer(at, model, optimizer, order)
        mean_loss = _raise_if_diverged(at)
        at.epoch, at.losses = at.epoch + 1, []
        after_epoch(at.epoch, mean_loss)
        keeper.offer(at, model, optimizer, batches.generator.get_state())


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def _raise_if_diverged(at: Reached) -> float:
    """Mean of the epoch's losses; looks at them rarely, since each look waits for the device."""
    values = torch.stack(at.losses).double().cpu()
    if not bool(values.isfinite().all()):
        first = int((~values.isfinite()).nonzero()[0])
        step = at.step - len(at.losses) + first + 1
        raise ProbeError(
            f"training diverged: loss {values[first].item()} at step {step}",
            hint="lower probe.optimizer.lr, or warm up longer",
        )
    return float(values.mean())


def quality(
    model: nn.Module,
    task: Task,
    batches: Batches,
    rows: torch.Tensor | None,
    team: Team | None = None,
) -> float:
    """The task's metric on clean inputs: accuracy, exact match, R2.

    rows: bool mask (N,) of the rows to measure; None for all. team: whose processes share them out;
    all get the same.
    """
    parts, targets = quality_parts(model, task, batches, rows, team)
    return task.summary(parts, targets) if len(parts) else math.nan


@torch.inference_mode()
def quality_parts(
    model: nn.Module,
    task: Task,
    batches: Batches,
    rows: torch.Tensor | None,
    team: Team | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each measured row's part in the metric, (k,), and its target, in order; as `quality`."""
    model.eval()
    team = team or Team()
    parts, measured = [], []
    for batch, here in _masked(batches, rows, scored_by(team, batches)):
        targets = batch.targets[here]
        parts.append(task.quality(model(batch.inputs[here]).float(), targets))
        measured.append(targets)
    values, of_targets = team.joined(parts), team.joined(measured)
    if values is None or of_targets is None:
        return torch.empty(0), torch.empty(0)
    return values, of_targets


@torch.inference_mode()
def outputs_of(
    model: nn.Module, batches: Batches, rows: torch.Tensor, team: Team | None = None
) -> torch.Tensor:
    """Outputs on clean inputs, float64 (k, C), of the rows of a mask (N,), in order.

    team: whose processes share the rows out; each gets those of its range, (0,) for none.
    """
    model.eval()
    masked = _masked(batches, rows, scored_by(team or Team(), batches))
    parts = [model(batch.inputs[here]).double() for batch, here in masked]
    return torch.cat(parts).cpu() if parts else torch.zeros(0)


def scored_by(team: Team, batches: Batches) -> range:
    """The rows that this process scores, in whole batches of a scoring pass."""
    return team.range_of(batches.num_rows, SCORE_BATCH[batches.device.type])


def _masked(
    batches: Batches, rows: torch.Tensor | None, within: range
) -> Iterator[tuple[Batch, torch.Tensor | slice]]:
    """Batches in order with their rows that are in the mask; batches without one are left out."""
    for batch in batches.in_order(SCORE_BATCH[batches.device.type], within):
        if rows is None:
            yield batch, slice(None)
        elif bool((here := rows[batch.rows]).any()):
            yield batch, here
