"""The Recorder for transformers' Trainer: a clean ordered pass over the data after an epoch.

    trainer = Trainer(model, args, train_dataset=dataset,
                      callbacks=[dataprune.RecorderCallback("traces/seed0")])
    trainer.train()

The Trainer shuffles in its sampler, so a row id is the position in the dataset it was given.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dataprune.core.errors import UsageError, nearest
from dataprune.core.extras import require
from dataprune.probe.recorded_batch import whole
from dataprune.probe.recorder import Recorder

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    _transformers = require("transformers", extra="transformers", why="RecorderCallback")
    TrainerCallback = _transformers.TrainerCallback

log = logging.getLogger("dataprune")


class RecorderCallback(TrainerCallback):
    """Records every example of the training dataset after each epoch, the model in eval mode.

    The pass goes through the dataset in order, with the Trainer's own collator, device and eval
    batch size, and changes nothing of the training: model mode and random state are put back.

    folder, task, seed, signals, in_sample: as for `Recorder`.
    every: record after every so many epochs.

    Raises:
        UsageError: on train begin, for what cannot be recorded: several processes, a dataset
            without a length, labels or logits that are not found; and whatever `Recorder` refuses.
        MissingExtraError: transformers is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        task: str = "classification",
        seed: int | None = None,
        every: int = 1,
        signals: Sequence[str] | None = None,
        in_sample: npt.ArrayLike | None = None,
    ) -> None:
        self.folder, self.task, self.seed = folder, task, seed
        self.every = whole(every, "every", least=1)
        self.signals, self.in_sample = signals, in_sample
        self._recorder: Recorder | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the name that the Trainer has for it
        **kwargs: Any,
    ) -> None:
        """Refuse what cannot be recorded before time is spent on it; open the trace."""
        if args.world_size > 1:
            raise UsageError(
                f"RecorderCallback records in one process, and there are {args.world_size}",
                hint="train in one process, or record with dataprune.Recorder in the first",
            )
        if state.global_step:
            raise UsageError(
                f"training resumes at step {state.global_step}, and a trace starts with training",
                hint="train from the beginning to record",
            )
        dataset = kwargs["train_dataloader"].dataset
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise UsageError(
                f"the training dataset is a {type(dataset).__name__} without length or positions",
                hint="record a dataset whose rows have positions (map-style)",
            )
        self._recorder = Recorder(
            self.folder,
            num_rows=len(dataset),
            mode="eval",
            task=self.task,
            seed=self.seed,
            signals=self.signals,
            in_sample=self.in_sample,
        )

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the name that the Trainer has for it
        **kwargs: Any,
    ) -> None:
        """Record and write a checkpoint, if it is this epoch's turn and the epoch is whole."""
        if self._recorder is None or state.epoch is None:
            raise UsageError("an epoch ended before training began; give the callback to a Trainer")
        epoch = math.ceil(state.epoch)
        if epoch != state.epoch:
            log.warning("training stopped inside epoch %d, which is not recorded", epoch)
            return
        if epoch % self.every:
            return
        record_dataset(self._recorder, kwargs["model"], kwargs["train_dataloader"], args)
        self._recorder.checkpoint(epoch)

    def on_train_end(self, *_told: Any, **_more: Any) -> None:
        """Close the trace."""
        if self._recorder is not None:
            self._recorder.close()


def record_dataset(
    recorder: Recorder, model: nn.Module, train_dataloader: Any, args: TrainingArguments
) -> None:
    """Show every row of the training dataset to the model once, in order, and record it.

    Raises:
        UsageError: the batches hold no labels, or the model gives no logits.
    """
    import torch
    from torch.utils.data import DataLoader

    name = _label_name(model, args)
    with _as_it_was(model, args.device), torch.no_grad():
        model.eval()
        loader: DataLoader[Any] = DataLoader(
            train_dataloader.dataset,
            batch_size=args.eval_batch_size,
            collate_fn=train_dataloader.collate_fn,
        )
        start = 0
        for batch in loader:
            if name not in batch:
                raise UsageError(
                    f"the batches have no {name}, which the targets should be",
                    hint=f"name them as label_names of TrainingArguments; {nearest(name, batch)}",
                )
            on_device = {key: _moved(value, args.device) for key, value in batch.items()}
            rows = range(start, start + len(batch[name]))
            recorder.step(rows, _logits(model(**on_device)), on_device[name])
            start = rows.stop


def _label_name(model: nn.Module, args: TrainingArguments) -> str:
    """The key of the targets in a batch: what the Trainer takes them for.

    Raises:
        UsageError: there is not exactly one.
    """
    from transformers.utils.generic import find_labels

    names = args.label_names or find_labels(type(model))  # type: ignore[no-untyped-call]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise UsageError(
            f"the targets should have one name, and {type(model).__name__} has {found}",
            hint="name it as label_names of TrainingArguments",
        )
    return str(names[0])


def _logits(outputs: Any) -> Any:
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    if logits is None:
        raise UsageError(
            f"the model returned {type(outputs).__name__} without logits",
            hint="return a dict or ModelOutput with loss and logits",
        )
    return logits


def _moved(value: Any, device: torch.device) -> Any:
    import torch

    return value.to(device) if isinstance(value, torch.Tensor) else value


@contextlib.contextmanager
def _as_it_was(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put back each module's mode and every random state that a pass may draw from."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - datasets draw from it
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        for module, training in modes:
            module.training = training
