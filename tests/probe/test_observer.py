"""What a unit records: in passes of its own, or along with training; what it refuses to record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from dataprune.core.errors import UsageError
from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe
from dataprune.probe.check import check_signals
from dataprune.probe.costs import extra_costs
from dataprune.probe.observe import observe
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.signals import AT_CHECKPOINTS, AT_EPOCHS, SIGNALS, recorded_anyway
from dataprune.probe.tasks import TASKS
from dataprune.probe.unit import probe_unit
from dataprune.runs.place import LocalPlace
from dataprune.sources._load import Loaded
from dataprune.tables.trace import NO_WINDOW, Trace, read_trace

pytestmark = pytest.mark.usefixtures("one_thread")
RunUnit = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
Stepped = tuple[list[tuple[Any, Any, Any]], Trace]
CHEAP = set(AT_CHECKPOINTS + AT_EPOCHS)


@pytest.fixture
def stepped(
    monkeypatch: pytest.MonkeyPatch,
    make_recipe: MakeRecipe,
    tested_loaded: Loaded,
    tmp_path: Path,
) -> Stepped:
    """A unit in mode train with checkpoints 1 and 4: what each step showed, and its trace."""
    from dataprune.probe import step_observer

    kept: list[tuple[Any, Any, Any]] = []
    step = step_observer.StepObserver.step

    def spy(self: Any, batch: Any, outputs_BC: torch.Tensor) -> None:
        kept.append((batch.rows.clone(), outputs_BC.clone(), batch.targets.clone()))
        step(self, batch, outputs_BC)

    monkeypatch.setattr(step_observer.StepObserver, "step", spy)
    recipe = make_recipe(scores__mode="train", scores__at=[1, 4])
    unit = plan_units(recipe, tested_loaded, CHEAP, []).units[0]
    probe_unit(
        unit.spec, shared_arrays(recipe, tested_loaded), Attempt(tmp_path, lambda _progress: None)
    )
    return kept, read_trace(tmp_path / "trace.parquet", CHEAP)


def test_mode_train_records_what_the_steps_themselves_showed(
    stepped: Stepped,
) -> None:
    kept, trace = stepped
    steps = len(kept) // 4
    assert steps == 60 // 16
    for epoch in (1, 4):
        last: dict[int, tuple[Any, int]] = {}
        margins: dict[int, list[float]] = {}
        for rows, outputs, targets in kept[: epoch * steps]:
            for row, output, target in zip(rows.tolist(), outputs, targets.tolist(), strict=True):
                last[row] = (output, target)
                others = [z for k, z in enumerate(output.tolist()) if k != target]
                margins.setdefault(row, []).append(output[target].item() - max(others))
        for row, (output, target) in last.items():
            loss = torch.nn.functional.cross_entropy(output, torch.tensor(target)).item()
            assert trace.signals[epoch]["loss"][row] == pytest.approx(loss, rel=1e-4, abs=1e-6)
            mean = float(np.mean(margins[row]))
            assert trace.signals[epoch]["mean_logit_margin"][row] == pytest.approx(mean, rel=1e-4)


def test_mode_train_counts_a_row_as_in_sample_from_the_checkpoint_that_steps_showed_it_by(
    stepped: Stepped,
) -> None:
    kept, trace = stepped
    for epoch in (1, 4):
        shown = {row for rows, _, _ in kept[: epoch * (60 // 16)] for row in rows.tolist()}
        assert np.flatnonzero(trace.in_sample_at(epoch)).tolist() == sorted(shown)
    assert 0 < (~trace.in_sample_at(1)).sum() < 16
    assert trace.in_sample_at(1).sum() < trace.in_sample_at(4).sum()


def test_mode_train_leaves_the_training_as_it_was(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    histories = []
    for mode in ("eval", "train"):
        recipe = make_recipe(scores__mode=mode)
        unit = plan_units(recipe, features_loaded, CHEAP, []).units[0]
        folder = tmp_path / mode
        folder.mkdir()
        shared = shared_arrays(recipe, features_loaded)
        histories.append(probe_unit(unit.spec, shared, Attempt(folder, lambda _: None))["history"])
    assert histories[0] == histories[1]


def test_the_two_modes_are_two_units_and_differ_in_what_they_record(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    by_mode = {m: make_recipe(scores__mode=m, scores__at=[4]) for m in ("eval", "train")}
    ids = {plan_units(r, features_loaded, CHEAP, []).units[0].unit_id for r in by_mode.values()}
    assert len(ids) == 2
    traces = {m: read_trace(run_unit(r, features_loaded, CHEAP), CHEAP) for m, r in by_mode.items()}
    rows = traces["train"].in_sample & traces["eval"].in_sample
    losses = [t.signals[4]["loss"][rows] for t in traces.values()]
    assert not np.array_equal(*losses)
    assert np.corrcoef(*losses)[0, 1] > 0.5


def test_steps_are_recorded_alike_however_many_are_gathered_before_they_are_worked_on(
    run_unit: RunUnit,
    make_recipe: MakeRecipe,
    features_loaded: Loaded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = make_recipe(scores__mode="train", scores__at=[4])
    at_once = read_trace(run_unit(recipe, features_loaded, CHEAP), CHEAP).signals[4]
    monkeypatch.setattr("dataprune.probe.step_observer.GATHERED_NUMBERS", 1)
    one_by_one = read_trace(run_unit(recipe, features_loaded, CHEAP), CHEAP).signals[4]
    for name in CHEAP:
        assert at_once[name] == pytest.approx(one_by_one[name], rel=1e-5, abs=1e-7), name


def test_signals_over_windows_say_so_until_there_were_enough_epochs(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    names = {"window_dual", "window_std", "window_kl_spread"}
    recipe = make_recipe(scores__window=3, scores__at=[1, 2, 3, 4])
    signals = read_trace(run_unit(recipe, features_loaded, names), names).signals
    for name in names:
        for epoch in (1, 2):
            assert (signals[epoch][name] == NO_WINDOW).all()
        for epoch in (3, 4):
            assert (signals[epoch][name] >= 0).all()


def test_what_is_read_off_the_untrained_weights_is_the_same_at_every_checkpoint(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    names = {"grad_norm_init", "grad_norm", "input_norm"}
    recipe = make_recipe(scores__at=[1, 4])
    signals = read_trace(run_unit(recipe, features_loaded, names), names).signals
    for name in ("grad_norm_init", "input_norm"):
        assert np.array_equal(signals[1][name], signals[4][name])
        assert (signals[1][name] > 0).all()
    assert not np.array_equal(signals[1]["grad_norm"], signals[4]["grad_norm"])
    assert not np.array_equal(signals[1]["grad_norm"], signals[1]["grad_norm_init"])


@pytest.mark.parametrize("kind", ["features", "images"])
def test_gradients_recorded_beside_leave_every_other_value_as_it_was(
    request: pytest.FixtureRequest, run_unit: RunUnit, make_recipe: MakeRecipe, kind: str
) -> None:
    loaded = request.getfixturevalue(f"{kind}_loaded")
    changes: dict[str, Any] = {"scores__at": [4]}
    if kind == "images":
        changes["probe__model"] = {"name": "small_cnn", "params": {"widths": [4, 4]}}
        changes["probe__augment"] = {"crop": 1, "flip": True}
    gradients = {"grad_norm", "grad_norm_last", "gradient_spread", "mean_curvature"}
    alone = read_trace(run_unit(make_recipe(**changes), loaded, CHEAP), CHEAP).signals[4]
    beside = read_trace(run_unit(make_recipe(**changes), loaded, CHEAP | gradients), CHEAP)
    for name in CHEAP:
        assert np.array_equal(beside.signals[4][name], alone[name]), name


def test_every_unit_records_what_costs_nothing_and_more_once_some_score_wants_every_epoch() -> None:
    task = TASKS.get("classification")
    assert recorded_anyway(task, "eval", ["el2n"]) == list(AT_CHECKPOINTS)
    assert recorded_anyway(task, "eval", ["forget_events"]) == list(AT_CHECKPOINTS + AT_EPOCHS)
    assert recorded_anyway(task, "train", ["el2n"]) == list(AT_CHECKPOINTS + AT_EPOCHS)
    assert recorded_anyway(TASKS.get("regression"), "eval", ["el2n"]) == ["el2n", "loss"]
    for name in AT_CHECKPOINTS + AT_EPOCHS:
        signal = SIGNALS.get(name)
        assert signal.when == ("checkpoint" if name in AT_CHECKPOINTS else "epoch")
        assert (signal.state.per_output, signal.state.per_pixel) == (0, 0)
    every = {n for n in SIGNALS.names() if SIGNALS.get(n).when == "epoch"}
    dear = {"window_kl_spread", "gradient_spread", "mean_curvature"}
    assert every == set(AT_EPOCHS) | dear


def test_a_run_that_watched_every_epoch_answers_for_other_scores_without_training(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    def trained(wanted: dict[str, list[str]]) -> list[int]:
        return observe(
            make_recipe(), features_loaded, wanted, LocalPlace(tmp_path), lambda *_: None
        ).trained

    assert trained({"forgetting": ["forget_events", "learned"]}) == [0, 1]
    assert trained({"aum": ["mean_logit_margin"], "variability": ["std_p_label"]}) == []
    assert trained({"tdds": ["window_kl_spread"]}) == [0, 1]


def test_another_window_trains_again_only_for_scores_that_have_windows(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    def trained(window: int, signal: str) -> list[int]:
        recipe = make_recipe(scores__window=window)
        seen = observe(
            recipe, features_loaded, {"s": [signal]}, LocalPlace(tmp_path), lambda *_: None
        )
        return seen.trained

    assert trained(2, "window_dual") == [0, 1]
    assert trained(3, "el2n") == []
    assert trained(3, "mean_logit_margin") == []
    assert trained(3, "window_dual") == [0, 1]


@pytest.mark.parametrize(
    ("score", "signal", "changes", "kind", "message"),
    [
        ("grand", "grad_norm", {"scores__mode": "train"}, "features", "training steps do not show"),
        ("vog", "gradient_spread", {"scores__mode": "train"}, "images", "training steps do not"),
        ("vog", "gradient_spread", {"probe__model": "text_bag"}, "text", "the input is text"),
        ("input_norm", "input_norm", {"probe__model": "text_bag"}, "text", "the input is text"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_name(
    request: pytest.FixtureRequest,
    make_recipe: MakeRecipe,
    load_table: Callable[..., Loaded],
    score: str,
    signal: str,
    changes: dict[str, Any],
    kind: str,
    message: str,
) -> None:
    if kind == "text":
        words = ["red fox", "blue cat", "old dog"] * 20
        loaded = load_table(pa.table({"text": words, "label": np.arange(60) % 3}))
    else:
        loaded = request.getfixturevalue(f"{kind}_loaded")
    with pytest.raises(UsageError, match=f"score {score} reads .*{message}"):
        check_signals(make_recipe(**changes), loaded, {score: [signal]})


def test_what_gradients_cost_is_told_before_the_run(
    make_recipe: MakeRecipe,
    images_loaded: Loaded,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scores = {"el2n": ["el2n"], "grand": ["grad_norm"], "vog": ["gradient_spread"]}
    recipe = make_recipe(probe__model={"name": "mlp", "params": {"widths": [8]}})
    told = extra_costs(recipe, images_loaded, scores)
    assert [line.split(" costs")[0] for line in told] == ["score grand", "score vog"]
    assert "after each of 4 epochs" in told[1]
    with caplog.at_level(logging.INFO, logger="dataprune"):
        observe(recipe, images_loaded, scores, LocalPlace(tmp_path), lambda *_: None)
    assert told == [m for m in caplog.messages if " costs " in m]


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({}, "twice that) over 48 rows at epoch 2, about 0.17 times the training"),
        (
            {"layer": "1"},  # (3 + 38 / 3) / 3 / 4
            "3 forward passes, and 38 of 16 held-out rows, over 48 rows at epoch 2, about 1.3 ",
        ),
        ({"layer": "1", "removal": "magnitude"}, "2 forward passes, and 19 of 16 held-out rows,"),
    ],
    ids=["last layer", "inside", "control alone"],
)
def test_what_removal_costs_is_told_for_where_it_is(
    make_recipe: MakeRecipe, images_loaded: Loaded, scores: dict[str, str], told: str
) -> None:
    recipe = make_recipe(**{f"scores__{key}": value for key, value in scores.items()})
    (line,) = extra_costs(recipe, images_loaded, {"mem_flip": ["mem_flip"]})
    assert told in line


def test_memory_that_a_score_holds_is_told_where_it_is_much(
    make_recipe: MakeRecipe, images_loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataprune.probe.costs._TOLD_BYTES", 48 * 129 * 4 - 1)
    passes, held = extra_costs(make_recipe(), images_loaded, {"vog": ["gradient_spread"]})
    assert "a forward and a backward pass" in passes
    assert held == "score vog costs 0 MB held per seed"  # 48 rows of 1 + 2 x 64 floats


def test_a_cost_that_scores_share_is_told_once(
    make_recipe: MakeRecipe, images_loaded: Loaded
) -> None:
    scores = {name: [name] for name in ("mem_flip", "mem_drop")}
    (line,) = extra_costs(make_recipe(), images_loaded, scores)
    assert line.startswith("scores mem_flip, mem_drop cost two forward passes")
    assert line.endswith("once for all")
