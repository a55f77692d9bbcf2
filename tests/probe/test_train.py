"""Training: the same bits for the same unit, where it stops, and how it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from dataprune.core.errors import ProbeError
from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe
from dataprune.core.recipe_training import Optimizer
from dataprune.probe.data import Batches, make_batches
from dataprune.probe.observer import EvalObserver
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.signal_store import SignalStore
from dataprune.probe.signals import SIGNALS, Sizes
from dataprune.probe.tasks import TASKS
from dataprune.probe.train import (
    FitPlan,
    fit,
    pinned_arithmetic,
    quality,
    seeded_generator,
    seeded_model,
)
from dataprune.probe.unit import probe_unit
from dataprune.sources._load import Loaded
from dataprune.tables.trace import read_trace

RunUnit = Callable[..., Path]
MakeRecipe = Callable[..., Recipe]
BASIC = {"correct", "el2n", "loss", "margin"}
CPU = torch.device("cpu")


def values_at(path: Path, epoch: int, signals: set[str] = BASIC) -> dict[str, bytes]:
    """The stored bytes of each signal at one checkpoint."""
    return {name: v.tobytes() for name, v in read_trace(path, signals).signals[epoch].items()}


def tiny_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def batches_of(features_loaded: Loaded, make_recipe: MakeRecipe) -> Callable[..., Batches]:
    """Batches of a given size over the 60 rows of features."""

    def build(batch_size: int = 16) -> Batches:
        recipe = make_recipe(probe__batch_size=batch_size)
        shared = shared_arrays(recipe, features_loaded)
        return make_batches(shared, "", None, recipe.probe, seeded_generator(0, 0), CPU)

    return build


@pytest.mark.parametrize("kind", ["features", "images"])
def test_the_same_unit_writes_the_same_trace_byte_for_byte_whatever_torch_drew_before(
    request: pytest.FixtureRequest, run_unit: RunUnit, make_recipe: MakeRecipe, kind: str
) -> None:
    loaded = request.getfixturevalue(f"{kind}_loaded")
    recipe = make_recipe()
    if kind == "images":
        model = {"name": "small_cnn", "params": {"widths": [4, 4]}}
        recipe = make_recipe(probe__model=model, probe__augment={"crop": 1, "flip": True})
    first = run_unit(recipe, loaded, BASIC)
    torch.rand(17)
    np.random.default_rng().random()
    assert run_unit(recipe, loaded, BASIC).read_bytes() == first.read_bytes()


def test_another_seed_or_root_seed_writes_another_trace(
    run_unit: RunUnit, make_recipe: MakeRecipe, tested_loaded: Loaded
) -> None:
    runs = [
        run_unit(make_recipe(), tested_loaded, BASIC, 0),
        run_unit(make_recipe(), tested_loaded, BASIC, 1),
        run_unit(make_recipe(seed=1), tested_loaded, BASIC, 0),
    ]
    assert len({values_at(path, 2)["el2n"] for path in runs}) == 3


def test_training_leaves_the_callers_random_state_alone(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    before = torch.get_rng_state()
    run_unit(make_recipe(), features_loaded, BASIC)
    assert torch.equal(torch.get_rng_state(), before)


def test_stopping_early_leaves_what_was_recorded_before_as_in_the_longer_run(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    short = run_unit(make_recipe(probe__stop_epoch=2), features_loaded, BASIC)
    long = run_unit(make_recipe(scores__at=[2, 4]), features_loaded, BASIC)
    assert values_at(short, 2) == values_at(long, 2)
    assert values_at(long, 2) != values_at(long, 4)
    assert list(read_trace(short, BASIC).signals) == [2]


@pytest.mark.parametrize("kind", ["features", "images"])
def test_recording_more_signals_and_checkpoints_changes_no_value(
    request: pytest.FixtureRequest, run_unit: RunUnit, make_recipe: MakeRecipe, kind: str
) -> None:
    loaded = request.getfixturevalue(f"{kind}_loaded")
    changes: dict[str, Any] = {}
    if kind == "images":
        changes["probe__model"] = {"name": "small_cnn", "params": {"widths": [4, 4]}}
        changes["probe__augment"] = {"crop": 1, "flip": True}
    little = run_unit(make_recipe(**changes, scores__at=[4]), loaded, {"el2n"})
    everything = BASIC | {"forget_events", "learned"}
    much = run_unit(make_recipe(**changes, scores__at=[1, 2, 3, 4]), loaded, everything)
    assert values_at(little, 4, {"el2n"}) == values_at(much, 4, {"el2n"})


def test_a_signal_that_remembers_sees_the_epochs_between_checkpoints(
    run_unit: RunUnit, make_recipe: MakeRecipe, load_table: Callable[..., Loaded]
) -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {"features": rng.normal(size=(60, 4)).tolist(), "label": rng.integers(0, 3, size=60)}
    )
    loaded, signals = load_table(table), {"correct", "forget_events", "learned"}
    changes = {"probe__schedule_epochs": 8, "probe__optimizer": {"lr": 0.2}}
    sparse = run_unit(make_recipe(**changes, scores__at=[8]), loaded, signals)
    dense = run_unit(make_recipe(**changes, scores__at=list(range(1, 9))), loaded, signals)
    assert values_at(sparse, 8, signals) == values_at(dense, 8, signals)
    right_EN = np.stack([at["correct"] for at in read_trace(dense, signals).signals.values()])
    last = read_trace(sparse, signals).signals[8]
    assert np.array_equal(last["forget_events"], (right_EN[:-1] > right_EN[1:]).sum(axis=0))
    assert np.array_equal(last["learned"], right_EN.max(axis=0))
    assert last["forget_events"].sum() > 10


def test_a_trace_holds_every_row_at_every_checkpoint_and_says_which_were_trained_on(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    recipe = make_recipe(scores__at=[1, 3])
    paths = [run_unit(recipe, features_loaded, BASIC, seed) for seed in (0, 1)]
    folds = shared_arrays(recipe, features_loaded)["folds/0"]
    for seed, path in enumerate(paths):
        table = pq.read_table(path)
        assert table.column("checkpoint").to_pylist() == [1] * 60 + [3] * 60
        assert table.column("row").to_pylist() == [*range(60), *range(60)]
        assert np.array_equal(read_trace(path, BASIC).in_sample, folds != seed)


def test_held_out_rows_do_not_influence_training(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = make_recipe()
    (unit, _) = plan_units(recipe, features_loaded, BASIC, []).units
    shared = shared_arrays(recipe, features_loaded)
    held_out = shared["folds/0"] == 0
    changed = {**shared, "inputs": shared["inputs"].copy(), "targets": shared["targets"].copy()}
    changed["inputs"][held_out] += 100
    changed["targets"][held_out] = (changed["targets"][held_out] + 1) % 3
    traces = []
    for name, arrays in (("as it is", shared), ("changed", changed)):
        (tmp_path / name).mkdir()
        probe_unit(unit.spec, arrays, Attempt(tmp_path / name, lambda _progress: None))
        traces.append(read_trace(tmp_path / name / "trace.parquet", BASIC).signals[2])
    assert np.array_equal(traces[0]["loss"][~held_out], traces[1]["loss"][~held_out])
    assert not np.array_equal(traces[0]["loss"][held_out], traces[1]["loss"][held_out])


def test_a_units_history_tells_losses_and_held_out_accuracy_of_every_epoch(
    make_recipe: MakeRecipe, tested_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = make_recipe(probe__stop_epoch=3)
    unit = plan_units(recipe, tested_loaded, BASIC, []).units[0]
    told: list[dict[str, Any]] = []
    shared = shared_arrays(recipe, tested_loaded)
    result = probe_unit(unit.spec, shared, Attempt(tmp_path, told.append))
    assert [entry["epoch"] for entry in result["history"]] == [1, 2, 3]
    assert [entry["epoch"] for entry in told] == [0, 1, 2, 3]
    assert result["heldout_rows"] == 30
    assert all(0 <= e["heldout"] <= 1 for e in result["history"])
    assert result["history"][-1]["heldout"] > 0.5
    assert result["history"][-1]["train_loss"] < result["history"][0]["train_loss"]


@pytest.mark.parametrize("stop_step", [1, 3, 6, 7, 10])
def test_fit_takes_exactly_the_steps_it_was_given(
    batches_of: Callable[..., Batches], stop_step: int
) -> None:
    steps: list[int] = []
    epochs: list[int] = []

    def factor(step: int) -> float:
        steps.append(step)
        return 1.0

    plan = FitPlan(Optimizer(lr=0.01), factor, stop_step)
    task, model = TASKS.get("classification"), seeded_model(tiny_model, 0)
    fit(model, task, batches_of(16), plan, lambda epoch, _loss: epochs.append(epoch))
    assert list(dict.fromkeys(steps)) == list(range(stop_step))
    assert epochs == list(range(1, -(-stop_step // 3) + 1))  # 60 rows: 3 batches of 16


def test_fit_is_sgd_with_nesterov_momentum_and_weight_decay_on_every_parameter(
    batches_of: Callable[..., Batches],
) -> None:
    lr, momentum, decay = 0.05, 0.9, 0.01
    model, twin = seeded_model(tiny_model, 3), seeded_model(tiny_model, 3)
    velocities = [torch.zeros_like(p) for p in twin.parameters()]
    batches = batches_of(20)
    for batch in [b for _ in range(2) for b in batches.epoch()][:4]:
        loss = nn.functional.cross_entropy(twin(batch.inputs), batch.targets)
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for p, gradient, velocity in zip(twin.parameters(), gradients, velocities, strict=True):
                decayed = gradient + decay * p
                velocity.mul_(momentum).add_(decayed)
                p.sub_(lr * 0.5 * (decayed + momentum * velocity))
    plan = FitPlan(Optimizer(lr=lr, momentum=momentum, weight_decay=decay), lambda _: 0.5, 4)
    fit(model, TASKS.get("classification"), batches_of(20), plan, lambda *_: None)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def batch_norm_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_every_step_trains_in_train_mode_whatever_was_done_after_the_last_epoch(
    batches_of: Callable[..., Batches],
) -> None:
    model, modes = seeded_model(batch_norm_model, 0), []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    plan = FitPlan(Optimizer(lr=0.01), lambda _: 1.0, 9)
    fit(model, TASKS.get("classification"), batches_of(16), plan, lambda *_: model.eval())
    assert modes == [True] * 9


def test_observing_and_measuring_use_eval_mode_and_leave_the_model_as_it_was(
    batches_of: Callable[..., Batches],
) -> None:
    model, task = seeded_model(batch_norm_model, 0).train(), TASKS.get("classification")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    store = SignalStore([SIGNALS.get("loss")], 60, Sizes(3, 10), CPU)
    observer = EvalObserver(store, task, torch.ones(60, dtype=torch.bool), [1], 0)
    observer.after_epoch(1, model, batches_of())
    model.train()
    quality(model, task, batches_of(), None)
    model.eval()
    with torch.no_grad():
        (batch,) = batches_of().in_order(60)
        expected = nn.functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
    assert observer.recorded[1]["loss"] == pytest.approx(expected.numpy(), rel=1e-5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(("batch_size", "bad_step"), [(16, 5), (16, 1), (1, 53), (1, 75)])
def test_divergence_is_an_error_that_names_the_first_bad_step(
    batches_of: Callable[..., Batches], batch_size: int, bad_step: int
) -> None:
    """The weights explode in update `bad_step`, so the loss of the step after it is the first."""

    def factor(step: int) -> float:
        return 1e30 if step == bad_step - 1 else 0.0

    plan = FitPlan(Optimizer(lr=1.0, momentum=0.0), factor, 120)
    task, model = TASKS.get("classification"), seeded_model(tiny_model, 0)
    with pytest.raises(ProbeError, match=rf"loss (nan|inf) at step {bad_step + 1}\b") as caught:
        fit(model, task, batches_of(batch_size), plan, lambda *_: None)
    assert "lr" in (caught.value.hint or "")


def test_a_huge_learning_rate_fails_the_unit_and_leaves_no_trace(
    make_recipe: MakeRecipe, features_loaded: Loaded, tmp_path: Path
) -> None:
    recipe = make_recipe(probe__optimizer={"lr": 1e30})
    unit = plan_units(recipe, features_loaded, BASIC, []).units[0]
    shared = shared_arrays(recipe, features_loaded)
    with pytest.raises(ProbeError, match=r"diverged: loss \S+ at step \d+"):
        probe_unit(unit.spec, shared, Attempt(tmp_path, lambda _progress: None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_pinned_arithmetic_pins_threads_and_kernels_and_restores_both(*, fails: bool) -> None:
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with (
        contextlib.suppress(KeyError),
        pinned_arithmetic(threads + 1, "cpu", torch.__version__) as device,
    ):
        assert device.type == "cpu"
        assert torch.get_num_threads() == threads + 1
        assert torch.are_deterministic_algorithms_enabled()
        if fails:
            raise KeyError
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_pinned_arithmetic_restores_a_callers_warn_only_mode() -> None:
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        with pinned_arithmetic(1, "cpu", torch.__version__):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="wants a machine without a GPU")
def test_a_unit_that_wants_a_gpu_where_there_is_none_says_so() -> None:
    with (
        pytest.raises(ProbeError, match="wants a GPU"),
        pinned_arithmetic(1, "cuda", torch.__version__),
    ):
        pass


def test_a_worker_with_another_torch_than_the_plans_refuses_the_unit() -> None:
    with (
        pytest.raises(ProbeError, match=r"planned with torch 1\.0"),
        pinned_arithmetic(1, "cpu", "1.0"),
    ):
        pass


def test_pinned_arithmetic_computes_in_full_float32_whatever_the_caller_chose() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with pinned_arithmetic(1, "cpu", torch.__version__):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_initial_weights_come_from_the_salt_alone() -> None:
    torch.manual_seed(1)
    first = seeded_model(tiny_model, 5, 0)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second, other = seeded_model(tiny_model, 5, 0), seeded_model(tiny_model, 5, 1)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0].weight, second[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_accuracy_is_the_share_of_right_predictions_among_the_rows_asked_for(
    batches_of: Callable[..., Batches], features_loaded: Loaded
) -> None:
    model, task = seeded_model(tiny_model, 0), TASKS.get("classification")
    with torch.inference_mode():
        logits = torch.cat([model(b.inputs) for b in batches_of().in_order(60)])
    right = logits.argmax(dim=1).numpy() == features_loaded.labels
    rows = np.arange(60) % 7 == 0
    assert quality(model, task, batches_of(), None) == pytest.approx(right.mean())
    assert quality(model, task, batches_of(), torch.from_numpy(rows)) == pytest.approx(
        right[rows].mean()
    )


def test_bfloat16_trains_in_it_and_scores_in_float32(
    run_unit: RunUnit, make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    full = run_unit(make_recipe(), features_loaded, BASIC)
    half = run_unit(make_recipe(probe__precision="bfloat16"), features_loaded, BASIC)
    assert values_at(half, 2) != values_at(full, 2)
    coarse, fine = (read_trace(path, BASIC).signals[2]["el2n"] for path in (half, full))
    assert np.abs(coarse - fine).max() < 0.1
    # bfloat16 has 8 bits: values taken in it would survive a round trip through it
    rounded = torch.from_numpy(coarse).bfloat16().double().numpy()
    assert (rounded != coarse).mean() > 0.9
