"""Time a short stretch of one unit: its own model, batches and observer, for some seconds each.

What a whole unit takes follows in proportion: steps of training, rows of a scoring pass. Nothing of
it is kept.

Shape suffixes: N rows, B batch, C outputs.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dataprune.core.disk_array import DiskArray
from dataprune.core.files import sha256_file, sync
from dataprune.core.protocols import Shared, Unit
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Batch, Batches, make_batches, tensor_of
from dataprune.probe.footprint import peak_bytes, reset_peak, resident_bytes
from dataprune.probe.observer import EvalObserver
from dataprune.probe.removal import OF_REMOVAL
from dataprune.probe.rows_pass import Call, RowsPass
from dataprune.probe.schedule import lr_factor
from dataprune.probe.signals import SIGNALS
from dataprune.probe.step_observer import StepObserver
from dataprune.probe.stopwatch import Kind, Part, Stopwatch
from dataprune.probe.tasks import TASKS, Task
from dataprune.probe.team import Team
from dataprune.probe.train import (
    FitPlan,
    fit,
    outputs_of,
    pinned_arithmetic,
    quality,
    seeded_generator,
    seeded_layers,
)
from dataprune.probe.unit import build_model, make_observer, num_pixels, trained_rows
from dataprune.tables.heldout import MOST_OUTPUTS, TOP
from dataprune.tables.trace import TRACE, write_trace

_WARM_STEPS = 5
_FEW_STEPS = 20
_BUSY = 0.85


@dataclass(frozen=True)
class Preview:
    """What a short stretch of one unit showed.

    parts: its kinds of work, each timed in part or whole.
    warm_up_s: what the first unit of a process takes besides.
    memory_bytes: resident memory above what was held before, the inputs' own bytes not counted.
    process_bytes: peak of this whole process, inputs and libraries included.
    gpu_bytes: peak of what was allocated on the GPU, inputs included; 0 on a CPU.
    trace_bytes, heldout_bytes: of the unit's files.
    device: what it ran on.
    warnings: what makes the figures doubtful, a sentence each.
    """

    parts: list[Part]
    warm_up_s: float
    memory_bytes: int
    process_bytes: int
    gpu_bytes: int
    trace_bytes: int
    heldout_bytes: int
    device: str
    warnings: list[str]


def preview_unit(unit: Unit, shared: Shared, limit_s: float) -> Preview:
    """Train and observe as the unit would, up to `limit_s` seconds for each kind of work.

    Raises:
        ProbeError: as the unit would: training diverged, no GPU, another torch.
    """
    spec = unit.spec
    with pinned_arithmetic(spec["threads"], spec["device"], spec["torch"]) as device:
        return _Stretch(spec, shared, device, limit_s).preview()


@dataclass
class _Made:
    """What a unit makes before it trains."""

    batches: Batches
    test: Batches | None
    model: nn.Module
    observer: EvalObserver | StepObserver
    held_out: torch.Tensor


class _Stretch:
    """One unit under a stopwatch."""

    def __init__(
        self, spec: dict[str, Any], shared: Shared, device: torch.device, limit_s: float
    ) -> None:
        self.spec, self.shared, self.device, self.limit_s = spec, shared, device, limit_s
        self.probe = ProbeRecipe.model_validate(spec["probe"])
        self.task: Task = TASKS.get(spec["task"])
        self.salt = (spec["root_seed"], spec["seed"])
        self.signals = [SIGNALS.get(name) for name in spec["signals"]]
        self.num_rows = len(shared["targets"])
        self.rows_seen = 0  # of a scoring pass, the most
        self.parts: list[Part] = []

    def preview(self) -> Preview:
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.init()  # type: ignore[no-untyped-call]
            torch.cuda.reset_peak_memory_stats(self.device)
        before = resident_bytes()
        reset_peak()
        cold, warm = self._stopwatch(), self._stopwatch()
        with cold.running():
            made = self._make()
        del made
        with warm.running():
            made = self._make()
        self.parts.append(warm.part("rest", "set-up", 1, 1))
        with seeded_layers(self.device, *self.salt):
            first_steps_s = self._train(made)
            self._observe(made)
            self._hold_out(made)
        trace_bytes = self._write(made)
        peak = peak_bytes()
        return Preview(
            parts=self.parts,
            warm_up_s=max(0.0, cold.seconds - warm.seconds) + first_steps_s,
            memory_bytes=max(0, peak - before) + self._not_yet_held(made),
            process_bytes=peak,
            gpu_bytes=torch.cuda.max_memory_allocated(self.device) if on_gpu else 0,
            trace_bytes=trace_bytes,
            heldout_bytes=self._heldout_bytes(made),
            device=torch.cuda.get_device_name(self.device) if on_gpu else "cpu",
            warnings=self._warnings(),
        )

    def _stopwatch(self) -> Stopwatch:
        on_gpu = self.device.type == "cuda"
        return Stopwatch(torch.cuda.synchronize if on_gpu else lambda: None)

    def _make(self) -> _Made:
        spec, shared, device = self.spec, self.shared, self.device
        in_sample = trained_rows(spec, shared)
        generator = seeded_generator(*self.salt)
        rows = tensor_of(np.flatnonzero(in_sample))
        batches = make_batches(shared, "", rows, self.probe, generator, device)
        test = None
        if "test_inputs" in shared:
            test = make_batches(shared, "test_", None, self.probe, generator, device)
        shape, alone = shared["inputs"].shape, Team()
        model = build_model(self.probe, shape, spec["num_outputs"], *self.salt).to(device)
        held_out = tensor_of(~in_sample).to(device)
        observer = make_observer(spec, self.task, batches, num_pixels(shape), ~held_out, alone)
        return _Made(batches, test, model, observer, held_out)

    def _train(self, made: _Made) -> float:
        """Time steps of training; returns the seconds of the first ones, which are not counted."""
        steps = made.batches.steps_per_epoch
        total = self.probe.last_epoch * steps
        skipped, count = min(_WARM_STEPS, total // 2), 0
        watch, observe = self._stopwatch(), made.observer.step

        def after_step(batch: Batch, outputs_BC: torch.Tensor) -> None:
            nonlocal count
            if observe is not None:
                observe(batch, outputs_BC)
            count += 1
            if count == skipped:
                watch.start()
            elif count > skipped and watch.since_start() >= self.limit_s:
                raise _EnoughError

        factor = lr_factor(self.probe.schedule, self.probe.schedule_epochs * steps)
        plan = FitPlan(self.probe.optimizer, factor, total, self.probe.precision)
        begun = time.perf_counter()
        if not skipped:
            watch.start()
        with contextlib.suppress(_EnoughError):
            fit(made.model, self.task, made.batches, plan, lambda _epoch, _loss: None, after_step)
        watch.stop()
        self.parts.append(watch.part("train", "training steps", count - skipped, total))
        return max(0.0, time.perf_counter() - begun - watch.seconds)

    def _observe(self, made: _Made) -> None:
        """Time the passes that record signals, one kind of epoch after another."""
        model, observer, epochs = made.model, made.observer, self.probe.last_epoch
        at = self.spec["checkpoints"]
        if self.spec["mode"] == "train":
            call: Call = lambda batches: observer.after_epoch(at[0], model, batches)  # noqa: E731
            self._time_whole("score", "end of an epoch", call, made.batches, epochs)
            self.rows_seen = self.num_rows
            return
        others = [epoch for epoch in range(1, epochs + 1) if epoch not in at]
        kinds: list[tuple[str, str, Call, int]] = [
            ("init", "before training", lambda b: observer.at_start(model, b), 1),
            ("epoch", "between", lambda b: observer.after_epoch(others[0], model, b), len(others)),
            ("checkpoint", "at", lambda b: observer.after_epoch(at[0], model, b), len(at)),
        ]
        for due, when, call, count in kinds:
            signals = [s for s in self.signals if s.when in _due(due)]
            if not signals or not count:
                continue
            what = f"scoring pass {when}" + ("" if due == "init" else " scored epochs")
            if any(OF_REMOVAL.intersection(signal.reads) for signal in signals):
                self._time_whole("score", what, call, made.batches, count)
                self.rows_seen = self.num_rows
            else:
                timed = RowsPass("score", what, call, made.batches, count, self.num_rows)
                self.rows_seen = self._time_rows(timed)

    def _hold_out(self, made: _Made) -> None:
        """Time what is measured on rows that the unit does not train on."""
        model, held_out, last = made.model, made.held_out, self.spec["heldout_last"]
        rows = None if made.test else held_out
        num_rows = len(self.shared["test_targets"]) if made.test else self.num_rows
        measured: Call = lambda b: quality(model, self.task, b, rows)  # noqa: E731
        told: Call = lambda b: outputs_of(model, b, held_out)  # noqa: E731
        of, epochs = made.test or made.batches, self.probe.last_epoch
        self._time_rows(
            RowsPass("held-out", "held-out quality", measured, of, epochs, num_rows, rows)
        )
        if last:
            what = "held-out outputs"
            self._time_rows(
                RowsPass("held-out", what, told, made.batches, last, self.num_rows, held_out)
            )

    def _time_rows(self, timed: RowsPass) -> int:
        parts, seen = timed.run(self._stopwatch, self.limit_s)
        self.parts.extend(parts)
        return seen

    def _time_whole(self, kind: Kind, what: str, call: Call, batches: Batches, count: int) -> None:
        watch = self._stopwatch()
        with watch.running():
            call(batches)
        self.parts.append(watch.part(kind, what, 1, count))

    def _write(self, made: _Made) -> int:
        """Time how the trace is written, of the rows that were seen; returns bytes of a whole."""
        watch, at = self._stopwatch(), self.spec["checkpoints"]
        shown, recorded = made.observer.finish()
        in_sample = shown[at[0]] if isinstance(shown, dict) else shown
        seen = np.arange(self.num_rows) < self.rows_seen
        if isinstance(shown, dict):
            seen = in_sample
        columns = {name: values[seen] for name, values in recorded[at[0]].items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / TRACE
            with watch.running():
                write_trace(path, in_sample[seen], {at[0]: columns}, {"mode": self.spec["mode"]})
                sync(path)
                sha256_file(path)
            num_bytes = path.stat().st_size
        rows, whole = int(seen.sum()), self.num_rows * len(at)
        self.parts.append(watch.part("rest", "writing the trace", rows, whole))
        return int(num_bytes * whole / rows)

    def _heldout_bytes(self, made: _Made) -> int:
        if not self.spec["heldout_last"]:
            return 0
        outputs = self.spec["num_outputs"]
        condensed = outputs > MOST_OUTPUTS and self.task.name == "classification"
        numbers = 2 * TOP + 2 if condensed else outputs
        return int(made.held_out.sum()) * (8 + 4 * numbers)

    def _not_yet_held(self, made: _Made) -> int:
        """Bytes of signals of the rows that no pass came to: untouched memory is not resident."""
        if self.device.type == "cuda":
            return 0
        held = [*made.observer.store.values.values(), *made.observer.store.states.values()]
        unseen = 1 - self.rows_seen / self.num_rows
        return round(unseen * sum(tensor.nbytes for tensor in held))

    def _warnings(self) -> list[str]:
        train = next(part for part in self.parts if part.kind == "train")
        found = []
        if train.done < min(_FEW_STEPS, train.whole // 2):
            found.append(
                f"only {train.done} of {train.whole} training steps were timed: give it more "
                "seconds"
            )
        seconds, cpu = (sum(getattr(p, s) for p in self.parts) for s in ("seconds", "cpu_seconds"))
        if self.device.type == "cpu" and self.spec["threads"] == 1 and cpu < _BUSY * seconds:
            found.append(
                f"this machine is busy: of {seconds:.1f} s that were timed this process had the "
                f"processor for {cpu:.1f} s"
            )
        if isinstance(self.shared["inputs"], DiskArray) and train.done < train.whole // (
            self.probe.last_epoch
        ):
            found.append("inputs are read from disk in blocks, and less than an epoch was timed")
        if any(OF_REMOVAL.intersection(signal.reads) for signal in self.signals):
            found.append(
                "scores mem_* take one whole pass to time, here with a probe that is hardly trained"
            )
        return found


class _EnoughError(Exception):
    """Training was timed for long enough."""


def _due(kind: str) -> tuple[str, ...]:
    """When signals are due at a kind of pass."""
    return ("epoch", "checkpoint") if kind == "checkpoint" else (kind,)
