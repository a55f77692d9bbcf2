"""Exact gradient norms of every example against a plain forward and backward pass of the batch.

All arms see the same batch in interleaved rounds; a ratio is the median of the rounds' paired
ratios. The plan and its check, made once per model, are in the round that warms up. `vmap(grad)` is
torch.func in chunks of the best size found first; `batches of one` is timed on a few examples and
scaled. Memory is the peak above the loaded model and batch, each in a fresh process. Errors are
against the norms of vmap(grad) in float64, as a share of max(norm, median / 1000).
"""

import copy
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from benchmarks.machine import describe
from dataprune.probe.gradients import GradientNorms
from dataprune.probe.gradients.losses import cross_entropy
from dataprune.probe.models import MODELS
from dataprune.probe.train import pinned_arithmetic, seeded_model

BATCH, ROUNDS, THREADS = 128, 7, 2
ONES = 8  # batches of one that are timed
CHUNKS = (8, 16, 32, 64)
CASES = {
    "resnet18, width 32": ("resnet18", (3, 32, 32), {"width": 32}),
    "small_cnn": ("small_cnn", (1, 28, 28), {}),
    "text_transformer": ("text_transformer", (64,), {}),
}

Batch = tuple[nn.Module, torch.Tensor, torch.Tensor]


def run() -> dict[str, Any]:
    rows = []
    for case in CASES:
        with pinned_arithmetic(THREADS, "cpu", torch.__version__):
            arms = _arms(*_batch(case))
            expected = _by_vmap(*_in_double(case), 8)
            norms = arms["ours"]()
            times = _times(arms)
        error = (norms - expected).abs() / expected.clamp(min=float(expected.median()) / 1000)
        memory = {arm: _peak_memory(case, arm) for arm in ("plain", "ours")}
        for arm in arms:
            paired = zip(times[arm], times["plain"], strict=True)
            rows.append(
                {
                    "model": case,
                    "arm": arm,
                    "ms per batch (median)": round(1e3 * statistics.median(times[arm]), 1),
                    "x plain": round(statistics.median(a / b for a, b in paired), 2),
                    "peak memory, MB": memory.get(arm, ""),
                    "largest error": f"{float(error.max()):.1e}" if arm == "ours" else "",
                }
            )
    return {"rows": rows, "rounds": ROUNDS, **describe(threads=THREADS, batch=BATCH)}


def _batch(case: str) -> Batch:
    """The model in eval mode, with statistics as after training, and one batch."""
    name, shape, params = CASES[case]
    model = seeded_model(lambda: MODELS.get(name).build(shape, 10, **params), 0, 0).eval()
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    targets = torch.randint(0, 10, (BATCH,), generator=generator)
    if len(shape) == 1:
        return model, torch.randint(1, 2**14, (BATCH, *shape), generator=generator), targets
    inputs = torch.randn(BATCH, *shape, generator=generator)
    return model, inputs.to(memory_format=torch.channels_last), targets


def _in_double(case: str) -> Batch:
    model, inputs, targets = _batch(case)
    wide = inputs.double() if inputs.is_floating_point() else inputs
    return copy.deepcopy(model).double(), wide, targets


def _arms(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
    norms = GradientNorms(model)

    def ones() -> None:
        for i in range(ONES):
            _plain(model, inputs[i : i + 1], targets[i : i + 1])

    chunk = min(CHUNKS, key=lambda size: _seconds(lambda: _by_vmap(model, inputs, targets, size)))
    return {
        "plain": lambda: _plain(model, inputs, targets),
        "ours": lambda: norms(inputs, lambda outputs: cross_entropy(outputs, targets))[1],
        f"vmap(grad), chunks of {chunk}": lambda: _by_vmap(model, inputs, targets, chunk),
        "batches of one": ones,
    }


def _plain(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(inputs), targets).backward()


def _by_vmap(
    model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, chunk: int
) -> torch.Tensor:
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(model, {**values, **dict(model.named_buffers())}, (x[None],))
        return F.cross_entropy(outputs, y[None])

    def norm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        parts = [g.square().sum() for g in grad(loss)(parameters, x, y).values()]
        return torch.stack(parts).sum().sqrt()

    return vmap(norm, chunk_size=chunk)(inputs, targets)


def _times(arms: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in arms}
    for round_number in range(ROUNDS + 1):
        for name, arm in arms.items():
            seconds = _seconds(arm) * (BATCH / ONES if name == "batches of one" else 1)
            if round_number:  # the first round warms up
                times[name].append(seconds)
    return times


def _seconds(arm: Callable[[], object]) -> float:
    start = time.perf_counter()
    arm()
    return time.perf_counter() - start


def _peak_memory(case: str, arm: str) -> int:
    """Peak memory above the loaded model and batch, in MB, of a few passes in a new process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(case, arm, send))
    process.start()
    megabytes: int = receive.recv()
    process.join()
    return megabytes


def _measure(case: str, arm: str, send: Any) -> None:
    with pinned_arithmetic(THREADS, "cpu", torch.__version__):
        model, inputs, targets = _batch(case)
        norms = GradientNorms(model)
        _plain(model, inputs[:1], targets[:1])  # loads what every pass loads
        model.zero_grad(set_to_none=True)
        before = _high_water()
        for _ in range(3):
            if arm == "plain":
                _plain(model, inputs, targets)
            else:
                norms(inputs, lambda outputs: cross_entropy(outputs, targets))
        peak = _high_water()
    send.send((peak - before) // 1024)


def _high_water() -> int:
    """Peak resident memory of this process in KB; ru_maxrss would begin with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
