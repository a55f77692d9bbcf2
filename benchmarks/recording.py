"""What recording core scores costs every epoch, over plain training, without gradients.

All arms train the same small CNN for one epoch and measure held-out accuracy, in interleaved
rounds on one thread; a ratio is the median of the rounds' paired ratios of CPU time. The bars:
eval mode within 1.1 times plain training and one forward over the data; train mode within 1.05
times plain training.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe
from dataprune.core.recipe import ProbeRecipe
from dataprune.core.recipe_training import Augment, Optimizer
from dataprune.probe.data import make_batches
from dataprune.probe.data import statistics as channel_statistics
from dataprune.probe.models import MODELS
from dataprune.probe.observer import EvalObserver
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import SIGNALS, Sizes, recorded_anyway
from dataprune.probe.step_observer import StepObserver
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    SCORE_BATCH,
    FitPlan,
    fit,
    pinned_arithmetic,
    quality,
    seeded_generator,
    seeded_model,
)

ROWS, HELD_OUT, BATCH, ROUNDS, THREADS = 10_240, 1_024, 128, 9, 1
CORE = ("el2n", "forget_events", "mean_logit_margin", "mean_p_label", "std_p_label", "window_dual")


def run() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (ROWS, 28, 28, 1), dtype=np.uint8)
    labels = rng.integers(0, 10, ROWS)
    mean, std = channel_statistics(images)
    shared = {"inputs": images, "targets": labels, "mean": mean, "std": std}
    arms: dict[str, Callable[[], None]] = {
        "plain training": lambda: _train(shared, None),
        "one forward over the data": lambda: _forward(shared),
        "recording, mode eval": lambda: _train(shared, EvalObserver),
        "recording, mode train": lambda: _train(shared, StepObserver),
    }
    times: dict[str, list[float]] = {name: [] for name in arms}
    with pinned_arithmetic(THREADS, "cpu", torch.__version__):
        for round_number in range(ROUNDS + 1):
            for name, arm in arms.items():
                start = time.process_time()
                arm()
                if round_number:  # the first round warms up
                    times[name].append(time.process_time() - start)
    plain = times["plain training"]
    both = [a + b for a, b in zip(plain, times["one forward over the data"], strict=True)]
    rows = [
        {
            "arm": name,
            "CPU s per epoch (median)": round(statistics.median(seconds), 3),
            "x plain training": _ratio(seconds, plain),
            "x plain and one forward": _ratio(seconds, both),
        }
        for name, seconds in times.items()
    ]
    signals = [signal.name for signal in _signals()]
    about = describe(threads=THREADS, batch=BATCH, model="small_cnn")
    return {"rows": rows, "rounds": ROUNDS, "num_rows": ROWS, "signals": signals, **about}


def _ratio(a: list[float], b: list[float]) -> float:
    return round(statistics.median(x / y for x, y in zip(a, b, strict=True)), 3)


def _signals() -> list[Any]:
    names = {*CORE, *recorded_anyway(TASKS.get("classification"), "eval", CORE)}
    return [SIGNALS.get(name) for name in sorted(names)]


def _model() -> torch.nn.Module:
    return seeded_model(lambda: MODELS.get("small_cnn").build((1, 28, 28), 10), 0, 0)


def _train(shared: dict[str, np.ndarray], kind: Any) -> None:
    probe = ProbeRecipe(batch_size=BATCH, augment=Augment(crop=2, flip=True))
    cpu, task, model = torch.device("cpu"), TASKS.get("classification"), _model()
    batches = make_batches(shared, "", None, probe, seeded_generator(0, 0), cpu)
    store = SignalStore(_signals(), ROWS, Sizes(10, 10), cpu)
    observer = kind(store, task, torch.ones(ROWS, dtype=torch.bool), [1]) if kind else None
    held_out = torch.arange(ROWS) < HELD_OUT

    def after_epoch(epoch: int, _loss: float) -> None:
        if observer:
            observer.after_epoch(epoch, model, batches)
        quality(model, task, batches, held_out)

    plan = FitPlan(Optimizer(), lambda _step: 0.1, batches.steps_per_epoch)
    fit(model, task, batches, plan, after_epoch, observer.step if observer else None)


def _forward(shared: dict[str, np.ndarray]) -> None:
    cpu, model = torch.device("cpu"), _model().eval()
    batches = make_batches(shared, "", None, ProbeRecipe(), seeded_generator(0, 0), cpu)
    with torch.inference_mode():
        for batch in batches.in_order(SCORE_BATCH["cpu"]):
            model(batch.inputs)
