"""Many scores from one job: side by side at several epochs, compared, advised on, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.stats import spearmanr

import dataprune
from dataprune.core.errors import UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.scores import SCORES
from dataprune.scores._catalogue import README, catalogue, markdown
from dataprune.tables.scores import read_scores
from tests.conftest import blobs, png

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(folder: Path, table: pa.Table | None = None, **changes: Any) -> Any:
    path = folder / "data.parquet"
    if not path.exists():
        pq.write_table(blobs(90) if table is None else table, path)
    base: dict[str, Any] = {
        "name": "t",
        "source": {"uri": str(path)},
        "probe": {
            "model": {"name": "mlp", "params": {"widths": [8]}},
            "batch_size": 16,
            "optimizer": {"lr": 0.05},
            "schedule_epochs": 4,
        },
        "scores": {"at": [3, 4], "window": 3, "timing_gate": "off"},
        "seeds": 4,
        "holdout": {"folds": 4},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) else value
    return parse_recipe(base, where="tests")


def test_every_registered_score_comes_from_one_job_and_stands_at_every_epoch_asked_for(
    tmp_path: Path,
) -> None:
    names = SCORES.names()
    made = dataprune.score(recipe(tmp_path), scores=names, work=tmp_path / "work")
    assert made.trained == [0, 1, 2, 3]
    table = read_scores(made.path)
    for name in names:
        score = SCORES.get(name)
        columns = [name] if score.at_init else [f"{name}@3", f"{name}@4", name]
        found = [column for column in table.columns if column.partition("@")[0] == name]
        assert sorted(found) == sorted(columns)
        spread = f"{name}_{'se' if score.over == 'difference' else 'std'}"
        assert spread in table.table.schema.names
        assert table.meta["scores"][name]["status"] == score.status
        assert np.isfinite(table.values(name)).all()
        if not score.at_init:
            assert np.array_equal(table.values(name), table.values(f"{name}@4"))
    assert table.meta["scores"]["grand_init"]["epoch"] == 0
    assert table.meta["scores"]["dual@3"]["window"] == 3
    assert "window" not in table.meta["scores"]["aum@3"]


def test_a_score_that_is_the_same_for_every_row_is_warned_of(tmp_path: Path) -> None:
    job = recipe(tmp_path, scores={"at": [1, 4]})
    made = dataprune.score(job, scores=["el2n", "variability"], at=[1], work=tmp_path / "work")
    assert made.warnings == ["score variability is 0 for every row: it ranks nothing"]
    pruned = dataprune.prune(
        made.path, keep=30, by="variability", name="t", tag="v1", store=tmp_path / "store"
    )
    assert "30 of the 30 kept rows were drawn among 90 that tie in variability" in pruned.warnings


def test_an_epoch_in_a_scores_name_is_told_where_epochs_go(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="score el2n@3 has an epoch in its name") as caught:
        dataprune.score(recipe(tmp_path), scores=["el2n@3"])
    assert caught.value.hint == "name the score and say when: --score el2n --at 3"


def test_scores_are_compared_pair_by_pair(tmp_path: Path) -> None:
    made = dataprune.score(
        recipe(tmp_path), scores=["el2n", "loss", "forgetting"], work=tmp_path / "work"
    )
    table = read_scores(made.path)
    pairs = {(p["a"], p["b"]): p for p in table.meta["between_scores"]}
    assert set(pairs) == {("el2n", "loss"), ("el2n", "forgetting"), ("loss", "forgetting")}
    for (a, b), pair in pairs.items():
        expected = spearmanr(table.values(a), table.values(b)).statistic
        assert pair["spearman"] == pytest.approx(expected, abs=1e-4)
        assert 0 <= pair["kept_half_overlap"] <= 1
    assert made.between == table.meta["between_scores"]


def test_too_few_seeds_are_told_how_many_more_would_do(tmp_path: Path) -> None:
    made = dataprune.score(
        recipe(tmp_path), scores=["el2n", "forgetting", "random"], work=tmp_path / "work"
    )
    told = {sentence.partition(":")[0]: sentence for sentence in made.advice}
    assert "random" not in told
    for name, sentence in told.items():
        r = made.reliability[name]["reliability"]
        assert r < 0.9
        assert "with 4 seeds; " in sentence
    alone = dataprune.score(recipe(tmp_path, seeds=1, holdout={"folds": 4}), scores=["random"])
    assert alone.advice == []


def test_memorization_is_high_where_a_label_contradicts_its_like(tmp_path: Path) -> None:
    table = blobs(120)
    labels = table.column("label").to_pylist()
    wrong = np.arange(0, 120, 10)
    for row in wrong:
        labels[row] = f"class-{(row + 1) % 3}"
    table = table.set_column(1, "label", pa.array(labels))
    job = recipe(
        tmp_path,
        table,
        probe={
            "model": {"name": "mlp", "params": {"widths": [128]}},
            "batch_size": 16,
            "optimizer": {"lr": 0.1, "weight_decay": 0},
            "schedule_epochs": 60,
        },
        scores={"at": [60]},
        holdout={"folds": 4, "repeats": 2},
        seeds=8,
    )
    made = dataprune.score(
        job, scores=["memorization", "heldout_el2n", "heldout_loss"], work=tmp_path / "work"
    )
    scores = read_scores(made.path)
    values = scores.values("memorization")
    right = np.setdiff1d(np.arange(120), wrong)
    assert values[wrong].mean() > values[right].mean() + 0.3
    assert scores.values("heldout_el2n")[wrong].min() > np.median(scores.values("heldout_el2n"))
    error = scores.table.column("memorization_se").to_numpy()
    assert (error > 0).all()
    assert scores.meta["scores"]["memorization"]["over"].startswith(
        "mean over in-sample seeds less"
    )


@pytest.mark.parametrize(
    ("changes", "score", "message"),
    [
        ({"seeds": 3}, "memorization", "with 4 folds that takes 4 seeds, and there are 3"),
        ({"scores": {"mode": "train"}}, "heldout_el2n", "training steps never show such a row"),
        ({"scores": {"window": 4}}, "dual", "windows of 4 epochs, and is asked for at epoch 3"),
        ({"scores": {"window": 2}}, "tdds", "tdds is 0 for every row with windows of 2 epochs"),
        ({"scores": {"mode": "train"}}, "grand", "training steps do not show it"),
    ],
)
def test_what_a_job_cannot_give_is_refused_before_it_trains(
    tmp_path: Path, changes: dict[str, Any], score: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        dataprune.score(recipe(tmp_path, **changes), scores=[score], work=tmp_path / "work")
    assert not list((tmp_path / "work").glob("units/*"))


def test_with_a_test_split_memorization_says_how_to_hold_rows_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(blobs(60), tmp_path / "data" / "train.parquet")
    pq.write_table(blobs(30, seed=1), tmp_path / "data" / "test.parquet")
    job = recipe(tmp_path, source={"uri": str(tmp_path / "data")})
    with pytest.raises(UsageError, match="with a test split no seed holds rows out") as caught:
        dataprune.score(job, scores=["memorization"], work=tmp_path / "work")
    assert "holdout: {folds: 4, repeats: 3}" in (caught.value.hint or "")


def test_mode_train_scores_a_whole_job_and_says_so_in_the_spec(tmp_path: Path) -> None:
    job = recipe(tmp_path, scores={"mode": "train"})
    names = ["el2n", "aum", "forgetting", "dual", "tdds", "lbpe"]
    made = dataprune.score(job, scores=names, at=[4], work=tmp_path / "work")
    specs = read_scores(made.path).meta["scores"]
    assert {spec["mode"] for spec in specs.values()} == {"train"}
    assert {spec["augmentation"] for spec in specs.values()} == {"as trained"}


def test_scores_of_mode_train_depend_on_no_other_epoch_that_was_recorded(tmp_path: Path) -> None:
    job = recipe(tmp_path, scores={"mode": "train"})
    both = dataprune.score(job, scores=["el2n"], at=[1, 3], work=tmp_path / "both")
    served = dataprune.score(job, scores=["el2n"], at=[3], work=tmp_path / "both")
    fresh = dataprune.score(job, scores=["el2n"], at=[3], work=tmp_path / "fresh")
    assert (both.trained, served.trained) == ([0, 1, 2, 3], [])
    values = [read_scores(made.path).values("el2n") for made in (served, fresh)]
    assert np.array_equal(*values)


def test_a_run_short_of_the_seed_that_held_rows_out_leaves_memorization_out_and_says_so(
    tmp_path: Path,
) -> None:
    job = recipe(tmp_path, scores={"at": [4]})
    made = dataprune.score(job, scores=["el2n", "memorization"], work=tmp_path / "work")
    units = sorted((tmp_path / "work" / "units").iterdir())
    seed_0 = next(u for u in units if '"seed": 0' in (u / "unit.json").read_text())
    whole = read_scores(made.path)
    for file in seed_0.iterdir():
        file.unlink()
    traces = tmp_path / "short"
    for unit in units:
        if unit != seed_0:
            (traces / "units" / unit.name).mkdir(parents=True)
            for file in unit.iterdir():
                (traces / "units" / unit.name / file.name).write_bytes(file.read_bytes())
    short = dataprune.score(job, scores=["el2n", "memorization"], traces=traces)
    table = read_scores(short.path)
    assert short.status == table.meta["status"] == "partial"
    assert "memorization" not in table.columns
    assert "el2n" in table.columns
    assert any("rows have no seed that held them out" in warning for warning in short.warnings)
    assert whole.meta["status"] == "complete"


def test_a_run_folder_that_grew_is_scored_from_its_traces(tmp_path: Path) -> None:
    work = tmp_path / "work"
    dataprune.score(recipe(tmp_path, seeds=2), scores=["forgetting"], work=work)
    grown = dataprune.score(recipe(tmp_path), scores=["el2n"], work=work)
    assert grown.trained == [2, 3]
    again = dataprune.score(
        recipe(tmp_path), scores=["el2n"], traces=work, out=tmp_path / "again.parquet"
    )
    values = [read_scores(made.path).values("el2n") for made in (grown, again)]
    assert np.array_equal(*values)


def test_scores_of_the_untrained_model_pass_the_timing_gate(tmp_path: Path) -> None:
    job = recipe(
        tmp_path,
        probe={
            "model": {"name": "mlp", "params": {"widths": [8]}},
            "optimizer": {"lr": 1e-6},
            "schedule_epochs": 1,
        },
        scores={"at": [1], "timing_gate": "error"},
    )
    made = dataprune.score(job, scores=["grand_init", "input_norm"], work=tmp_path / "work")
    assert made.timing == []


@pytest.mark.parametrize("shown_each_time", [True, False])
def test_held_out_scores_of_recorded_traces_want_every_row_before_each_scored_checkpoint(
    tmp_path: Path, *, shown_each_time: bool
) -> None:
    pq.write_table(blobs(60), tmp_path / "data.parquet")
    labels = np.arange(60) % 3
    rng = np.random.default_rng(0)
    for seed in range(2):
        trained = np.arange(60) % 2 == seed
        folder = tmp_path / "traces" / f"seed{seed}"
        with dataprune.Recorder(folder, num_rows=60, mode="eval", in_sample=trained) as rec:
            for epoch in (1, 2):
                rows = np.arange(60) if shown_each_time or epoch == 1 else np.flatnonzero(trained)
                outputs = rng.normal(size=(len(rows), 3)).astype(np.float32)
                rec.step(rows, outputs, labels[rows])
                rec.checkpoint(epoch)
    asked = {"traces": tmp_path / "traces", "scores": ["heldout_el2n", "memorization"]}
    if shown_each_time:
        made = dataprune.score(tmp_path / "data.parquet", **asked)
        assert "memorization" in read_scores(made.path).columns
        return
    with pytest.raises(UsageError, match="was not shown all of them before checkpoint 2"):
        dataprune.score(tmp_path / "data.parquet", **asked)
    dataprune.score(tmp_path / "data.parquet", at=[1], **asked)


@pytest.mark.parametrize("score", ["dual", "lbpe"])
def test_recorded_traces_of_unlike_windows_are_not_mixed(tmp_path: Path, score: str) -> None:
    pq.write_table(blobs(60), tmp_path / "data.parquet")
    labels, rng = np.arange(60) % 3, np.random.default_rng(0)
    for window in (2, 3):
        folder = tmp_path / "traces" / str(window)
        with dataprune.Recorder(folder, num_rows=60, mode="eval", window=window) as rec:
            for epoch in (1, 2, 3):
                rec.step(range(60), rng.normal(size=(60, 3)).astype(np.float32), labels)
                rec.checkpoint(epoch)
    asked = {"traces": tmp_path / "traces", "out": tmp_path / "out.parquet"}
    with pytest.raises(UsageError, match=r"has windows of 2 epochs, and .* of 3"):
        dataprune.score(tmp_path / "data.parquet", scores=[score], **asked)
    dataprune.score(tmp_path / "data.parquet", scores=["el2n"], **asked)


def test_gradients_of_images_and_text_go_through_the_same_job(tmp_path: Path) -> None:
    for kind, table, model in (
        ("image", _images(48), {"name": "small_cnn", "params": {"widths": [4, 4]}}),
        ("bag", _texts(60), {"name": "text_bag", "params": {"buckets": 64, "dim": 8}}),
        (
            "transformer",
            _texts(60),
            {"name": "text_transformer", "params": {"buckets": 64, "dim": 8, "layers": 1}},
        ),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        job = recipe(
            folder,
            table,
            probe={"model": model, "batch_size": 16, "schedule_epochs": 2},
            scores={"at": [1, 2]},
        )
        made = dataprune.score(
            job, scores=["el2n", "grand", "grand_last", "grand_init"], work=folder / "work"
        )
        scores = read_scores(made.path)
        assert (scores.values("grand") >= scores.values("grand_last") * (1 - 1e-4)).all()
        assert not np.array_equal(scores.values("grand@1"), scores.values("grand@2"))
        assert not np.array_equal(scores.values("grand"), scores.values("grand_init"))


def _images(num_rows: int) -> pa.Table:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (num_rows, 8, 8)) + 60 * (np.arange(num_rows) % 3)[:, None, None]
    images = [{"bytes": png(image), "path": None} for image in pixels.astype(np.uint8)]
    return pa.table({"image": images, "label": np.arange(num_rows) % 3})


def _texts(num_rows: int) -> pa.Table:
    topics = ["red apple pear", "wheel car road", "sea fish boat"]
    texts = [f"{topics[i % 3]} {i}" for i in range(num_rows)]
    return pa.table({"text": texts, "label": [i % 3 for i in range(num_rows)]})


def test_a_recipe_file_takes_mode_and_window(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    data = yaml.safe_load(recipe(tmp_path, scores={"mode": "train"}).model_dump_json())
    path.write_text(yaml.safe_dump(data))
    assert dataprune.load_recipe(str(path)).scores.mode == "train"


def test_the_page_of_scores_is_what_the_code_says() -> None:
    assert README.read_text() == markdown()
    assert [entry["score"] for entry in catalogue()[:2]] == ["aum", "confidence"]
    for entry in catalogue():
        assert not any("|" in value or "\n" in value for value in entry.values()), entry["score"]
