"""RecorderCallback in transformers' own Trainer: a clean pass, and training does not notice it."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

import dataprune
from dataprune.core.errors import AlignmentError, DatapruneError, UsageError
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Epochs, Prepare, ResidentBatches
from dataprune.probe.observer import EvalObserver
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import SIGNALS, Sizes
from dataprune.probe.tasks import TASKS
from dataprune.tables.trace import Trace, read_trace

pytestmark = pytest.mark.usefixtures("one_thread")
NUM_ROWS = 200
SIGNAL_NAMES = ("correct", "el2n", "forget_events", "learned", "loss", "margin")


class Digits(Dataset[dict[str, Any]]):
    """Examples that draw from every global random state, as augmentations do."""

    def __init__(self, *, noise: float = 0.0) -> None:
        x, y = load_digits(return_X_y=True)
        self.x = torch.as_tensor(x[:NUM_ROWS], dtype=torch.float32) / 16
        self.y, self.noise = torch.as_tensor(y[:NUM_ROWS]), noise

    def __len__(self) -> int:
        return NUM_ROWS

    def __getitem__(self, row: int) -> dict[str, Any]:
        drawn = random.random() + np.random.random() + float(torch.rand(()))  # noqa: NPY002, S311
        return {"x": self.x[row] + self.noise * drawn, "labels": self.y[row]}


class Net(nn.Module):
    """A plain module that returns a dict, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits."""
        logits = self.body(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def trainer(
    folder: Path, *callbacks: Any, model: nn.Module | None = None, data: Any = None, **args: Any
) -> Trainer:
    """A Trainer on the CPU that writes and reports nothing."""
    torch.manual_seed(0)
    settings = {
        "num_train_epochs": 2, "per_device_train_batch_size": 32, "per_device_eval_batch_size": 64,
        "learning_rate": 0.01, "use_cpu": True, "report_to": [], "save_strategy": "no",
        "disable_tqdm": True, "logging_strategy": "no",
    }  # fmt: skip
    return Trainer(
        model=Net() if model is None else model,
        args=TrainingArguments(output_dir=str(folder / "trainer"), **{**settings, **args}),
        train_dataset=Digits() if data is None else data,
        callbacks=list(callbacks),
    )


def recorded(folder: Path) -> Trace:
    return read_trace(folder / "trace.parquet", SIGNAL_NAMES)


class Watching(dataprune.RecorderCallback):  # type: ignore[misc]
    """Also keeps what the built-in observer sees of the same weights after each epoch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = Digits()
        self.seen: dict[int, dict[str, Any]] = {}
        store = SignalStore(
            [SIGNALS.get(name) for name in SIGNAL_NAMES],
            NUM_ROWS,
            Sizes(10, 10),
            torch.device("cpu"),
        )
        everyone = torch.ones(NUM_ROWS).bool()
        self.observer = EvalObserver(store, TASKS.get("classification"), everyone, range(1, 100), 0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record, then observe."""
        super().on_epoch_end(args, state, control, **kwargs)
        body = kwargs["model"].body
        rows = torch.arange(NUM_ROWS)
        epochs = Epochs(self.data.y, rows, Prepare(None, None), ProbeRecipe(), torch.Generator())
        batches = ResidentBatches(self.data.x, epochs)
        epoch = round(state.epoch)
        self.observer.after_epoch(epoch, body, batches)
        body.train()
        self.seen[epoch] = self.observer.recorded[epoch]


def test_a_plain_module_is_recorded_as_the_built_in_observer_sees_it(tmp_path: Path) -> None:
    watching = Watching(tmp_path / "seed0")
    trainer(tmp_path, watching, per_device_eval_batch_size=128).train()
    trace = recorded(tmp_path / "seed0")
    assert sorted(trace.signals) == sorted(watching.seen) == [1, 2]
    assert trace.in_sample.all()
    for epoch, snapshot in watching.seen.items():
        for name in SIGNAL_NAMES:
            seen = trace.signals[epoch][name].astype(np.float32)
            assert seen.tobytes() == snapshot[name].tobytes(), (epoch, name)


def test_training_is_the_same_with_and_without_the_callback(tmp_path: Path) -> None:
    weights, states = [], []
    for callbacks in ([], [dataprune.RecorderCallback(tmp_path / "seed0")]):
        made = trainer(tmp_path, *callbacks, data=Digits(noise=0.1))
        random.seed(1)
        made.train()
        assert made.model is not None
        weights.append(nn.utils.parameters_to_vector(made.model.parameters()).tolist())
        states.append((random.random(), float(np.random.random()), float(torch.rand(()))))  # noqa: NPY002, S311
    assert weights[0] == weights[1]
    assert states[0] == states[1]


class Halved(dataprune.RecorderCallback):  # type: ignore[misc]
    """Notes the mode of each module around the pass, one of them set apart from the rest."""

    modes: list[list[bool]]

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before and after."""
        model = kwargs["model"]
        model.train().body[2].eval()
        self.modes = [[module.training for module in model.modules()]]
        super().on_epoch_end(args, state, control, **kwargs)
        self.modes.append([module.training for module in model.modules()])


def test_each_module_gets_its_own_mode_back(tmp_path: Path) -> None:
    callback = Halved(tmp_path / "seed0")
    trainer(tmp_path, callback, num_train_epochs=1).train()
    before, after = callback.modes
    assert set(before) == {True, False}
    assert before == after


def test_a_transformers_model_is_recorded_in_order_with_its_own_collator(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, num_labels=3,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (70, 8), generator=generator)
    data = [{"input_ids": ids[i], "label": i % 3} for i in range(70)]
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    callback = dataprune.RecorderCallback(tmp_path / "seed0", seed=4)
    trainer(tmp_path, callback, model=model, data=data).train()
    trace = read_trace(tmp_path / "seed0" / "trace.parquet", ["el2n", "label"])
    assert trace.signals[2]["label"].tolist() == [i % 3 for i in range(70)]
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    expected = logits.softmax(dim=1) - nn.functional.one_hot(torch.arange(70) % 3, 3)
    np.testing.assert_allclose(trace.signals[2]["el2n"], expected.norm(dim=1), rtol=1e-4)


def test_every_k_epochs_records_those(tmp_path: Path) -> None:
    callback = dataprune.RecorderCallback(tmp_path / "seed0", every=2, signals=["el2n"])
    trainer(tmp_path, callback, num_train_epochs=3).train()
    assert sorted(read_trace(tmp_path / "seed0" / "trace.parquet", ["el2n"]).signals) == [2]


def test_an_epoch_that_is_cut_short_is_not_recorded_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = dataprune.RecorderCallback(tmp_path / "seed0")
    with caplog.at_level(logging.WARNING, logger="dataprune"):
        trainer(tmp_path, callback, max_steps=10).train()  # an epoch is 7 steps
    assert "training stopped inside epoch 2, which is not recorded" in caplog.text
    assert sorted(recorded(tmp_path / "seed0").signals) == [1]


def test_several_processes_are_refused() -> None:
    class Args:
        world_size = 2

    callback = dataprune.RecorderCallback("nowhere")
    with pytest.raises(UsageError, match="records in one process, and there are 2"):
        callback.on_train_begin(Args(), TrainerState(), TrainerControl())  # type: ignore[arg-type]


def test_resumed_training_is_refused(tmp_path: Path) -> None:
    made = trainer(tmp_path, save_strategy="epoch")
    made.train()
    made.add_callback(dataprune.RecorderCallback(tmp_path / "seed0"))
    (checkpoint, *_) = sorted((tmp_path / "trainer").glob("checkpoint-*"))
    with pytest.raises(UsageError, match=r"training resumes at step \d+"):
        made.train(resume_from_checkpoint=str(checkpoint))


class Stream(IterableDataset[dict[str, Any]]):
    """Rows without positions."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from (Digits()[row] for row in range(64))


class Silent(Net):
    """Trains, and keeps its logits to itself."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss alone."""
        return {"loss": super().forward(x, labels)["loss"]}


class Nameless(Net):
    """Takes its targets under a name that says nothing."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        """Loss and logits."""
        return super().forward(x, y)


class Renamed(Digits):
    """Labels that change from one pass to the next."""

    num_looks = 0

    def __getitem__(self, row: int) -> dict[str, Any]:
        self.num_looks += 1
        example = super().__getitem__(row)
        return {**example, "labels": (example["labels"] + self.num_looks // NUM_ROWS) % 10}


def y_named(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {
        "x": torch.stack([e["x"] for e in examples]),
        "y": torch.stack([e["labels"] for e in examples]),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "changes", "collator", "message"),
    [
        (UsageError, {"data": Stream(), "max_steps": 2}, None, "a Stream without length"),
        (UsageError, {"model": Silent()}, None, "the model returned dict without logits"),
        (UsageError, {"model": Nameless()}, y_named, "one name, and Nameless has none"),
        (UsageError, {"model": Nameless(), "label_names": ["z"]}, y_named, "batches have no z"),
        (AlignmentError, {"data": Renamed()}, None, "row 0 had the target"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(
    tmp_path: Path, error: type[DatapruneError], changes: Any, collator: Any, message: str
) -> None:
    made = trainer(tmp_path, dataprune.RecorderCallback(tmp_path / "seed0"), **changes)
    if collator is not None:
        made.args.remove_unused_columns = False
        made.data_collator = collator
    with pytest.raises(error, match=message):
        made.train()


def test_other_names_of_the_targets_are_found_in_the_arguments(tmp_path: Path) -> None:
    callback = dataprune.RecorderCallback(tmp_path / "seed0")
    made = trainer(tmp_path, callback, model=Nameless(), label_names=["y"])
    made.args.remove_unused_columns = False
    made.data_collator = y_named
    made.train()
    assert sorted(recorded(tmp_path / "seed0").signals) == [1, 2]


def test_every_has_to_be_a_whole_number() -> None:
    with pytest.raises(UsageError, match="every is 0"):
        dataprune.RecorderCallback("nowhere", every=0)
