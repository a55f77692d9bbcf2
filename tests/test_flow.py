"""The flow from end to end in Python: score, prune, load, evaluate, and what happens in between."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    BusyError,
    PartialError,
    ProbeError,
    UsageError,
)
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.flow import ScoreResult
from dataprune.runs.ledger import Ledger
from dataprune.tables.scores import read_scores

# A model from outside the package: it is found by its entry point, and cannot be built for some
# seeds as long as a file exists. A real cause of a partial run that goes away.
FRAGILE = """
import pathlib
import torch
from torch import nn
from dataprune.core.fingerprint import derive_seed
from dataprune.probe.models import Model

def build(shape, num_outputs, *, fails_for, while_there):
    refused = {derive_seed(0, s, *use, "init") for s in fails_for for use in ((), ("evaluate",))}
    if torch.initial_seed() in refused and pathlib.Path(while_there).exists():
        raise RuntimeError("this seed is out of luck")
    return nn.Linear(shape[0], num_outputs)

MODEL = Model("fragile", build)
"""


@pytest.fixture
def fragile(
    blobs_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Recipe, Path]:
    """A recipe whose seed 1 fails for as long as a file is there; and that file."""
    plugin = tmp_path / "plugin"
    info = plugin / "fragile_model-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "fragile_model.py").write_text(FRAGILE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile-model\nVersion: 1.0\n")
    entry_points = "[dataprune.probe.models]\nfragile = fragile_model:MODEL\n"
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(plugin))
    obstacle = tmp_path / "obstacle"
    obstacle.touch()
    params = {"fails_for": [1], "while_there": str(obstacle)}
    blobs_recipe["probe"]["model"] = {"name": "fragile", "params": params}
    blobs_recipe["seeds"] = 3
    return parse_recipe(blobs_recipe, where="tests"), obstacle


def test_the_flow_from_source_to_evaluation(
    recipe_data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    result = dataprune.score(
        parse_recipe(recipe_data, where="tests"),
        on_progress=lambda unit_id, _progress: told.append(unit_id),
    )
    assert result.status == "complete"
    assert result.seeds == result.trained == [0, 1]
    assert len(set(told)) == 2
    assert result.path == result.work / "scores.parquet"
    assert result.work.parent == Path(".dataprune/runs")

    pruned = dataprune.prune(
        result.path, keep=0.5, by="el2n", name="digits", tag="v1", control=True
    )
    assert (pruned.rows_in, pruned.rows_out) == (1797, 898)
    assert pruned.folder == Path(".dataprune/store/digits/v1")

    version = dataprune.load("digits", "v1")
    scores = pq.read_table(result.path).column("el2n").to_numpy()
    hardest = np.sort(np.argsort(-scores, kind="stable")[:898])
    assert np.array_equal(version.rows, hardest)
    assert version.frame().collect().shape == (898, 2)

    evaluation = dataprune.evaluate("digits", "v1", seeds=1)
    assert evaluation.status == "complete"
    by_arm = {row["arm"]: row for row in evaluation.rows}
    v1 = by_arm["v1"]
    assert list(by_arm)[:3] == ["full", f"random@{v1['num_rows']}", "v1"]
    sizes = [counts["source"] for counts in pruned.classes.values()]
    assert by_arm["full"]["num_rows"] == sum(size - round(0.2 * size) for size in sizes)
    assert all(row["accuracy"] > 0.8 for row in evaluation.rows)
    gain = v1["accuracy"] - by_arm[f"random@{v1['num_rows']}"]["accuracy"]
    assert v1["gain_over_random"] == pytest.approx(gain)


def test_an_evaluation_again_trains_nothing_and_more_seeds_only_themselves(
    tiny_scores: Path, tmp_path: Path
) -> None:
    flow.prune(tiny_scores, name="d", tag="v1", keep=0.5, by="el2n", store=tmp_path / "store")
    work = tmp_path / "work"
    runs: list[set[str]] = []
    results = []
    for seeds in (1, 1, 2):
        seen: set[str] = set()
        results.append(
            flow.evaluate(
                "d", "v1", seeds=seeds, store=tmp_path / "store", work=work,
                on_progress=lambda unit_id, _progress, into=seen: into.add(unit_id),
            )
        )  # fmt: skip
        runs.append(seen)
    arms = len(results[0].rows)
    assert [len(seen) for seen in runs] == [arms, 0, arms]
    assert results[0].rows == results[1].rows
    assert [row["seeds"] for row in results[2].rows] == [2] * arms
    firsts = [[row["per_seed"][0] for row in result.rows] for result in results]
    assert firsts[0] == firsts[2]


def test_the_same_score_again_trains_nothing_and_writes_the_same_bytes(
    tiny: Callable[..., ScoreResult],
) -> None:
    first = tiny()
    before = first.path.read_bytes()
    second = tiny()
    assert second.trained == []
    assert second.path.read_bytes() == before


def test_more_seeds_train_only_themselves_and_equal_a_run_of_all(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    assert tiny(seeds=2).trained == [0, 1]
    more = tiny(seeds=4)
    assert more.trained == [2, 3]
    assert more.seeds == [0, 1, 2, 3]
    assert more.notes == []
    at_once = tiny(seeds=4, work=tmp_path / "at once")
    assert more.path.read_bytes() == at_once.path.read_bytes()


def test_fewer_seeds_than_there_are_use_those_asked_for(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    few = tiny(seeds=2).path.read_bytes()
    tiny(seeds=3)
    again = tiny(seeds=2)
    assert again.trained == []
    assert again.path.read_bytes() == few


def test_scores_of_signals_that_were_recorded_train_nothing(
    tiny: Callable[..., ScoreResult],
) -> None:
    tiny()
    other = tiny(scores=["margin", "loss", "random"])
    assert other.trained == []
    assert other.notes == []
    assert list(other.reliability) == ["margin", "loss", "random"]


def test_a_score_whose_signals_were_not_recorded_trains_again_and_says_why(
    tiny: Callable[..., ScoreResult], caplog: pytest.LogCaptureFixture
) -> None:
    tiny()
    with caplog.at_level(logging.INFO, logger="dataprune"):
        other = tiny(scores=["forgetting"])
    assert other.trained == [0, 1]
    assert other.notes == [
        "training again: signals forget_events, learned, observed_epochs were not recorded"
    ]
    assert other.notes[0] in caplog.messages


def test_an_epoch_that_was_not_recorded_trains_again_and_says_why(
    tiny: Callable[..., ScoreResult],
) -> None:
    tiny()
    assert tiny(at=[4]).trained == []
    other = tiny(at=[3])
    assert other.trained == [0, 1]
    assert other.notes == ["training again: checkpoints 3 were not recorded"]


def test_a_run_folder_of_another_recipe_trains_again_and_says_why(
    tiny: Callable[..., ScoreResult], blobs_recipe: dict[str, Any]
) -> None:
    tiny()
    blobs_recipe["probe"]["batch_size"] = 32
    other = tiny()
    assert other.trained == [0, 1]
    assert other.notes == ["training again: the probe recipe is another"]


def test_a_damaged_trace_is_trained_again_and_the_table_is_the_same(
    tiny: Callable[..., ScoreResult],
) -> None:
    first = tiny()
    before = first.path.read_bytes()
    trace = Ledger(first.work).records()[0].path("trace.parquet")
    trace.write_bytes(trace.read_bytes()[:-10])
    again = tiny()
    assert len(again.trained) == 1
    assert again.path.read_bytes() == before


def test_a_busy_run_folder_is_refused(tiny: Callable[..., ScoreResult], tmp_path: Path) -> None:
    with Ledger(tmp_path / "work").exclusive(), pytest.raises(BusyError, match="in use"):
        tiny()


def test_a_run_short_of_a_seed_is_partial_says_so_and_is_completed_later(
    fragile: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, obstacle = fragile
    result = flow.score(recipe, work=tmp_path / "work")
    assert result.status == "partial"
    assert result.seeds == result.trained == [0, 2]
    assert [o.error for o in result.failed] == ["RuntimeError: this seed is out of luck"]
    meta = read_scores(result.path).meta
    assert meta["status"] == "partial"
    assert meta["seeds"] == [0, 2]
    assert len(meta["unit_ids"]) == 2

    pruned = flow.prune(result.path, name="d", tag="v1", keep=0.5, store=tmp_path / "store")
    assert any("partial" in warning for warning in pruned.warnings)

    obstacle.unlink()
    completed = flow.score(recipe, work=tmp_path / "work")
    assert completed.status == "complete"
    assert completed.trained == [1]
    assert read_scores(completed.path).meta["status"] == "complete"
    undisturbed = flow.score(recipe, work=tmp_path / "undisturbed")
    assert completed.path.read_bytes() == undisturbed.path.read_bytes()


def test_a_run_whose_every_seed_fails_writes_no_table(
    fragile: tuple[Recipe, Path], tmp_path: Path
) -> None:
    data = fragile[0].model_dump(mode="json")
    data["probe"]["model"]["params"]["fails_for"] = [0, 1, 2]
    with pytest.raises(ProbeError, match="every unit failed; the first: RuntimeError: this seed"):
        flow.score(parse_recipe(data, where="tests"), work=tmp_path / "work")
    assert not (tmp_path / "work" / "scores.parquet").exists()


def test_rows_that_no_seed_trained_on_are_an_error_not_a_low_score(
    fragile: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe = fragile[0].model_copy(update={"seeds": 2})
    with pytest.raises(PartialError, match="30 rows have no seed that trained on them") as caught:
        flow.score(recipe, work=tmp_path / "work")
    assert caught.value.exit_code == 3
    assert "run again" in (caught.value.hint or "")


def test_an_evaluation_short_of_a_unit_is_partial_and_completed_later(
    fragile: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, obstacle = fragile
    obstacle.unlink()
    scores = flow.score(recipe, work=tmp_path / "work")
    store, work = tmp_path / "store", tmp_path / "evaluate"
    flow.prune(scores.path, name="d", tag="v1", keep=0.5, store=store)
    obstacle.touch()
    result = flow.evaluate("d", "v1", seeds=2, store=store, work=work)
    assert result.status == "partial"
    arms = len(result.rows)
    assert result.failed == arms
    assert [row["seeds"] for row in result.rows] == [1] * arms
    obstacle.unlink()
    completed = flow.evaluate("d", "v1", seeds=2, store=store, work=work)
    assert completed.status == "complete"
    assert [row["seeds"] for row in completed.rows] == [2] * arms


def test_an_address_without_ray_is_refused(tiny: Callable[..., ScoreResult]) -> None:
    with pytest.raises(UsageError, match="has no effect with the local runner"):
        tiny(address="127.0.0.1:1")


def test_a_strategy_that_there_is_not_is_refused_before_any_probe_is_trained(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    blobs_recipe["prune"] = {"strategy": "hardets"}
    with pytest.raises(UsageError, match="no strategy named hardets"):
        dataprune.score(parse_recipe(blobs_recipe, where="tests"), work=tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_held_out_split_that_changed_after_scoring_is_not_evaluated_on(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "split"
    source.mkdir()
    table = pq.read_table(blobs_recipe["source"]["uri"])
    pq.write_table(table.slice(0, 200), source / "train.parquet")
    pq.write_table(table.slice(200), source / "test.parquet")
    blobs_recipe["source"]["uri"] = str(source)
    result = dataprune.score(parse_recipe(blobs_recipe, where="tests"), work=tmp_path / "work")
    store = tmp_path / "store"
    dataprune.prune(result.path, keep=0.5, name="d", tag="v1", store=store)
    turned = table.slice(200).column("label").to_pylist()[::-1]
    changed = table.slice(200).set_column(1, "label", [turned])
    pq.write_table(changed, source / "test.parquet")
    with pytest.raises(AlignmentError, match="held-out split"):
        dataprune.evaluate("d", "v1", seeds=1, store=store, work=tmp_path / "evaluation")
