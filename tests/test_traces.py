"""Recorded traces become scores and versions, or a sentence says why they do not belong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import dataprune
from dataprune import flow
from dataprune.core.errors import AlignmentError, DatapruneError, TableError, UsageError
from dataprune.core.files import sha256_file
from dataprune.probe.recorder import Recorder
from dataprune.tables.scores import read_scores
from dataprune.tables.trace import read_trace

pytestmark = pytest.mark.usefixtures("one_thread")
NUM_ROWS = 12
LABELS = np.arange(NUM_ROWS) % 3
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve rows in three classes, with keys."""
    path = tmp_path_factory.mktemp("data") / "data.parquet"
    values = np.arange(NUM_ROWS * 2, dtype=np.float32).reshape(NUM_ROWS, 2)
    pq.write_table(pa.table({"features": values.tolist(), "label": LABELS}), path)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Record a trace of drawn outputs into `traces/FOLDER`; returns `traces`."""

    def make(
        folder: str = "seed0",
        *,
        epochs: tuple[int, ...] = (1, 2),
        targets: Any = LABELS,
        draw: int = 0,
        shown: tuple[int, ...] = tuple(range(NUM_ROWS)),
        **changes: Any,
    ) -> Path:
        settings = {"num_rows": len(targets), "mode": "train", **changes}
        generator = torch.Generator().manual_seed(draw)
        rows = [row for row in shown if row < len(targets)]
        with Recorder(tmp_path / "traces" / folder, **settings) as recorder:
            for epoch in epochs:
                outputs = torch.randn(len(targets), 3, generator=generator)
                recorder.step(rows, outputs[rows], np.asarray(targets)[rows])
                recorder.checkpoint(epoch)
        return tmp_path / "traces"

    return make


def test_ten_lines_of_ones_own_training_end_in_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels, labels = load_digits(return_X_y=True)
    x, y = torch.as_tensor(pixels, dtype=torch.float32) / 16, torch.as_tensor(labels)
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        with dataprune.Recorder(f"traces/seed{seed}", num_rows=len(x), mode="train") as rec:
            for epoch in range(1, 4):
                for rows in torch.randperm(len(x)).split(64):
                    outputs = model(x[rows])
                    loss = nn.functional.cross_entropy(outputs, y[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    rec.step(rows, outputs, y[rows])
                rec.checkpoint(epoch)
    made = dataprune.score("digits", traces="traces", scores=["el2n", "margin"])
    assert made.path == Path("traces/scores.parquet")
    assert (made.status, made.seeds, made.trained, made.failed) == ("complete", [0, 1, 2], [], [])
    assert made.reliability["el2n"]["split_half_spearman"] > 0.3
    seen = [read_trace(p, ["el2n"]).signals[3]["el2n"] for p in sorted(Path("traces").rglob("t*"))]
    table = read_scores(made.path)
    assert sorted(table.columns) == ["el2n", "el2n@3", "margin", "margin@3"]
    assert (table.values("el2n") == np.mean(seen, axis=0).astype(np.float32)).all()
    result = dataprune.prune(made.path, keep=0.5, by="el2n", name="digits", tag="v1")
    assert result.rows_out == 898
    assert dataprune.load("digits", "v1").frame().collect().shape == (898, 2)


def test_the_spec_says_how_a_train_mode_trace_came_about(data: Path, write: Write) -> None:
    traces = write("a", seed=5)
    write("b", seed=2, draw=1)
    made = flow.score(data, traces=traces, scores=["el2n", "forgetting", "random"])
    meta = read_scores(made.path).meta
    spec = meta["scores"]["el2n"]
    told = {"mode": "train", "augmentation": "as trained", "model": "external", "epoch": 2,
            "seeds": [2, 5], "holdout": "none", "task": "classification"}  # fmt: skip
    assert {key: spec[key] for key in told} == told
    assert spec.keys().isdisjoint({"schedule_epochs", "trained_in"})
    assert meta["scores"]["forgetting"]["counted"] == "per training step of the row"
    assert "mode" not in meta["scores"]["random"]
    assert meta["unit_ids"] == [sha256_file(traces / f / "trace.parquet") for f in ("b", "a")]
    assert meta["timing"] == made.timing == []
    assert made.notes == [
        "recorded traces hold no held-out accuracy: the timing gate was not applied"
    ]


def test_an_eval_mode_trace_is_as_clean_as_ours(data: Path, write: Write) -> None:
    made = flow.score(data, traces=write(mode="eval"), scores=["el2n", "forgetting"])
    meta = read_scores(made.path).meta
    assert meta["scores"]["el2n"]["mode"] == "eval"
    assert meta["scores"]["el2n"]["augmentation"] == "none"
    assert meta["scores"]["forgetting"]["counted"] == "per recorded pass"


def test_epochs_are_the_traces_own_whatever_the_recipe_trains(data: Path, write: Write) -> None:
    traces = write("a", epochs=(3, 50, 400))
    write("b", epochs=(3, 50), draw=1)
    last = flow.score(data, traces=traces, scores=["el2n"])
    assert sorted(read_scores(last.path).columns) == ["el2n", "el2n@50"]
    both = flow.score(data, traces=traces, scores=["el2n"], at=[50, 3])
    assert sorted(read_scores(both.path).columns) == ["el2n", "el2n@3", "el2n@50"]
    assert both.recipe.checkpoints == (3, 50)
    result = flow.prune(both.path, name="d", tag="v1", keep=0.5, dry_run=True)
    assert (result.by, result.rows_out) == ("el2n", 6)


def test_rows_a_seed_did_not_train_on_are_left_out_of_its_mean(data: Path, write: Write) -> None:
    traces = write("a", shown=tuple(range(1, NUM_ROWS)))
    write("b", draw=1)
    made = flow.score(data, traces=traces, scores=["el2n"])
    table = read_scores(made.path)
    only = read_trace(traces / "b" / "trace.parquet", ["el2n"]).signals[2]["el2n"]
    assert table.values("el2n")[0] == only[0].astype(np.float32)
    assert table.meta["scores"]["el2n"]["holdout"] == "as recorded"
    assert table.meta["scores"]["el2n"]["over"] == "mean over in-sample seeds"


def test_a_run_folder_of_ours_scores_as_it_did(tmp_path: Path, recipe_data: dict[str, Any]) -> None:
    recipe = dataprune.Recipe.model_validate(recipe_data)
    first = flow.score(recipe, work=tmp_path / "work", out=tmp_path / "first.parquet")
    made = flow.score(recipe, traces=tmp_path / "work", at=[2, 4], out=tmp_path / "again.parquet")
    tables = [read_scores(result.path) for result in (first, made)]
    assert tables[0].table.equals(tables[1].table)
    specs = [table.meta["scores"]["el2n@2"] for table in tables]
    assert specs[0] | {"holdout": ""} == specs[1] | {"holdout": ""}
    assert made.seeds == [0, 1]


def test_attempts_under_way_are_left_out(data: Path, write: Write) -> None:
    traces = write()
    shutil.copytree(traces / "seed0", traces / "units" / "u" / ".attempt-1")
    assert flow.score(data, traces=traces, scores=["el2n"]).seeds == [0]


def test_sets_of_labels_are_compared_row_by_row(tmp_path: Path, write: Write) -> None:
    sets = [[i for i in range(3) if (row + i) % 2] for row in range(NUM_ROWS)]
    features = [[float(row), 1.0] for row in range(NUM_ROWS)]
    pq.write_table(pa.table({"features": features, "label": sets}), tmp_path / "sets.parquet")
    recipe = dataprune.Recipe.model_validate(
        {"name": "m", "source": {"uri": str(tmp_path / "sets.parquet")}, "task": "multilabel"}
    )
    hot = np.asarray([[i in labels for i in range(3)] for labels in sets], dtype=np.int64)
    traces = write(targets=hot, task="multilabel")
    assert flow.score(recipe, traces=traces, scores=["el2n", "loss"]).warnings == []
    hot[7] = 1 - hot[7]
    write("seed1", targets=hot, task="multilabel")
    with pytest.raises(AlignmentError, match=r"row 7 of .*seed1.* differ in label; 1 rows"):
        flow.score(recipe, traces=traces, scores=["el2n"])


def test_regression_traces_are_compared_with_each_other_and_say_so(
    tmp_path: Path, write: Write
) -> None:
    numbers = [[float(row), row / 2, -1.0] for row in range(NUM_ROWS)]
    table = pa.table({"features": [[float(row), 1.0] for row in range(NUM_ROWS)], "label": numbers})
    pq.write_table(table, tmp_path / "numbers.parquet")
    recipe = dataprune.Recipe.model_validate(
        {"name": "r", "source": {"uri": str(tmp_path / "numbers.parquet")}, "task": "regression"}
    )
    targets = np.asarray(numbers) / 10
    traces = write(targets=targets, task="regression")
    (warning,) = flow.score(recipe, traces=traces, scores=["el2n"]).warnings
    assert "only the count of rows was compared with the source" in warning
    targets[3] += 1
    write("seed1", targets=targets, task="regression")
    with pytest.raises(AlignmentError, match=r"row 3 of .*seed1.* and of .*seed0.* differ"):
        flow.score(recipe, traces=traces, scores=["el2n"])


WRONG_LABELS = np.where(np.isin(np.arange(NUM_ROWS), [4, 9]), (LABELS + 1) % 3, LABELS)


@pytest.mark.parametrize(
    ("error", "recordings", "wanted", "message", "hint"),
    [
        (UsageError, [], {}, "there is no trace.parquet under", "dataprune.Recorder"),
        (AlignmentError, [{"targets": np.arange(9) % 3}], {}, "has 9 rows, and source .* has 12",
         "record again"),
        (AlignmentError, [{"targets": WRONG_LABELS}], {},
         r"row 4 of .* differ in label \(2 and 1\); 2 rows differ", "0, 1, 2"),
        (UsageError, [{"task": "multilabel", "targets": np.eye(3)[LABELS]}], {},
         "has task multilabel, and recipe data has classification", "set task"),
        (UsageError, [{"mode": "eval"}, {"mode": "train"}], {},
         "0/trace.parquet has mode eval, and .*1/trace.parquet has train", "score them apart"),
        (UsageError, [{"seed": 3}, {"seed": 3}], {}, "are both of seed 3", "different seeds"),
        (UsageError, [{"epochs": (1,)}, {"epochs": (2,)}], {}, "have no checkpoint in common", ""),
        (UsageError, [{"epochs": (1, 2)}, {"epochs": (2, 3)}], {"at": [2, 3]},
         "0/trace.parquet has no checkpoint 3", "all traces have 2"),
        (UsageError, [{"signals": ["el2n", "loss"]}], {"scores": ["margin"]},
         "score margin reads margin, and .* has none", "it has el2n, loss"),
        (UsageError, [{}], {"scores": ["random"]}, "traces have no effect on random", "leave"),
        (UsageError, [{}], {"seeds": 3}, "seeds has no effect with traces", ""),
        (UsageError, [{}], {"runner": "local"}, "runner has no effect with traces", ""),
        (UsageError, [{}], {"address": "auto"}, "address has no effect with traces", ""),
        (UsageError, [{}], {"work": "w"}, "work has no effect with traces", ""),
    ],
)  # fmt: skip
def test_traces_that_do_not_belong_are_one_sentence(
    data: Path,
    write: Write,
    tmp_path: Path,
    error: type[DatapruneError],
    recordings: list[dict[str, Any]],
    wanted: dict[str, Any],
    message: str,
    hint: str,
) -> None:
    for i, changes in enumerate(recordings):
        write(str(i), draw=i, **changes)
    with pytest.raises(error, match=message) as caught:
        flow.score(data, traces=tmp_path / "traces", **{"scores": ["el2n"], **wanted})
    assert hint in (caught.value.hint or "")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "traces" / "scores.parquet").exists()


def test_a_damaged_trace_is_one_sentence(data: Path, write: Write) -> None:
    path = write() / "seed0" / "trace.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        flow.score(data, traces=path.parent)


def test_a_unit_of_another_source_or_without_its_record_is_refused(
    tmp_path: Path, data: Path, recipe_data: dict[str, Any]
) -> None:
    recipe = dataprune.Recipe.model_validate(recipe_data)
    flow.score(recipe, work=tmp_path / "work", out=tmp_path / "first.parquet")
    shuffled = pq.read_table(data).take(np.arange(NUM_ROWS)[::-1])
    larger = pa.concat_tables([shuffled] * 150).slice(0, 1797)
    pq.write_table(larger, tmp_path / "other.parquet")
    with pytest.raises(AlignmentError, match="was recorded on another source than"):
        flow.score(tmp_path / "other.parquet", traces=tmp_path / "work", scores=["el2n"])
    for record in (tmp_path / "work").rglob("unit.json"):
        record.unlink()
    with pytest.raises(AlignmentError, match=r"holds no labels and no unit\.json"):
        flow.score(recipe, traces=tmp_path / "work")


def test_scoring_traces_needs_no_torch(data: Path, write: Write, tmp_path: Path) -> None:
    code = (
        "import json, sys, dataprune\n"
        "_, data, traces, out = sys.argv\n"
        "made = dataprune.score(data, traces=traces, scores=['el2n'], out=out)\n"
        "print(json.dumps([made.status, 'torch' in sys.modules, 'ray' in sys.modules]))"
    )
    command = [sys.executable, "-c", code, data, write(), tmp_path / "s.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["complete", False, False]
