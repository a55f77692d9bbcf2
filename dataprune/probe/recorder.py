"""The Recorder: any training loop writes the trace that the built-in probes write.

    source -> your own training -> trace -> scores

It uses the built-in tasks and signals, so the same outputs give the same numbers. torch is imported
when a Recorder is made, not before: scoring recorded traces needs none.

Shape suffixes: N rows of the dataset, B batch, C classes or outputs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from dataprune._version import __version__
from dataprune.core.errors import AlignmentError, ProbeError, UsageError
from dataprune.core.extras import require
from dataprune.probe.recorded_batch import (
    Ints,
    label_codes,
    mask_of,
    outputs_of,
    rows_of,
    targets_of,
    whole,
)
from dataprune.tables.examples import occurrences
from dataprune.tables.trace import TRACE, write_trace

if TYPE_CHECKING:
    from dataprune.probe.signal_store import SignalStore
    from dataprune.probe.tasks import Observation

Mode = Literal["train", "eval"]

LABEL = "label"  # the column of a trace that holds `label_codes`
MODES = ("train", "eval")
UNSEEN = -1

log = logging.getLogger("dataprune")


class Recorder:
    """Records what a training loop shows of each row, and writes it as `folder/trace.parquet`.

        with dataprune.Recorder("traces/seed0", num_rows=len(dataset), mode="train") as rec:
            for epoch in range(1, epochs + 1):
                for rows, x, y in loader:
                    outputs = model(x)
                    ...
                    rec.step(rows, outputs, y)
                rec.checkpoint(epoch)

    folder: where the trace goes; one folder per seed. A trace that is there already is refused.
    num_rows: rows of the whole dataset, in the order of the source that will be scored.
    task: classification, multilabel or regression, as in a recipe.
    mode: "train" records the outputs of the training step itself, as old as the row's last step and
        augmented as it was; "eval" says that every row is shown to the model in eval mode, clean,
        before each checkpoint. Scores keep which it was.
    seed: number of the seed; default: the folders' order when they are scored.
    signals: what to record; default: every registered signal that outputs of the task show, but
        window_kl_spread (of tdds), which keeps an output per class.
    window: epochs in a window of dyn_unc, dual and tdds; the best epochs that lbpe is over.
    in_sample: bool (N,), the rows trained on; default: all. Scores average these only.

    In memory, on the CPU, it keeps a float32 per (checkpoint, row, signal), and about 90 more per
    row for what the default signals remember.

    Raises:
        UsageError: an argument that does not fit, or a trace in the folder.
        MissingExtraError: torch is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_rows: int,
        mode: Mode,
        task: str = "classification",
        seed: int | None = None,
        signals: Sequence[str] | None = None,
        in_sample: npt.ArrayLike | None = None,
        window: int = 10,
    ) -> None:
        require("torch", extra="probe", why="recording a trace")

        from dataprune.probe.signals import SIGNALS
        from dataprune.probe.tasks import TASKS

        if mode not in MODES:
            raise UsageError(f"mode is {mode!r}", hint=f"use one of {', '.join(MODES)}")
        self.num_rows = whole(num_rows, "num_rows", least=1)
        self.path = Path(folder) / TRACE
        if self.path.exists():
            raise UsageError(
                f"{self.path} is there already",
                hint="record into another folder, or remove it",
            )
        self.mode = mode
        self.seed = None if seed is None else whole(seed, "seed", least=0)
        self._task = TASKS.get(task)
        self.window = whole(window, "window", least=2)
        names = SIGNALS.names() if signals is None else list(dict.fromkeys(signals))
        if not names:
            raise UsageError("signals is empty", hint="leave it out to record all")
        self._signals = [SIGNALS.get(name) for name in names]
        if signals is None:  # all but those that remember an output per class
            self._signals = [
                s
                for s in self._signals
                if self._task.has.issuperset(s.reads) and not s.state.per_output
            ]
        for signal in self._signals:
            lacking = sorted(set(signal.reads) - self._task.has)
            if lacking:
                raise UsageError(
                    f"signal {signal.name} reads {', '.join(lacking)}, and the outputs of task "
                    f"{task} show none",
                    hint="leave it out of signals",
                )
        self._mask = None if in_sample is None else mask_of(in_sample, self.num_rows)
        self._store: SignalStore | None = None  # made when the first outputs tell their number
        self._labels: Ints = np.full(self.num_rows, UNSEEN, dtype=np.int64)
        self._shown = np.zeros(self.num_rows, dtype=np.bool_)  # since the last checkpoint
        self._in_sample: npt.NDArray[np.bool_] | None = None  # settled by the first checkpoint
        self._whole: list[int] = []  # checkpoints before which every row was shown
        self._recorded: dict[int, dict[str, npt.NDArray[np.float32]]] = {}
        self._num_outputs: int | None = None
        self._closed = False

    def step(self, rows: Any, outputs: Any, targets: Any) -> None:
        """Record one batch: torch tensors on any device and of any float type, or NumPy arrays.

        rows: positions in the dataset, integers (B,). A row that stands twice in the batch is taken
            twice, in order.
        outputs: what the model gives before softmax or sigmoid, floats (B, C); regression: (B,) or
            (B, C).
        targets: class indices (B,); multilabel: zeros and ones (B, C); regression: as `outputs`, on
            the scale that the model predicts.

        Nothing is recorded of a batch that is refused.

        Raises:
            UsageError: a row out of range, lengths, shapes or types that do not fit, targets that
                are no class; a row that in_sample leaves out, in mode "train".
            ProbeError: an output is NaN or infinite; the row is named.
            AlignmentError: a row's target is not what it was before; the row is named.
        """
        import torch

        from dataprune.probe.signal_store import SignalStore
        from dataprune.probe.signals import Sizes

        self._refuse_closed()
        task = self._task.name
        rows_B = rows_of(rows, self.num_rows)
        self._check_rows(rows_B)
        outputs_BC = outputs_of(task, outputs, rows_B)
        self._check_width(outputs_BC.shape[1])
        targets_B = targets_of(task, targets, rows_B, outputs_BC.shape[1])
        codes_B = label_codes(targets_B)
        self._check_labels(rows_B, codes_B)
        on_device = torch.from_numpy(targets_B).to(outputs_BC.device)
        with torch.no_grad(), torch.autocast(outputs_BC.device.type, enabled=False):
            seen = self._task.observe(outputs_BC, on_device)
            if self._store is None:
                sizes = Sizes(outputs_BC.shape[1], self.window)
                cpu = torch.device("cpu")
                self._store = SignalStore(self._signals, self.num_rows, sizes, cpu)
            nth_B = occurrences(rows_B)
            for nth in range(int(nth_B.max()) + 1):
                here = np.flatnonzero(nth_B == nth)
                self._store.put(torch.from_numpy(rows_B[here]), _part(seen, here), self._signals)
        self._labels[rows_B] = codes_B
        self._shown[rows_B] = True
        self._num_outputs = outputs_BC.shape[1]

    def checkpoint(self, epoch: int) -> None:
        """Take what every row's last step showed as epoch `epoch`, and write the trace anew.

        The file is replaced whole: a crash later keeps every checkpoint so far.

        Raises:
            UsageError: no step since the last checkpoint, or an epoch that does not increase.
            ProbeError: mode "eval", and a row was not shown since the last checkpoint.
        """
        import torch

        self._refuse_closed()
        epoch = whole(epoch, "the epoch of a checkpoint", least=0)
        last = max(self._recorded, default=None)
        if last is not None and epoch <= last:
            raise UsageError(f"checkpoint {epoch} comes after checkpoint {last}: epochs increase")
        if not self._shown.any():
            since = "before any step" if last is None else f"without a step since checkpoint {last}"
            raise UsageError(f"checkpoint {epoch} comes {since}", hint="call step first")
        expected = np.ones_like(self._shown) if self._mask is None else self._mask
        missing = np.flatnonzero(expected & ~self._shown)
        if self.mode == "eval" and len(missing):
            raise ProbeError(
                f"{len(missing)} rows were not shown before checkpoint {epoch} (first: row "
                f"{missing[0]})",
                hint="mode eval wants a pass over every row (no drop_last); name the rows trained "
                "on as in_sample if there are others",
            )
        if self._in_sample is None:
            self._in_sample = expected & self._shown
            if len(missing):
                log.info(
                    "%d of %d rows were not shown before checkpoint %d: they are not in-sample",
                    len(missing), self.num_rows, epoch,
                )  # fmt: skip
        assert self._store is not None
        with torch.no_grad():
            shown, in_sample = torch.from_numpy(self._shown), torch.from_numpy(self._in_sample)
            self._store.finish(shown, in_sample, self._signals)
        self._recorded[epoch] = {**self._store.snapshot(), LABEL: self._labels.astype(np.float32)}
        if self._shown.all():
            self._whole.append(epoch)
        write_trace(self.path, self._in_sample, self._recorded, self._meta())
        self._shown[:] = False

    def close(self) -> None:
        """End the recording; the trace is written by `checkpoint`, so nothing is left to write.

        Raises:
            UsageError: there was no checkpoint, so there is no trace.
        """
        if self._closed:
            return
        self._closed = True
        if not self._recorded:
            raise UsageError(
                f"there was no checkpoint, so {self.path} was not written",
                hint="call checkpoint(epoch) at the end of an epoch",
            )
        if self._shown.any():
            log.warning("steps after checkpoint %d are not in %s", max(self._recorded), self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        self._closed = True

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UsageError(f"the recorder of {self.path} is closed")

    def _meta(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "task": self._task.name,
            "seed": self.seed,
            "num_rows": self.num_rows,
            "num_outputs": self._num_outputs,
            "window": self.window,
            "whole": self._whole,
            "dataprune": __version__,
        }

    def _check_rows(self, rows_B: Ints) -> None:
        if self.mode == "train" and self._mask is not None and not self._mask[rows_B].all():
            row = rows_B[~self._mask[rows_B]][0]
            raise UsageError(
                f"row {row} is trained on, and in_sample says that it is not",
                hint="mend in_sample; leave it out to take the rows that are shown",
            )

    def _check_width(self, num_outputs: int) -> None:
        if self._num_outputs not in {None, num_outputs}:
            raise UsageError(
                f"outputs have {num_outputs} columns, and had {self._num_outputs} before"
            )

    def _check_labels(self, rows_B: Ints, codes_B: Ints) -> None:
        _, first, place_B = np.unique(rows_B, return_index=True, return_inverse=True)
        before_B = self._labels[rows_B]
        known_B = np.where(before_B == UNSEEN, codes_B[first][place_B], before_B)
        changed = np.flatnonzero(known_B != codes_B)
        if len(changed):
            at = changed[0]
            was = f" {known_B[at]}" if self._task.name == "classification" else ""
            now = f"{codes_B[at]}" if self._task.name == "classification" else "another one"
            raise AlignmentError(
                f"row {rows_B[at]} had the target{was} before, and now has {now}",
                hint="rows must be positions in the dataset, whatever order the loader takes",
            )


def _part(seen: Observation, here: Ints) -> Observation:
    """Some examples of an observed batch."""
    if len(here) == len(seen.loss):
        return seen
    values = {f.name: getattr(seen, f.name) for f in dataclasses.fields(seen)}
    return dataclasses.replace(
        seen, **{name: value[here] for name, value in values.items() if value is not None}
    )
