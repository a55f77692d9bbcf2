"""Ten seeds of an MLP stacked in one process (torch.func.vmap) against one after another.

The digits' shapes (1,797 rows of 64 numbers, batch 64), 20 epochs, one thread, CPU seconds, rounds
interleaved; both arms draw the same batches. Asked is whether stacking is faster, and whether the
outputs after training are the same bits.
"""

import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.machine import describe
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Batches, make_batches
from dataprune.probe.schedule import lr_factor
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import FitPlan, fit, pinned_arithmetic, seeded_generator
from dataprune.probe.unit import build_model

SEEDS, ROWS, EPOCHS, ROUNDS = 10, 1797, 20, 5
WIDTHS = {"128, 128": [128, 128], "512, 512": [512, 512]}


def run() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shared = {
        "inputs": rng.normal(size=(ROWS, 64)).astype(np.float32),
        "targets": rng.integers(0, 10, ROWS),
        "mean": np.zeros(64),
        "std": np.ones(64),
    }
    rows = []
    with pinned_arithmetic(1, "cpu", torch.__version__):
        for name, widths in WIDTHS.items():
            rows.append({"widths": name, **_compare(shared, widths)})
    return {"rows": rows, **describe(seeds=SEEDS, rounds=ROUNDS, load=os.getloadavg()[0])}


def _compare(shared: dict[str, Any], widths: list[int]) -> dict[str, Any]:
    probe = ProbeRecipe.model_validate(
        {
            "model": {"name": "mlp", "params": {"widths": widths}},
            "batch_size": 64,
            "optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005},
            "schedule_epochs": EPOCHS,
        }
    )
    alone, stacked = [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        one_by_one = [_alone(probe, shared, seed) for seed in range(SEEDS)]
        alone.append(time.process_time() - begun)
        begun = time.process_time()
        together = _stacked(probe, shared)
        stacked.append(time.process_time() - begun)
    apart = [(a - b).abs().max().item() for a, b in zip(one_by_one, together, strict=True)]
    equal = sum(torch.equal(a, b) for a, b in zip(one_by_one, together, strict=True))
    return {
        "one by one, CPU s": round(statistics.median(alone), 2),
        "stacked, CPU s": round(statistics.median(stacked), 2),
        "stacked / one by one": round(
            statistics.median(b / a for a, b in zip(alone, stacked, strict=True)), 2
        ),
        "seeds with the same bits": f"{equal} of {SEEDS}",
        "largest difference of a logit": f"{max(apart):.1e}",
    }


def _made(probe: ProbeRecipe, shared: dict[str, Any], seed: int) -> tuple[nn.Module, Batches]:
    generator = seeded_generator(0, seed)
    batches = make_batches(shared, "", None, probe, generator, torch.device("cpu"))
    return build_model(probe, shared["inputs"].shape, 10, 0, seed), batches


def _alone(probe: ProbeRecipe, shared: dict[str, Any], seed: int) -> torch.Tensor:
    model, batches = _made(probe, shared, seed)
    steps = batches.steps_per_epoch
    factor = lr_factor(probe.schedule, EPOCHS * steps)
    plan = FitPlan(probe.optimizer, factor, EPOCHS * steps)
    fit(model, TASKS.get("classification"), batches, plan, lambda _epoch, _loss: None)
    with torch.no_grad():
        outputs: torch.Tensor = model(torch.from_numpy(shared["inputs"]))
        return outputs


def _stacked(probe: ProbeRecipe, shared: dict[str, Any]) -> list[torch.Tensor]:
    """The same training, every seed's step at once; SGD with Nesterov momentum as torch has it."""
    made = [_made(probe, shared, seed) for seed in range(SEEDS)]
    base, (params, buffers) = made[0][0], stack_module_state([model for model, _ in made])  # type: ignore[no-untyped-call]
    task, optimizer = TASKS.get("classification"), probe.optimizer
    steps = made[0][1].steps_per_epoch
    factor = lr_factor(probe.schedule, EPOCHS * steps)

    def loss(p: Any, b: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return task.train_loss(functional_call(base, (p, b), (x,)), y)

    gradients = vmap(grad(loss))
    momenta: dict[str, torch.Tensor] = {}
    step = 0
    for _ in range(EPOCHS):
        for batches in zip(*(each.epoch() for _, each in made), strict=True):
            x = torch.stack([batch.inputs for batch in batches])
            y = torch.stack([batch.targets for batch in batches])
            found = gradients(params, buffers, x, y)
            rate = optimizer.lr * factor(step)
            with torch.no_grad():
                for name, value in params.items():
                    g = found[name].add(value, alpha=optimizer.weight_decay)
                    if name in momenta:
                        momenta[name].mul_(optimizer.momentum).add_(g)
                    else:
                        momenta[name] = g.clone()
                    value.add_(g.add(momenta[name], alpha=optimizer.momentum), alpha=-rate)
            step += 1
    with torch.no_grad():
        x = torch.from_numpy(shared["inputs"])
        outputs = vmap(lambda p, b: functional_call(base, (p, b), (x,)))(params, buffers)
        return list(outputs)
