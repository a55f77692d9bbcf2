"""Every task and kind of input through the whole flow: score, prune, load, explain, evaluate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.probe.plan import _first_seen_sha256
from dataprune.tables.scores import read_scores
from dataprune.versions.diff import diff_versions
from dataprune.versions.load import explain_row
from tests.conftest import png

RNG = np.random.default_rng(0)
TOPICS = [["red", "apple", "pear", "fruit"], ["wheel", "car", "road", "engine"], ["sea", "fish"]]


def texts(num_rows: int) -> list[str]:
    return [" ".join(RNG.choice(TOPICS[i % 3], 5)) + f" {i}" for i in range(num_rows)]


def source_of(task: str | None, num_rows: int = 150) -> tuple[dict[str, Any], str]:
    """Columns of a learnable source for a task, and the model that reads it."""
    x = RNG.normal(size=(num_rows, 4))
    features = pa.array(x.tolist(), pa.list_(pa.float64()))
    if task == "classification":
        return {
            "text": texts(num_rows),
            "label": [f"topic-{i % 3}" for i in range(num_rows)],
        }, "text_bag"
    if task == "multilabel":
        names = [[n for n, v in zip("abc", row[:3], strict=True) if v > 0] for row in x]
        return {"features": features, "label": names}, "mlp"
    if task == "regression":
        return {
            "features": features,
            "label": (x @ [1.0, -2.0, 3.0, 0.5] * 10 + 100).tolist(),
        }, "mlp"
    return {"text": texts(num_rows)}, "text_bag"


def recipe_of(task: str | None, folder: Path, **changes: Any) -> dict[str, Any]:
    columns, model = source_of(task)
    pq.write_table(pa.table(columns), folder / "data.parquet")
    return {
        "name": "t",
        "source": {"uri": str(folder / "data.parquet")},
        "task": task,
        "probe": {
            "model": {"name": model, "params": {"buckets": 500} if model == "text_bag" else {}},
            "batch_size": 16,
            "schedule_epochs": 12,
            "optimizer": {"lr": 0.05 if model == "mlp" else 0.1},
        },
        "scores": {"names": ["el2n", "loss"]},
        "seeds": 2,
        "holdout": {"folds": 3},
        **changes,
    }


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_task_goes_from_source_to_evaluation(tmp_path: Path, task: str) -> None:
    recipe = parse_recipe(recipe_of(task, tmp_path), where="tests")
    result = dataprune.score(recipe, work=tmp_path / "work")
    metric = {"classification": "accuracy", "multilabel": "exact match", "regression": "R2"}[task]
    assert result.timing[0].metric == metric
    assert result.timing[0].value > 0.7
    table = read_scores(result.path)
    assert table.meta["scores"]["el2n"]["task"] == task
    store = tmp_path / "store"
    for tag, keep in (("v1", 0.6), ("v2", 0.4)):
        made = dataprune.prune(result.path, name="t", tag=tag, keep=keep, store=store, control=True)
        assert made.rows_out == round(keep * 150)
    version = dataprune.load("t", "v1", store=store)
    assert version.frame().collect().height == 90
    assert len(version.arrow().to_table()) == 90
    told = explain_row(version, 0)
    assert told["scores"]["el2n"] == pytest.approx(table.values("el2n")[0])
    difference = diff_versions(version, dataprune.load("t", "v2", store=store))
    assert difference["kept"] == [90, 60]
    evaluation = dataprune.evaluate("t", "v1", store=store, work=tmp_path / "evaluation", seeds=1)
    assert evaluation.metric == metric
    by_arm = {row["arm"]: row for row in evaluation.rows}
    assert {"full", "v1", f"random@{by_arm['v1']['num_rows']}"} <= set(by_arm)
    assert by_arm["full"][metric.lower().replace(" ", "_")] > 0.6


def test_a_view_of_a_regression_source_is_proven_by_its_rows(tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_of("regression", tmp_path), where="tests")
    result = dataprune.score(recipe, work=tmp_path / "work")
    dataprune.prune(result.path, name="t", tag="v1", keep=0.5, store=tmp_path / "store", view=True)
    data = pq.read_table(tmp_path / "data.parquet")
    pq.write_table(data, tmp_path / "data.parquet", row_group_size=7)  # other bytes, the same rows
    assert len(dataprune.load("t", "v1", store=tmp_path / "store").arrow().to_table()) == 75
    labels = data.column("label").to_pylist()
    labels[3] += 1
    changed = data.set_column(1, "label", pa.array(labels))
    pq.write_table(changed, tmp_path / "data.parquet")
    with pytest.raises(dataprune.DatapruneError, match=r"row 3 .* differ in label"):
        dataprune.load("t", "v1", store=tmp_path / "store")


def test_a_source_without_labels_can_be_scored_at_random_pruned_and_loaded(tmp_path: Path) -> None:
    data = recipe_of(None, tmp_path, scores={"names": ["random"]})
    result = dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    made = dataprune.prune(result.path, name="t", tag="v1", keep=50, store=tmp_path / "store")
    assert made.classes == {"all": {"source": 150, "kept": 50, "dropped": 100}}
    version = dataprune.load("t", "v1", store=tmp_path / "store")
    assert version.frame().collect().columns == ["text"]
    with pytest.raises(UsageError, match="task is null, and a probe needs labels"):
        dataprune.score(
            parse_recipe({**data, "scores": {"names": ["el2n"]}}, where="tests"),
            work=tmp_path / "work",
        )
    with pytest.raises(UsageError, match="task: null"):
        dataprune.evaluate("t", "v1", store=tmp_path / "store", work=tmp_path / "e")


def test_a_score_that_the_task_cannot_have_stops_the_run_before_it_starts(tmp_path: Path) -> None:
    data = recipe_of("regression", tmp_path, scores={"names": ["el2n", "margin"]})
    with pytest.raises(UsageError, match="score margin reads margin, and a regression probe has"):
        dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    assert not (tmp_path / "work" / "units").exists()


def test_near_duplicate_texts_share_a_fold_and_can_be_pruned_to_one_each(tmp_path: Path) -> None:
    base = [
        f"where can i find the {a} that was lost on the {b} of the {c} yesterday"
        for a in ("book", "cat", "phone", "ring", "purse")
        for b in ("left", "shore", "roof", "train", "bridge")
        for c in ("house", "river", "castle", "city")
    ]
    both = [text for pair in ((t, t + "?") for t in base) for text in pair]
    labels = [f"topic-{i % 2}" for i in range(len(both))]
    data = recipe_of("classification", tmp_path, scores={"names": ["random"]})
    pq.write_table(pa.table({"text": both, "label": labels}), tmp_path / "data.parquet")
    data["source"] = {
        "uri": data["source"]["uri"],
        "groups": {"near": True, "params": {"threshold": 0.9}},
    }
    result = dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    groups = read_scores(result.path).table.column("group").to_numpy()
    assert np.array_equal(groups[0::2], groups[1::2])
    made = dataprune.prune(
        result.path, name="t", tag="v1", keep=20, max_per_group=1, store=tmp_path / "store"
    )
    assert made.reasons["group_is_full"] >= len(base)
    kept = dataprune.load("t", "v1", store=tmp_path / "store").rows
    assert len(set(groups[kept].tolist())) == 20


def test_a_users_own_network_is_a_probe_and_its_code_is_part_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "my_probe_module.py"
    code = """from torch import nn


def build(shape, num_outputs, *, width=8):
    return nn.Sequential(nn.Linear(shape[0], width), nn.ReLU(), nn.Linear(width, num_outputs))
"""
    module.write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = recipe_of("regression", tmp_path)
    data["probe"]["model"] = {"name": "my_probe_module:build", "params": {"width": 16}}
    recipe = parse_recipe(data, where="tests")
    assert dataprune.score(recipe, work=tmp_path / "work").trained == [0, 1]
    assert dataprune.score(recipe, work=tmp_path / "work").trained == []
    module.write_text(code + "\n# changed\n")
    assert dataprune.score(recipe, work=tmp_path / "work").trained == []  # the old code still runs
    sys.modules.pop("my_probe_module")  # as in a new process
    _first_seen_sha256.cache_clear()
    again = dataprune.score(recipe, work=tmp_path / "work")
    assert again.trained == [0, 1]
    assert any("inputs" in note or "code" in note for note in again.notes)


def test_dropout_in_a_users_network_gives_the_same_trace_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_dropout.py").write_text(
        "from torch import nn\n\n\ndef build(shape, num_outputs):\n"
        "    layers = nn.Linear(shape[0], 8), nn.Dropout(0.5), nn.Linear(8, num_outputs)\n"
        "    return nn.Sequential(*layers)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    data = recipe_of("regression", tmp_path)
    data["probe"]["model"] = {"name": "my_dropout:build"}
    data["scores"]["timing_gate"] = "off"
    recipe = parse_recipe(data, where="tests")
    one, other = (dataprune.score(recipe, work=tmp_path / w).path for w in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_a_control_keeps_as_many_of_each_group_as_its_version(tmp_path: Path) -> None:
    x = np.repeat(RNG.normal(size=(20, 3)), 3, axis=0)
    table = pa.table({"x": x.tolist(), "label": np.repeat(np.arange(20) % 2, 3)})
    pq.write_table(table, tmp_path / "data.parquet")
    data = recipe_of("classification", tmp_path, scores={"names": ["random"]})
    pq.write_table(table, tmp_path / "data.parquet")
    data["probe"] = {}
    result = dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    store = tmp_path / "store"
    dataprune.prune(
        result.path, name="t", tag="v1", keep=10, max_per_group=1, store=store, control=True
    )
    for tag in ("v1", "v1-control"):
        rows = dataprune.load("t", tag, store=store).rows
        assert len(set((rows // 3).tolist())) == len(rows) == 10


def test_traces_of_two_trainings_are_not_averaged(tmp_path: Path) -> None:
    data = recipe_of("regression", tmp_path)
    for name, lr in (("a", 0.05), ("b", 0.01)):
        data["probe"]["optimizer"] = {"lr": lr}
        data["seed"] = 0 if name == "a" else 7
        recipe = parse_recipe(
            {**data, "scores": {"names": ["el2n"], "timing_gate": "off"}}, where="t"
        )
        dataprune.score(recipe, work=tmp_path / "runs" / name)
    with pytest.raises(UsageError, match="trained otherwise"):
        dataprune.score(recipe, traces=tmp_path / "runs", out=tmp_path / "s.parquet")
    dataprune.score(recipe, traces=tmp_path / "runs" / "a", out=tmp_path / "s.parquet")


def test_a_network_with_other_outputs_than_asked_for_is_refused_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_seven.py").write_text(
        "from torch import nn\n\n\ndef build(shape, num_outputs):\n"
        "    return nn.Linear(shape[0], 7)\n"
    )
    monkeypatch.chdir(tmp_path)  # found in the folder one is in
    data = recipe_of("regression", tmp_path)
    data["probe"]["model"] = "my_seven:build"
    with pytest.raises(UsageError, match=r"answers two rows with shape \[2, 7\], not \[2, 1\]"):
        dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")


def test_images_of_a_version_come_to_torch_in_the_size_they_were_scored_in(tmp_path: Path) -> None:
    sizes = [(6, 9), (8, 5), (7, 7)] * 4
    images = [
        {"bytes": png(RNG.integers(0, 256, size, dtype=np.uint8)), "path": None} for size in sizes
    ]
    pq.write_table(pa.table({"image": images, "label": [0, 1] * 6}), tmp_path / "data.parquet")
    data = {
        "name": "i",
        "source": {"uri": str(tmp_path / "data.parquet"), "image": {"size": 5, "channels": 3}},
        "scores": {"names": ["random"]},
    }
    result = dataprune.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    dataprune.prune(result.path, name="i", tag="v1", keep=6, store=tmp_path / "store")
    version = dataprune.load("i", "v1", store=tmp_path / "store")
    assert {tuple(row["image"].shape) for row in version.torch()} == {(3, 5, 5)}  # type: ignore[attr-defined]
    assert len({tuple(row["image"].shape) for row in version.torch(raw=True)}) > 1  # type: ignore[attr-defined]


def test_a_source_called_like_its_version_is_found_and_not_the_versions_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()
    columns, _ = source_of(None)
    pq.write_table(pa.table(columns), "t/train.parquet")
    data = {"name": "t", "source": {"uri": "t"}, "task": "none"}
    result = dataprune.score(parse_recipe(data, where="tests"), work="work")
    dataprune.prune(result.path, name="t", tag="v1", keep=9, store="store", view=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made = dataprune.prune("../work/scores.parquet", name="t", tag="v2", keep=9, store="../store")
    assert made.rows_out == 9
