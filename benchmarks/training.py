"""A probe's training loop against forward+backward alone and against a DataLoader loop.

All arms do the same steps on the same model in interleaved rounds; a ratio is the median of the
rounds' paired ratios. `resident` is the library's loop with crop and flip; the limit runs forward
and backward on one batch that is already prepared, without an optimiser.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import describe
from dataprune.core.recipe import ModelRecipe, ProbeRecipe
from dataprune.core.recipe_training import Augment, Optimizer
from dataprune.probe.data import make_batches
from dataprune.probe.data import statistics as channel_statistics
from dataprune.probe.models import MODELS
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import FitPlan, fit, pinned_arithmetic, seeded_generator, seeded_model

STEPS, BATCH, ROUNDS, THREADS = 40, 128, 7, 2
CROP = 2


class PerSample(Dataset[tuple[torch.Tensor, int]]):
    """What most training code does: decode, pad, crop and flip one sample at a time."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, mean: Any, std: Any) -> None:
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)
        self.labels = labels
        self.mean, self.std = (torch.from_numpy(a)[:, None, None].float() for a in (mean, std))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x = (self.images[index].float() - self.mean) / self.std
        size = x.shape[-1]
        x = F.pad(x[None], (CROP,) * 4, mode="reflect")[0]
        dy, dx = torch.randint(2 * CROP + 1, (2,)).tolist()
        x = x[:, dy : dy + size, dx : dx + size]
        return (x.flip(-1) if torch.rand(()) < 0.5 else x), int(self.labels[index])


def run() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * BATCH, 28, 28, 1), dtype=np.uint8)
    labels = rng.integers(0, 10, len(images))
    mean, std = channel_statistics(images)
    shared = {"inputs": images, "targets": labels, "mean": mean, "std": std}
    dataset = PerSample(images, labels, mean, std)
    with pinned_arithmetic(THREADS, "cpu", torch.__version__):
        arms: dict[str, Callable[[], None]] = {
            "resident": lambda: _resident(shared),
            "limit": lambda: _limit(images, mean, std, labels),
            **{
                f"DataLoader, {workers} workers": lambda w=workers: _loader(dataset, w)  # type: ignore[misc]
                for workers in (0, 1, 2)
            },
        }
        times: dict[str, list[float]] = {name: [] for name in arms}
        for round_number in range(ROUNDS + 1):
            for name, arm in arms.items():
                start = time.perf_counter()
                arm()
                if round_number:  # the first round warms up
                    times[name].append(time.perf_counter() - start)
    rows = []
    best_loader = min(
        (n for n in arms if n.startswith("Data")), key=lambda n: statistics.median(times[n])
    )
    for name in arms:
        rows.append(
            {
                "arm": name + (" (best)" if name == best_loader else ""),
                "ms per step (median)": round(1e3 * statistics.median(times[name]) / STEPS, 2),
                "x limit": _ratio(times[name], times["limit"]),
                "x resident": _ratio(times[name], times["resident"]),
            }
        )
    return {
        "rows": rows,
        "rounds": ROUNDS,
        **describe(threads=THREADS, batch=BATCH, model="small_cnn"),
    }


def _ratio(a: list[float], b: list[float]) -> float:
    return round(statistics.median(x / y for x, y in zip(a, b, strict=True)), 3)


def _model() -> nn.Module:
    return seeded_model(lambda: MODELS.get("small_cnn").build((1, 28, 28), 10), 0, 0)


def _resident(shared: dict[str, np.ndarray]) -> None:
    probe = ProbeRecipe(
        model=ModelRecipe(), batch_size=BATCH, augment=Augment(crop=CROP, flip=True)
    )
    batches = make_batches(shared, "", None, probe, seeded_generator(0, 0), torch.device("cpu"))
    plan = FitPlan(Optimizer(), lambda _step: 0.1, STEPS)
    fit(_model(), TASKS.get("classification"), batches, plan, lambda _epoch, _loss: None)


def _limit(images: np.ndarray, mean: Any, std: Any, labels: np.ndarray) -> None:
    model = _model()
    x = torch.from_numpy((images[:BATCH] - mean) / std).float().permute(0, 3, 1, 2)
    y = torch.from_numpy(labels[:BATCH])
    for _ in range(STEPS):
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()


def _loader(dataset: PerSample, workers: int) -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, drop_last=True)
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
