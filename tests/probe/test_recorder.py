"""The Recorder: the built-in numbers from any loop, and a sentence for whatever does not fit."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import dataprune
from dataprune.core.errors import UsageError
from dataprune.core.recipe import ProbeRecipe
from dataprune.probe.data import Epochs, Prepare, ResidentBatches
from dataprune.probe.observer import EvalObserver
from dataprune.probe.recorded_batch import label_codes
from dataprune.probe.recorder import Recorder
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import AT_CHECKPOINTS, AT_EPOCHS, SIGNALS, Sizes, row_norms
from dataprune.probe.tasks import TASKS
from dataprune.tables.parquet import read_table
from dataprune.tables.trace import Trace, read_trace

pytestmark = pytest.mark.usefixtures("one_thread")
Record = Callable[..., Recorder]
CPU = torch.device("cpu")
EASY, WRONG = [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    return torch.as_tensor(x, dtype=torch.float32) / 16, torch.as_tensor(y)


def stored(recorder: Recorder, *signals: str) -> Trace:
    """What the file holds now."""
    return read_trace(recorder.path, signals)


def meta_of(path: Path) -> dict[str, Any]:
    return read_table(path, format_name="dataprune.trace", format_version=1)[1]


def test_a_plain_loop_records_what_the_built_in_observer_sees_bit_for_bit(tmp_path: Path) -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    task, signals = TASKS.get("classification"), [SIGNALS.get(n) for n in SIGNALS.names()]
    shown = [s for s in signals if task.has.issuperset(s.reads) and not s.state.per_output]
    store, everyone = SignalStore(shown, len(x), Sizes(10, 3), CPU), torch.ones(len(x)).bool()
    built_in = EvalObserver(store, task, everyone, [1, 2, 3], 0)
    rows = torch.arange(len(x))
    epochs = Epochs(y, rows, Prepare(None, None), ProbeRecipe(), torch.Generator())
    batches = ResidentBatches(x, epochs)
    expected = {}
    with dataprune.Recorder(tmp_path / "seed0", num_rows=len(x), mode="eval", window=3) as rec:
        for epoch in range(1, 4):
            model.train()
            for rows in torch.randperm(len(x)).split(64):
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            for rows in torch.arange(len(x)).split(128):
                rec.step(rows, model(x[rows]), y[rows])
            rec.checkpoint(epoch)
            built_in.after_epoch(epoch, model, batches)
            expected[epoch] = built_in.recorded[epoch]
    names = {signal.name for signal in shown}
    assert names == set(AT_CHECKPOINTS + AT_EPOCHS)
    assert expected[3]["forget_events"].sum() > 0
    trace = read_trace(tmp_path / "seed0" / "trace.parquet", names)
    for epoch, snapshot in expected.items():
        for name in names:
            seen = trace.signals[epoch][name].astype(np.float32)
            assert seen.tobytes() == snapshot[name].tobytes(), (epoch, name)


def test_the_same_outputs_give_the_same_numbers_in_any_order_and_any_batches(
    record: Record,
) -> None:
    outputs = torch.randn(300, 7, generator=torch.Generator().manual_seed(1)) * 8
    targets = torch.arange(300) % 7
    whole, pieces = record("a", num_rows=300), record("b", num_rows=300)
    whole.step(range(300), outputs, targets)
    for rows in torch.randperm(300, generator=torch.Generator().manual_seed(2)).split(37):
        pieces.step(rows, outputs[rows], targets[rows])
    seen = []
    for recorder in (whole, pieces):
        recorder.checkpoint(1)
        seen.append(stored(recorder, "el2n", "margin", "correct", "loss").signals[1])
    for name in ("el2n", "margin", "correct"):
        assert (seen[0][name] == seen[1][name]).all(), name
    # softplus computes the end of a batch without vector instructions: one bit of float32.
    np.testing.assert_allclose(seen[0]["loss"], seen[1]["loss"], rtol=2**-22)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_outputs_of_any_float_type_count_as_float32(record: Record, dtype: torch.dtype) -> None:
    outputs = torch.tensor([[1.5, -2.0, 0.25]] * 4, requires_grad=True)
    recorder, reference = record("a"), record("b")
    recorder.step(torch.arange(4), outputs.to(dtype), torch.tensor([0, 1, 2, 0]))
    reference.step(np.arange(4), outputs.detach().numpy(), [0, 1, 2, 0])
    for r in (recorder, reference):
        r.checkpoint(1)
    assert recorder.path.read_bytes() == reference.path.read_bytes()


def test_autocast_around_a_step_changes_nothing(record: Record) -> None:
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    inside, outside = record("a"), record("b")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside.step(range(4), outputs, [0, 1, 2, 0])
    outside.step(range(4), outputs, [0, 1, 2, 0])
    for r in (inside, outside):
        r.checkpoint(1)
    assert inside.path.read_bytes() == outside.path.read_bytes()


def test_a_step_leaves_the_gradient_graph_alone(record: Record) -> None:
    outputs = torch.zeros(4, 3, requires_grad=True)
    loss = nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 2, 0]))
    record().step(range(4), outputs, [0, 1, 2, 0])
    loss.backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None


def test_rows_that_repeat_in_a_batch_are_taken_one_after_the_other(record: Record) -> None:
    recorder = record()
    rows, outputs = [2, 0, 2, 2, 1, 3, 2], [EASY, EASY, WRONG, EASY, WRONG, EASY, WRONG]
    recorder.step(rows, outputs, [0] * 7)
    recorder.checkpoint(1)
    trace = stored(recorder, "forget_events", "learned", "correct").signals[1]
    assert trace["forget_events"].tolist() == [0, 0, 2, 0]
    assert trace["learned"].tolist() == [1, 0, 1, 1]
    assert trace["correct"].tolist() == [1, 0, 0, 1]


def test_signals_with_memory_count_every_step_that_shows_the_row(record: Record) -> None:
    recorder = record()
    for epoch, outputs in enumerate([EASY, WRONG, EASY, WRONG], start=1):
        recorder.step(range(4), [outputs] * 4, [0, 0, 0, 1])
        recorder.checkpoint(epoch)
    events = stored(recorder, "forget_events").signals
    assert [events[e]["forget_events"].tolist() for e in (1, 2, 3, 4)] == [
        [0, 0, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
        [2, 2, 2, 1],
    ]


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_other_tasks_record_the_signals_they_have(record: Record, task: str) -> None:
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    recorder = record(task=task)
    recorder.step(range(4), outputs, targets)
    recorder.checkpoint(1)
    seen = TASKS.get(task).observe(outputs, targets)
    trace = stored(recorder, "el2n", "loss").signals[1]
    assert trace["el2n"].astype(np.float32).tolist() == row_norms(seen.error_BC).tolist()
    assert trace["loss"].astype(np.float32).tolist() == seen.loss.tolist()
    table, _ = read_table(recorder.path, format_name="dataprune.trace", format_version=1)
    assert ("correct" in table.schema.names) == (task == "multilabel")
    assert "margin" not in table.schema.names


def test_one_number_per_row_is_regression_too(record: Record) -> None:
    recorder = record(task="regression")
    recorder.step(range(4), np.array([0.5, 1.0, 2.0, -1.0]), [0.5, 0.0, 2.0, 1.0])
    recorder.checkpoint(1)
    assert stored(recorder, "el2n").signals[1]["el2n"].tolist() == [0, 1, 0, 2]


def test_the_trace_says_what_it_is_and_which_labels_it_saw(record: Record) -> None:
    recorder = record(mode="eval", seed=7)
    recorder.step([3, 2, 1, 0], [EASY] * 4, [0, 1, 2, 0])
    recorder.checkpoint(5)
    assert stored(recorder, "label").signals[5]["label"].tolist() == [0, 2, 1, 0]
    told = meta_of(recorder.path)
    assert {k: told[k] for k in ("mode", "task", "seed", "num_rows", "num_outputs")} == {
        "mode": "eval", "task": "classification", "seed": 7, "num_rows": 4, "num_outputs": 3,
    }  # fmt: skip
    assert told["dataprune"] == dataprune.__version__


def test_label_codes_tell_rows_of_numbers_apart_and_fit_float32() -> None:
    sets = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(np.uint8)
    codes = label_codes(sets)
    assert len(np.unique(codes)) == 512
    assert (codes.astype(np.float32).astype(np.int64) == codes).all()
    assert (codes == label_codes(sets.astype(np.float64))).all()
    assert label_codes(np.array([[-0.0]])) == label_codes(np.array([[0.0]]))


def test_rows_not_shown_by_the_first_checkpoint_are_not_in_sample(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    recorder.step([0, 2], [EASY, EASY], [0, 0])
    with caplog.at_level(logging.INFO, logger="dataprune"):
        recorder.checkpoint(1)
    assert "2 of 4 rows were not shown before checkpoint 1" in caplog.text
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(2)
    assert stored(recorder).in_sample.tolist() == [True, False, True, False]


def test_a_given_mask_says_which_rows_are_in_sample(record: Record) -> None:
    recorder = record(mode="eval", in_sample=np.array([True, True, False, True]))
    recorder.step([0, 1, 3], [EASY] * 3, [0] * 3)
    recorder.checkpoint(1)
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(2)
    assert stored(recorder).in_sample.tolist() == [True, True, False, True]


def test_in_mode_train_a_row_keeps_what_its_last_step_showed(record: Record) -> None:
    recorder = record()
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(1)
    recorder.step([1], [WRONG], [0])
    recorder.checkpoint(2)
    assert stored(recorder, "correct").signals[2]["correct"].tolist() == [1, 0, 1, 1]


def test_only_the_signals_asked_for_are_recorded(record: Record) -> None:
    recorder = record(signals=["el2n"])
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(1)
    table, _ = read_table(recorder.path, format_name="dataprune.trace", format_version=1)
    assert table.schema.names == ["checkpoint", "row", "in_sample", "el2n", "label"]


KILLED = """
import os, signal, sys
from dataprune import Recorder
rec = Recorder(sys.argv[1], num_rows=2, mode="train")
for epoch in (1, 2):
    rec.step([0, 1], [[epoch, 0.0], [0.0, epoch]], [0, 0])
    rec.checkpoint(epoch)
rec.step([0, 1], [[9.0, 0.0], [0.0, 9.0]], [0, 0])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_keeps_every_checkpoint_before(tmp_path: Path, record: Record) -> None:
    command = [sys.executable, "-c", KILLED, tmp_path / "killed"]
    assert subprocess.run(command, check=False).returncode == -9
    whole = record(num_rows=2)
    for epoch in (1, 2):
        whole.step([0, 1], [[epoch, 0.0], [0.0, epoch]], [0, 0])
        whole.checkpoint(epoch)
    assert (tmp_path / "killed" / "trace.parquet").read_bytes() == whole.path.read_bytes()


def test_an_error_in_the_loop_is_not_hidden_by_the_missing_checkpoint(record: Record) -> None:
    def loop() -> None:
        with record() as recorder:
            recorder.step(range(4), [EASY] * 4, [0] * 4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()


def test_steps_after_the_last_checkpoint_are_told_of(
    record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    with record() as recorder:
        recorder.step(range(4), [EASY] * 4, [0] * 4)
        recorder.checkpoint(3)
        recorder.step(range(4), [EASY] * 4, [0] * 4)
    assert "steps after checkpoint 3 are not in" in caplog.text


def test_a_recorder_without_checkpoints_or_closed_says_so(record: Record) -> None:
    recorder = record()
    with pytest.raises(UsageError, match=r"there was no checkpoint, so .* was not written"):
        recorder.close()
    for use in (lambda: recorder.step([0], [EASY], [0]), lambda: recorder.checkpoint(1)):
        with pytest.raises(UsageError, match="is closed"):
            use()
