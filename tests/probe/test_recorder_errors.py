"""What a Recorder refuses: one sentence, and nothing is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataprune.core.errors import AlignmentError, DatapruneError, ProbeError, UsageError
from tests.probe.test_recorder import EASY, WRONG, Record, stored

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_trace_that_is_there_is_not_overwritten(record: Record) -> None:
    recorder = record()
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(1)
    with pytest.raises(UsageError, match=r"trace\.parquet is there already"):
        record()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "test"}, "mode is 'test'"),
        ({"task": "ranking"}, "there is no task named ranking"),
        ({"num_rows": 0}, "num_rows is 0, and should be a whole number from 1 on"),
        ({"num_rows": 2.5}, "num_rows is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
        ({"signals": ["el3n"]}, "there is no signal named el3n"),
        ({"signals": []}, "signals is empty"),
        (
            {"task": "regression", "signals": ["margin"]},
            "signal margin reads margin, and the outputs of task",
        ),
        ({"in_sample": [True, False]}, r"in_sample is bool \(2,\), and should be bool \(4,\)"),
        ({"in_sample": np.ones(4)}, "in_sample is float64"),
        ({"in_sample": np.zeros(4, bool)}, "with a row trained on"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    record: Record, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        record(**changes)


OUT, NAN, INF = [EASY, WRONG], [EASY, [0, float("nan"), 0]], [EASY, [0, float("inf"), 0]]
MIXED = [[0.5, 0.5, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("error", "task", "step", "message"),
    [
        (UsageError, "classification", ([0, 4], OUT, [0, 1]), "row 4 is out of range: .* 0 to 3"),
        (UsageError, "classification", ([-1, 0], OUT, [0, 1]), "row -1 is out of range"),
        (UsageError, "classification", ([0.0, 1.0], OUT, [0, 1]), r"rows are float64 \(2,\)"),
        (UsageError, "classification", ([], OUT, [0, 1]), "one at least"),
        (UsageError, "classification", ([0], OUT, [0]), "1 rows came with 2 outputs"),
        (UsageError, "classification", ([0, 1], OUT, [0]), "2 rows came with 1 targets"),
        (UsageError, "classification", ([0, 1], OUT, 0), "2 rows came with one number"),
        (UsageError, "classification", ([0, 1], [1.0, 2.0], [0, 1]), r"wants floats \(B, C\)"),
        (UsageError, "classification", ([0, 1], [[1], [2]], [0, 1]), r"outputs are torch.int64"),
        (UsageError, "classification", ([0, 1], [[1.0], [2.0]], [0, 1]), "logits|floats"),
        (UsageError, "classification", ([0, 1], [[[1.0]] * 2] * 2, [0, 1]), r"wants floats"),
        (UsageError, "classification", ([0, 1], {"logits": OUT}, [0, 1]), "outputs are of type di"),
        (UsageError, "classification", ([0, 1], [[1.0], [1.0, 2.0]], [0, 1]), "are of type list"),
        (ProbeError, "classification", ([2, 3], NAN, [0, 1]), "NaN or infinite for row 3"),
        (ProbeError, "classification", ([2, 3], INF, [0, 1]), "NaN or infinite for row 3"),
        (UsageError, "classification", ([0, 1], OUT, [0, 3]), "row 1 has the target 3, and there"),
        (UsageError, "classification", ([0, 1], OUT, [-1, 0]), "row 0 has the target -1"),
        (UsageError, "classification", ([0, 1], OUT, [0.0, 1.0]), "wants integers"),
        (UsageError, "classification", ([0, 1], OUT, MIXED), r"targets are float64 \(2, 3\)"),
        (AlignmentError, "classification", ([1, 1], OUT, [0, 2]), "row 1 had the target 0 before"),
        (UsageError, "multilabel", ([0, 1], OUT, MIXED), "row 0 has a target other than 0 and 1"),
        (UsageError, "multilabel", ([0, 1], OUT, [0, 1]), r"wants \(2, 3\)"),
        (AlignmentError, "multilabel", ([1, 1], OUT, [[1, 0, 0], [1, 1, 0]]), "has another one"),
        (UsageError, "regression", ([0, 1], OUT, [0.5, 1]), r"wants \(2, 3\)"),
        (UsageError, "regression", ([0, 1], [0.5, 1], [0, np.nan]), "row 1 has a target that is"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_sentence_and_leaves_no_trace(
    record: Record, error: type[DatapruneError], task: str, step: Any, message: str
) -> None:
    recorder = record(task=task)
    with pytest.raises(error, match=message) as caught:
        recorder.step(*step)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="checkpoint 1 comes before any step"):
        recorder.checkpoint(1)


def test_a_target_that_changes_between_steps_names_the_row(record: Record) -> None:
    recorder = record()
    recorder.step(range(4), [EASY] * 4, [0, 1, 2, 0])
    recorder.checkpoint(1)
    with pytest.raises(AlignmentError, match="row 2 had the target 2 before, and now has 1"):
        recorder.step([0, 2], [EASY] * 2, [0, 1])


def test_outputs_of_another_width_are_refused(record: Record) -> None:
    recorder = record()
    recorder.step([0], [EASY], [0])
    with pytest.raises(UsageError, match="outputs have 2 columns, and had 3 before"):
        recorder.step([1], [[0.0, 1.0]], [0])


def test_checkpoints_increase_and_have_steps_before_them(record: Record) -> None:
    recorder = record()
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    recorder.checkpoint(2)
    with pytest.raises(UsageError, match="checkpoint 3 comes without a step since checkpoint 2"):
        recorder.checkpoint(3)
    recorder.step(range(4), [EASY] * 4, [0] * 4)
    for epoch in (2, 1):
        with pytest.raises(UsageError, match=f"checkpoint {epoch} comes after checkpoint 2"):
            recorder.checkpoint(epoch)
    with pytest.raises(UsageError, match=r"the epoch of a checkpoint is 2\.5"):
        recorder.checkpoint(2.5)  # type: ignore[arg-type]
    recorder.checkpoint(3)
    assert sorted(stored(recorder).signals) == [2, 3]


def test_in_mode_eval_every_row_is_shown_before_each_checkpoint(record: Record) -> None:
    recorder = record(mode="eval")
    recorder.step([0, 1, 3], [EASY] * 3, [0] * 3)
    with pytest.raises(ProbeError, match=r"1 rows were not shown before checkpoint 1 \(.* row 2\)"):
        recorder.checkpoint(1)
    recorder.step([2], [EASY], [0])
    recorder.checkpoint(1)
    recorder.step([0], [EASY], [0])
    with pytest.raises(ProbeError, match=r"3 rows were not shown before checkpoint 2 \(.* row 1\)"):
        recorder.checkpoint(2)


def test_in_mode_train_a_row_outside_the_mask_is_refused(record: Record) -> None:
    recorder = record(in_sample=[True, True, False, True])
    with pytest.raises(UsageError, match="row 2 is trained on, and in_sample says that it is not"):
        recorder.step([1, 2], OUT, [0, 1])
