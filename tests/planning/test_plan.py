"""`plan` counts what `score` would train, times some of it, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dataprune
from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.planning.plan import PlanResult

Plan = Callable[..., PlanResult]


@pytest.fixture
def plan(blobs_recipe: dict[str, Any], one_thread: None) -> Plan:
    """Plan the tiny recipe, or what a test made of it, timing next to nothing."""

    def run(**arguments: Any) -> PlanResult:
        recipe = parse_recipe(blobs_recipe, where="tests")
        return dataprune.plan(recipe, seconds=0.05, **arguments)

    return run


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_it_counts_the_units_that_score_would_train(
    plan: Plan, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    assert plan(work=work, seeds=3).units == ["seed 0", "seed 1", "seed 2"]
    tiny(seeds=2)
    planned = plan(work=work, seeds=3)
    assert planned.units == ["seed 2"]
    assert len(planned.finished) == 2
    assert tiny(seeds=3).trained == [2]


def test_with_every_unit_finished_nothing_is_timed(
    plan: Plan, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tiny()
    planned = plan(work=tmp_path / "work")
    assert (planned.units, planned.preview, planned.unit_s) == ([], None, 0.0)
    assert set(planned.walls.values()) == {0.0}
    assert planned.summary()["num_finished"] == 2


def test_it_says_why_finished_units_do_not_serve(
    plan: Plan, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tiny()
    planned = plan(work=tmp_path / "work", scores=["grand"])
    assert len(planned.units) == 2
    assert any("grad_norm" in reason for reason in planned.reasons)


def test_a_score_that_needs_no_probe_has_no_units(plan: Plan) -> None:
    planned = plan(scores=["random"])
    assert (planned.units, planned.preview) == ([], None)


@pytest.mark.parametrize("run", [{}, {"stream": True}])
def test_nothing_is_written(
    plan: Plan,
    blobs_recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    blobs_recipe["run"] = run
    blobs_recipe["probe"]["shuffle"] = {"name": "blocks"}
    before = files(tmp_path)
    plan()
    plan(work=tmp_path / "work")
    assert files(tmp_path) == before
    assert not (tmp_path / "work").exists()


def test_steps_and_rows_of_a_unit_are_counted_whole(
    plan: Plan, blobs_recipe: dict[str, Any]
) -> None:
    # 300 rows, a tenth held out, batches of 16: 16 steps in each of 4 epochs.
    blobs_recipe["scores"] = {"names": ["el2n", "forgetting", "grand_init"], "at": [2, 4]}
    planned = plan()
    assert planned.preview is not None
    whole = {part.what: part.whole for part in planned.preview.parts}
    assert whole == {
        "set-up": 1,
        "training steps": 64,
        "scoring pass before training, first batch": 1,
        "scoring pass before training": 172,
        "scoring pass between scored epochs, first batch": 2,
        "scoring pass between scored epochs": 2 * 172,
        "scoring pass at scored epochs, first batch": 2,
        "scoring pass at scored epochs": 2 * 172,
        "held-out quality, first batch": 4,
        "held-out quality": 4 * 172,
        "writing the trace": 600,
    }
    assert all(0 < part.done <= part.whole for part in planned.preview.parts)
    assert sum(planned.seconds.values()) == pytest.approx(
        sum(part.unit_seconds for part in planned.preview.parts)
    )


def test_without_a_signal_of_every_epoch_there_is_no_pass_between(plan: Plan) -> None:
    planned = plan(scores=["el2n"], at=[4])
    assert planned.preview is not None
    told = [part.what for part in planned.preview.parts if part.kind == "score"]
    assert told == ["scoring pass at scored epochs, first batch", "scoring pass at scored epochs"]


def test_mode_train_makes_no_pass(plan: Plan, blobs_recipe: dict[str, Any]) -> None:
    blobs_recipe["scores"]["mode"] = "train"
    planned = plan()
    assert planned.preview is not None
    scoring = [part for part in planned.preview.parts if part.kind == "score"]
    assert [(part.what, part.whole) for part in scoring] == [("end of an epoch", 4)]


def test_cross_fitting_takes_held_out_outputs(plan: Plan, blobs_recipe: dict[str, Any]) -> None:
    del blobs_recipe["seeds"]
    blobs_recipe["holdout"] = {"folds": 3, "repeats": 1, "last": 2}
    planned = plan()
    assert len(planned.units) == 3
    assert planned.preview is not None
    whole = {part.what: part.whole for part in planned.preview.parts}
    assert whole["held-out outputs, first batch"] == 2
    assert planned.preview.heldout_bytes == 100 * (8 + 4 * 3)


def test_what_is_removed_from_a_layer_is_timed_whole_and_doubted(plan: Plan) -> None:
    planned = plan(scores=["mem_drop"])
    assert planned.preview is not None
    [part] = [part for part in planned.preview.parts if part.kind == "score"]
    assert (part.done, part.whole) == (1, 2)
    assert any("mem_*" in warning for warning in planned.warnings)


def test_traces_are_as_large_as_they_are_told(
    plan: Plan, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    told = plan().trace_bytes
    tiny()
    sizes = [path.stat().st_size for path in (tmp_path / "work").rglob("trace.parquet")]
    assert len(sizes) == 2
    assert told == pytest.approx(sum(sizes), rel=0.5)


def test_hours_and_walls_follow_from_one_unit(plan: Plan, blobs_recipe: dict[str, Any]) -> None:
    blobs_recipe["run"] = {"num_cpus": 2}
    planned = plan(seeds=5, at_once=[2, 8, 2])
    assert planned.cpu_hours == pytest.approx(5 * 2 * planned.unit_s / 3600)
    assert planned.gpu_hours == 0.0
    assert planned.walls == {
        2: pytest.approx(planned.start_s + 3 * planned.unit_s),
        8: pytest.approx(planned.start_s + planned.unit_s),
    }


def test_a_budget_counts_what_finished_units_have_spent(
    plan: Plan, tiny: Callable[..., Any], blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    tiny()
    blobs_recipe["run"] = {"budget": {"cpu_hours": 1.0}}
    planned = replace(plan(work=tmp_path / "work", seeds=4), spent_s=1800.0)
    [found] = planned.allowances
    assert (found.unit, found.hours, found.spent_hours) == ("CPU", 1.0, 0.5)
    assert (found.units, found.enough_for) == (2, 2)
    assert "of which 0.5 are spent" in planned.summary()["budget"][0]["told"]


def test_the_time_that_finished_units_took_is_read_from_the_folder(
    plan: Plan, tiny: Callable[..., Any], tmp_path: Path
) -> None:
    tiny()
    paths = sorted((tmp_path / "work" / "units").glob("*/unit.json"))
    took = [json.loads(path.read_text())["run"]["seconds"] for path in paths]
    planned = plan(work=tmp_path / "work", seeds=3)
    assert sorted(planned.finished) == sorted(took)
    assert planned.spent_s == pytest.approx(sum(took))


@pytest.mark.parametrize(
    ("run", "warning"),
    [
        ({"workers": 2, "runner": "ray"}, "one process was timed"),
        ({"memory_gb": 0.001}, "run.memory_gb is 0.001"),
    ],
)
def test_it_warns_of_what_was_not_timed(
    plan: Plan, blobs_recipe: dict[str, Any], run: dict[str, Any], warning: str
) -> None:
    blobs_recipe["run"] = run
    assert any(warning in text for text in plan().warnings)


def test_few_steps_are_doubted(plan: Plan, blobs_recipe: dict[str, Any]) -> None:
    blobs_recipe["probe"]["model"]["params"]["widths"] = [2048, 2048]
    planned = plan()
    assert planned.preview is not None
    train = next(part for part in planned.preview.parts if part.kind == "train")
    doubted = any("training steps were timed" in text for text in planned.warnings)
    assert doubted == (train.done < 20)


def test_the_summary_is_json(plan: Plan) -> None:
    told = json.loads(json.dumps(plan().summary(), allow_nan=False))
    assert told["num_units"] == 2
    assert told["unit_seconds"] > 0
    assert told["memory_bytes"] >= 0
    assert {part["kind"] for part in told["timed"]} == {"train", "score", "held-out", "rest"}


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("scores", {"names": ["el2m"]}),
        ("scores", {"names": ["memorization"], "mode": "train"}),
        ("probe", {"model": "no_such_model"}),
        ("source", {"uri": "nowhere.parquet"}),
    ],
)
def test_it_refuses_what_score_refuses_in_the_same_words(
    plan: Plan, tiny: Callable[..., Any], blobs_recipe: dict[str, Any], section: str, value: Any
) -> None:
    blobs_recipe[section] = value
    with pytest.raises(DatapruneError) as by_plan:
        plan()
    with pytest.raises(DatapruneError) as by_score:
        tiny()
    assert (by_plan.value.message, by_plan.value.hint) == (
        by_score.value.message,
        by_score.value.hint,
    )


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"at_once": [0]}])
def test_numbers_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        dataprune.plan("digits", **wrong)


@pytest.mark.slow
def test_the_digits_take_what_was_said(tmp_path: Path, one_thread: None) -> None:
    planned = dataprune.plan("digits", seeds=4, work=tmp_path)
    done = dataprune.score("digits", seeds=4, work=tmp_path)
    assert done.trained == list(range(4))
    paths = sorted(tmp_path.glob("units/*/unit.json"))
    took = sorted(json.loads(path.read_text())["run"]["seconds"] for path in paths)
    assert took[0] / 3 < planned.unit_s < took[-1] * 3  # machines that test are busy with more
