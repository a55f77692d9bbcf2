"""One small scored run with the raw logits behind it, and a way to feed logits by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from dataprune.core.recipe import ProbeRecipe, Recipe, SourceRecipe, parse_recipe
from dataprune.probe.data import Epochs, Prepare, ResidentBatches, make_batches
from dataprune.probe.models import MODELS
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.schedule import lr_factor
from dataprune.probe.signals import SIGNALS
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    FitPlan,
    Observer,
    fit,
    pinned_arithmetic,
    seeded_generator,
    seeded_model,
)
from dataprune.probe.unit import probe_unit
from dataprune.scores import SCORES
from dataprune.scores._aggregate import per_seed_values
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from dataprune.sources._load import load as load_examples
from dataprune.tables.trace import Trace, read_trace

NUM_ROWS, NUM_CLASSES, NUM_EPOCHS = 150, 3, 6


def _noisy_blobs() -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Separable features (float64) whose every tenth label is that of the next class."""
    rng = np.random.default_rng(3)
    truth = np.arange(NUM_ROWS) % NUM_CLASSES
    centres = 2.5 * rng.normal(size=(NUM_CLASSES, 6))
    features = centres[truth] + rng.normal(size=(NUM_ROWS, 6))
    flipped = np.arange(NUM_ROWS) % 10 == 0
    labels = np.where(flipped, (truth + 1) % NUM_CLASSES, truth)
    return pa.table({"features": features.tolist(), "label": labels}), flipped


def _recipe(path: Path) -> Recipe:
    return parse_recipe(
        {
            "name": "watched",
            "source": {"uri": str(path)},
            "probe": {
                "model": {"name": "mlp", "params": {"widths": [16]}},
                "batch_size": 20,
                "optimizer": {"lr": 0.05},
                "schedule_epochs": NUM_EPOCHS,
            },
            "scores": {"names": SCORES.names(), "at": list(range(1, NUM_EPOCHS + 1))},
            "seeds": 3,
            "holdout": {"folds": 3},
        },
        where="tests",
    )


def _logits_by_epoch(spec: dict[str, Any], shared: dict[str, Any], recipe: Recipe) -> Any:
    """Train the same probe again and keep its raw outputs: {epoch: float64 (N, C)}."""
    probe, salt = recipe.probe, (spec["root_seed"], spec["seed"])
    task, kept = TASKS.get("classification"), {}
    with pinned_arithmetic(1, "cpu", torch.__version__) as device:
        rows = torch.from_numpy(np.flatnonzero(shared["folds/0"] != spec["fold"]))
        batches = make_batches(shared, "", rows, probe, seeded_generator(*salt), device)
        build = MODELS.get("mlp").build
        model = seeded_model(lambda: build((6,), NUM_CLASSES, widths=[16]), *salt)

        def after_epoch(epoch: int, _loss: float) -> None:
            model.eval()
            with torch.inference_mode():
                parts = [model(batch.inputs) for batch in batches.in_order(512)]
            kept[epoch] = torch.cat(parts).double().numpy()

        steps = batches.steps_per_epoch
        factor = lr_factor(probe.schedule, NUM_EPOCHS * steps)
        fit(model, task, batches, FitPlan(probe.optimizer, factor, NUM_EPOCHS * steps), after_epoch)
    return kept


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Three probes of noisy blobs, each row held out by exactly one.

    traces: {seed: Trace} as `probe_unit` wrote them, every registered score's signals.
    logits: {seed: {epoch: float64 (N, C)}}, the nets' own outputs, from a second training.
    labels: int64 (N,), as trained on. flipped: bool (N,), those labels are wrong. recipe, epochs.
    per_seed(name, epoch): the score, float64 (seeds, N), NaN where held out.
    """
    folder = tmp_path_factory.mktemp("watched")
    table, flipped = _noisy_blobs()
    pq.write_table(table, folder / "blobs.parquet")
    recipe = _recipe(folder / "blobs.parquet")
    loaded: Loaded = load_examples(open_source(SourceRecipe(uri=recipe.source.uri)))
    signals = {signal for name in SCORES.names() for signal in SCORES.get(name).signals}
    traces: dict[int, Trace] = {}
    logits = {}
    for unit in plan_units(recipe, loaded, signals, []).units:
        shared = shared_arrays(recipe, loaded)
        home = folder / unit.unit_id
        home.mkdir()
        probe_unit(unit.spec, shared, home, lambda _progress: None)
        traces[unit.spec["seed"]] = read_trace(home / "trace.parquet", signals)
        logits[unit.spec["seed"]] = _logits_by_epoch(unit.spec, shared, recipe)

    def per_seed(name: str, epoch: int) -> Any:
        return per_seed_values(SCORES.get(name), traces, epoch, root_seed=recipe.seed)

    return SimpleNamespace(
        traces=traces,
        logits=logits,
        labels=loaded.labels,
        flipped=flipped,
        recipe=recipe,
        epochs=range(1, NUM_EPOCHS + 1),
        per_seed=per_seed,
    )


class _Replay(nn.Module):
    """Answers with given logits; its input is the row number."""

    def __init__(self, logits_NC: torch.Tensor) -> None:
        super().__init__()
        self.logits_NC = logits_NC

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits_NC[inputs[:, 0].long()]


def _score_logits(name: str, epochs_ENC: Any, labels: Any) -> Any:
    num_rows = len(labels)
    task = TASKS.get("classification")
    observer = Observer(
        [SIGNALS.get(signal) for signal in SCORES.get(name).signals], num_rows, torch.device("cpu")
    )
    batches = ResidentBatches(
        torch.arange(num_rows, dtype=torch.float64)[:, None],
        Epochs(
            torch.as_tensor(np.asarray(labels, dtype=np.int64)),
            torch.arange(num_rows),
            Prepare(torch.zeros(1), torch.ones(1)),
            ProbeRecipe(batch_size=num_rows),
            torch.Generator(),
        ),
    )
    snapshots = {}
    for epoch, logits_NC in enumerate(epochs_ENC, start=1):
        logits = torch.as_tensor(np.asarray(logits_NC, dtype=np.float32))
        observer.observe(_Replay(logits), task, batches)
        snapshots[epoch] = {k: v.astype(np.float64) for k, v in observer.snapshot().items()}
    trace = Trace(np.ones(num_rows, dtype=np.bool_), snapshots)
    return [
        per_seed_values(SCORES.get(name), {0: trace}, epoch, root_seed=0)[0] for epoch in snapshots
    ]


@pytest.fixture(scope="session")
def score_logits() -> Callable[[str, Any, Any], Any]:
    """(score, logits per epoch (E, N, C), labels (N,)) -> the score after each epoch, (E, N)."""
    return _score_logits
