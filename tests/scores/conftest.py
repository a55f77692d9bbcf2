"""One small scored run with the nets behind it, and ways to feed logits and nets by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from dataprune.core.protocols import Attempt
from dataprune.core.recipe import ProbeRecipe, Recipe, SourceRecipe, parse_recipe
from dataprune.probe.data import Epochs, Prepare, ResidentBatches, make_batches
from dataprune.probe.models import MODELS
from dataprune.probe.observer import EvalObserver
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.schedule import lr_factor
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import SIGNALS, Sizes
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    FitPlan,
    fit,
    pinned_arithmetic,
    seeded_generator,
    seeded_model,
)
from dataprune.probe.unit import probe_unit
from dataprune.scores import SCORES
from dataprune.scores._aggregate import per_seed_values
from dataprune.scores._pool import counting
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from dataprune.sources._load import load as load_examples
from dataprune.tables.trace import Trace, read_trace

NUM_ROWS, NUM_CLASSES, NUM_FEATURES, NUM_EPOCHS, WINDOW = 120, 3, 6, 6, 3
# Logits of (epochs, rows, classes).
TRAJECTORIES = arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(2, 4)),
    elements=st.floats(-30, 30, width=32),
)
DIRECTIONS = "hand-made"  # what score_nets draws random directions from


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    """Small tensors only wait for a second thread; restored after each file."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Shown:
    """What a net gave for one row after one epoch, in Python floats."""

    z: list[float]
    p: list[float]
    label: int

    @property
    def is_right(self) -> bool:
        """Whether the label has the largest logit."""
        return self.z.index(max(self.z)) == self.label


def _shown(logits: Sequence[float], label: int) -> Shown:
    z = [float(x) for x in logits]
    weights = [math.exp(x - max(z)) for x in z]
    return Shown(z, [w / math.fsum(weights) for w in weights], int(label))


def _noisy_blobs() -> tuple[pa.Table, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Separable features (float64) whose every tenth label is that of the next class."""
    rng = np.random.default_rng(3)
    truth = np.arange(NUM_ROWS) % NUM_CLASSES
    centres = 2.5 * rng.normal(size=(NUM_CLASSES, NUM_FEATURES))
    features = centres[truth] + rng.normal(size=(NUM_ROWS, NUM_FEATURES))
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
                "batch_size": 12,
                "optimizer": {"lr": 0.2},
                "schedule_epochs": NUM_EPOCHS,
            },
            "scores": {
                "names": SCORES.names(),
                "at": list(range(1, NUM_EPOCHS + 1)),
                "window": WINDOW,
            },
            "holdout": {"folds": 2, "repeats": 2},
        },
        where="tests",
    )


def _nets_by_epoch(
    spec: dict[str, Any], shared: dict[str, Any], recipe: Recipe
) -> tuple[dict[int, nn.Module], torch.Tensor]:
    """Train the same probe again; the net after each epoch (0: untrained), and what it reads."""
    probe, salt = recipe.probe, (spec["root_seed"], spec["seed"])
    task, nets = TASKS.get("classification"), {}
    with pinned_arithmetic(1, "cpu", torch.__version__) as device:
        in_sample = shared[f"folds/{spec['repeat']}"] != spec["fold"]
        rows = torch.from_numpy(np.flatnonzero(in_sample))
        batches = make_batches(shared, "", rows, probe, seeded_generator(*salt), device)
        build = MODELS.get("mlp").build
        model = seeded_model(lambda: build((NUM_FEATURES,), NUM_CLASSES, widths=[16]), *salt)

        def after_epoch(epoch: int, _loss: float) -> None:
            nets[epoch] = copy.deepcopy(model).eval()

        after_epoch(0, 0.0)
        steps = batches.steps_per_epoch
        factor = lr_factor(probe.schedule, NUM_EPOCHS * steps)
        fit(model, task, batches, FitPlan(probe.optimizer, factor, NUM_EPOCHS * steps), after_epoch)
        inputs = torch.cat([batch.inputs for batch in batches.in_order(50)])
    return nets, inputs


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Four probes of noisy blobs; each row is held out by two of them. Windows are of 3 epochs.

    traces: {seed: Trace} as `probe_unit` wrote them, every registered score's signals.
    nets: {seed: {epoch: module}}, from a second training; epoch 0 is untrained. inputs: float32
        (N, D), as the nets read them.
    logits: {seed: {epoch: float64 (N, C)}}, the nets' own outputs.
    shown: {seed: {epoch: [Shown of each row]}}, the same in Python floats.
    labels: int64 (N,), as trained on. flipped: bool (N,), those labels are wrong.
    recipe, epochs, window, salt(seed): what random directions are drawn from.
    per_seed(name, epoch): the score, float64 (seeds, N), NaN where the seed does not count.
    """
    folder = tmp_path_factory.mktemp("watched")
    table, flipped = _noisy_blobs()
    pq.write_table(table, folder / "blobs.parquet")
    recipe = _recipe(folder / "blobs.parquet")
    loaded: Loaded = load_examples(open_source(SourceRecipe(uri=recipe.source.uri)))
    labels = loaded.labels
    signals = {signal for name in SCORES.names() for signal in SCORES.get(name).signals}
    traces: dict[int, Trace] = {}
    nets: dict[int, dict[int, nn.Module]] = {}
    inputs = torch.empty(0)
    shared = shared_arrays(recipe, loaded)
    for unit in plan_units(recipe, loaded, signals, []).units:
        home = folder / unit.unit_id
        home.mkdir()
        probe_unit(unit.spec, shared, Attempt(home, lambda _progress: None))
        seed = unit.spec["seed"]
        traces[seed] = read_trace(home / "trace.parquet", signals)
        nets[seed], inputs = _nets_by_epoch(unit.spec, shared, recipe)
    with torch.no_grad():
        logits = {
            seed: {e: net(inputs).double().numpy() for e, net in by_epoch.items()}
            for seed, by_epoch in nets.items()
        }

    def per_seed(name: str, epoch: int) -> Any:
        score = SCORES.get(name)
        return per_seed_values(score, traces, epoch, root_seed=recipe.seed, labels=labels)

    return SimpleNamespace(
        traces=traces,
        nets=nets,
        inputs=inputs,
        logits=logits,
        shown={
            seed: {
                e: [_shown(z, y) for z, y in zip(z_NC.tolist(), labels.tolist(), strict=True)]
                for e, z_NC in by_epoch.items()
            }
            for seed, by_epoch in logits.items()
        },
        labels=labels,
        flipped=flipped,
        recipe=recipe,
        epochs=range(1, NUM_EPOCHS + 1),
        window=WINDOW,
        salt=lambda seed: (recipe.seed, seed),
        per_seed=per_seed,
    )


Slow = Callable[[list[Shown]], float]


@pytest.fixture(scope="session")
def equals_reference(watched: SimpleNamespace) -> Callable[..., None]:
    """(score, slow, ...): assert that the recorded score is what `slow` makes of each row.

    Compared for every seed, epoch and row that counts; `slow` is given all epochs so far, the
    newest last. Before the epoch `first` there must be no value, and none where a row does not
    count.
    """

    def check(
        name: str, slow: Slow, *, rel: float = 1e-5, absolute: float = 1e-6, first: int = 1
    ) -> None:
        for epoch in watched.epochs:
            values_SN = watched.per_seed(name, epoch)
            for seed, trace in watched.traces.items():
                counts = counting(trace.in_sample, SCORES.get(name).over) & (epoch >= first)
                assert np.array_equal(np.isnan(values_SN[seed]), ~counts)
                for row in np.flatnonzero(counts):
                    history = [watched.shown[seed][e][row] for e in range(1, epoch + 1)]
                    assert values_SN[seed, row] == pytest.approx(
                        slow(history), rel=rel, abs=absolute
                    )

    return check


@pytest.fixture(scope="session")
def slow_scores() -> Callable[[Slow, Any, Any], Any]:
    """(slow, logits per epoch (E, N, C), labels (N,)) -> `slow` after each epoch, (E, N)."""

    def run(slow: Slow, epochs_ENC: Any, labels: Any) -> Any:
        # As float32, which is what the score is given.
        shown = [
            [_shown(z, y) for z, y in zip(np.float32(z_NC), labels, strict=True)]
            for z_NC in epochs_ENC
        ]
        rows = range(len(labels))
        return [[slow([s[row] for s in shown[: e + 1]]) for row in rows] for e in range(len(shown))]

    return run


class _Replay(nn.Module):
    """Answers with given logits; its input is the row number."""

    def __init__(self, logits_NC: torch.Tensor) -> None:
        super().__init__()
        self.logits_NC = logits_NC

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits_NC[inputs[:, 0].long()]


def _score_nets(
    name: str,
    nets: Sequence[nn.Module],
    inputs: Any,
    labels: Any,
    *,
    untrained: nn.Module | None = None,
    window: int = WINDOW,
    in_sample: Any = None,
    outputs: int = NUM_CLASSES,
) -> Any:
    num_rows, score = len(labels), SCORES.get(name)
    stored = torch.as_tensor(np.asarray(inputs, dtype=np.float64))
    targets = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    mask = np.ones(num_rows, dtype=np.bool_) if in_sample is None else np.asarray(in_sample)
    sizes = Sizes(outputs, window, pixels=math.prod(stored.shape[1:3]))
    signals = [SIGNALS.get(signal) for signal in score.signals]
    store = SignalStore(signals, num_rows, sizes, torch.device("cpu"))
    epochs = range(1, len(nets) + 1)
    observer = EvalObserver(
        store, TASKS.get("classification"), torch.as_tensor(mask), epochs, DIRECTIONS
    )
    batches = ResidentBatches(
        stored,
        Epochs(
            targets,
            torch.arange(num_rows),
            Prepare(torch.zeros(1), torch.ones(1)),
            ProbeRecipe(batch_size=num_rows),
            torch.Generator(),
        ),
    )
    if untrained is not None:
        observer.at_start(untrained, batches)
    for epoch, net in zip(epochs, nets, strict=True):
        observer.after_epoch(epoch, net, batches)
    recorded = {
        epoch: {signal: values.astype(np.float64) for signal, values in by_name.items()}
        for epoch, by_name in observer.recorded.items()
    }
    traces = {0: Trace(mask, recorded)}
    return [
        per_seed_values(score, traces, e, root_seed=0, labels=targets.numpy())[0] for e in epochs
    ]


@pytest.fixture(scope="session")
def score_nets() -> Callable[..., Any]:
    """(score, the net after each epoch, inputs, labels) -> the score after each epoch, (E, N)."""
    return _score_nets


@pytest.fixture(scope="session")
def score_logits() -> Callable[..., Any]:
    """(score, logits per epoch (E, N, C), labels (N,)) -> the score after each epoch, (E, N)."""

    def run(name: str, epochs_ENC: Any, labels: Any, **how: Any) -> Any:
        nets = [_Replay(torch.tensor(np.asarray(z_NC, dtype=np.float32))) for z_NC in epochs_ENC]
        rows = np.arange(len(labels))[:, None]
        return _score_nets(name, nets, rows, labels, outputs=nets[0].logits_NC.shape[1], **how)

    return run
