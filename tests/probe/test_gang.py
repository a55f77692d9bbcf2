"""Units of several workers: the scores of one worker up to rounding, each holding its own rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe
from dataprune.probe.plan import ENTRYPOINT, plan_units, shared_arrays
from dataprune.probe.signals import AFTER_REMOVAL, SIGNALS
from dataprune.probe.unit import probe_unit
from dataprune.sources._load import Loaded
from dataprune.tables.features import read_unit_features
from dataprune.tables.heldout import read_heldout
from dataprune.tables.trace import Trace, read_trace, read_unit_trace
from tests.probe.conftest import features_table, images_table
from tests.probe.gang import Gathered, Task, gathered, in_gangs

MakeRecipe = Callable[..., Recipe]
FUNCTIONS = "tests.probe.gang_functions"
TWO_EPOCHS: dict[str, Any] = {
    "probe__schedule_epochs": 2,
    "scores__at": [1, 2],
    "probe__batch_size": 31,  # two slices of it differ by a row
    "run__runner": "ray",
}
SMALL_CNN: dict[str, Any] = {
    "probe__model": {"name": "small_cnn", "params": {"widths": [4, 4]}},
    "probe__augment": {"crop": 1, "flip": True},
}
CROSS_FIT: dict[str, Any] = {
    "holdout": {"folds": 3, "repeats": 1, "last": 2},
    "seeds": 3,
    "scores__features": True,
}
IN_OUTPUTS = {"correct", "el2n", "loss", "forget_events", "best_epochs_el2n", "mean_p_label"}
EVERY = set(SIGNALS.names())
# name: source, changes of the recipe, signals
KINDS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "mlp": ("features", {}, EVERY - set(AFTER_REMOVAL)),
    "batch norm": ("images", SMALL_CNN, {*IN_OUTPUTS, "grad_norm"}),
    "cross-fitting": ("features", CROSS_FIT, {"loss", "el2n", *AFTER_REMOVAL}),
    # Accuracy goes up and down, and in each half of the rows otherwise than in all.
    "best epochs": (
        "noise",
        {
            "probe__schedule_epochs": 6,
            "scores__at": [5, 6],
            "scores__window": 2,
            "probe__optimizer": {"lr": 0.3},
        },
        {"best_epochs_el2n", "correct", "el2n"},
    ),
    "mode train": ("images", {**SMALL_CNN, "scores__mode": "train"}, IN_OUTPUTS),
}


@dataclass(frozen=True)
class Pair:
    """One unit done by one worker, and by several."""

    signals: set[str]
    alone: Trace
    together: Trace
    files: tuple[Path, Gathered]
    results: tuple[dict[str, Any], dict[str, Any]]


def pairs_of(
    size: int, loaded: dict[str, Loaded], make_recipe: MakeRecipe, home: Path
) -> dict[str, Pair]:
    tasks, alone = [], []
    for name, (source, changes, signals) in KINDS.items():
        for workers in (1, size):
            recipe = make_recipe(**{**TWO_EPOCHS, **changes}, run__workers=workers)
            unit = plan_units(recipe, loaded[source], signals, []).units[1]
            shared, folder = shared_arrays(recipe, loaded[source]), home / f"{name}-{workers}"
            if workers > 1:
                tasks.append(Task(ENTRYPOINT, unit.spec, shared, folder))
                continue
            folder.mkdir()
            alone.append(
                (folder, probe_unit(unit.spec, shared, Attempt(folder, lambda _progress: None)))
            )
    found = {}
    for (name, (_, _, signals)), task, (folder, result), theirs in zip(
        KINDS.items(), tasks, alone, in_gangs(size, tasks), strict=True
    ):
        assert isinstance(theirs, dict), theirs
        unit = gathered(task.home, size)
        traces = read_trace(folder / "trace.parquet", signals), read_unit_trace(unit, signals)
        found[name] = Pair(signals, *traces, (folder, unit), (result, theirs))
    return found


@pytest.fixture(scope="module")
def loaded(load_table: Callable[..., Loaded]) -> dict[str, Loaded]:
    """420 rows: four blocks of a scoring pass, which two and three workers share unevenly."""
    noise = features_table(420)
    labels = np.random.default_rng(1).integers(0, 3, 420)
    noise = noise.set_column(noise.schema.get_field_index("label"), "label", [labels])
    return {
        "features": load_table(features_table(420)),
        "images": load_table(images_table(420)),
        "noise": load_table(noise),
    }


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def pairs(
    request: pytest.FixtureRequest,
    loaded: dict[str, Loaded],
    make_recipe: MakeRecipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Pair]:
    """Every kind of unit, done by one worker and by two or three."""
    return pairs_of(request.param, loaded, make_recipe, tmp_path_factory.mktemp("gang"))


def ranks(values: Any) -> Any:
    return values.argsort().argsort()


@pytest.mark.parametrize("name", KINDS)
def test_several_workers_record_what_one_does_up_to_rounding(
    pairs: dict[str, Pair], name: str
) -> None:
    pair = pairs[name]
    assert np.array_equal(pair.alone.in_sample, pair.together.in_sample)
    assert sorted(pair.alone.signals) == sorted(pair.together.signals)
    for epoch, columns in pair.alone.signals.items():
        for signal, values in columns.items():
            ours = pair.together.signals[epoch][signal]
            assert ours == pytest.approx(values, rel=1e-4, abs=1e-4), (epoch, signal)
        el2n = columns["el2n"], pair.together.signals[epoch]["el2n"]
        assert np.corrcoef(ranks(el2n[0]), ranks(el2n[1]))[0, 1] > 0.9999


@pytest.mark.parametrize("name", KINDS)
def test_several_workers_tell_what_one_does(pairs: dict[str, Pair], name: str) -> None:
    ours, theirs = pairs[name].results
    assert ours.keys() == theirs.keys()
    for mine, other in zip(ours.pop("history"), theirs.pop("history"), strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    for epoch, removal in ours.pop("removals", {}).items():
        assert removal.pop("basis") == theirs["removals"][epoch].pop("basis")
        for key, value in removal.items():
            assert theirs["removals"][epoch][key] == pytest.approx(value, abs=1e-6), key
    theirs.pop("removals", None)
    assert ours == theirs


def test_features_are_written_once_and_are_those_of_one_worker(pairs: dict[str, Pair]) -> None:
    alone, together = (
        read_unit_features(folder, 420)
        for folder in (
            pairs["cross-fitting"].files[0] / "features.parquet",
            pairs["cross-fitting"].files[1].path("features.parquet"),
        )
    )
    assert np.allclose(alone, together, atol=0.01)


def test_each_worker_writes_the_rows_it_observed_in_whole_batches_of_the_pass(
    pairs: dict[str, Pair],
) -> None:
    _, unit = pairs["mlp"].files
    ranges: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    for name in unit.files:
        match = re.fullmatch(r"trace-e(\d+)-r(\d+)\.parquet", name)
        assert match is not None
        rows = pq.read_table(unit.path(name)).column("row").to_pylist()
        assert rows[0] == int(match[2])
        assert rows[0] % 128 == 0
        ranges[int(match[1])].append((rows[0], rows[-1] + 1))
    assert sorted(ranges[1]) == sorted(ranges[2])
    assert len(ranges[1]) > 1
    assert sorted(pairs["mode train"].files[1].files) == ["trace.parquet"]  # the leader saw all


def test_held_out_outputs_are_written_once_and_whole(pairs: dict[str, Pair]) -> None:
    alone, together = pairs["cross-fitting"].files
    ours, theirs = (
        read_heldout(path) for path in (alone / "heldout.parquet", together.path("heldout.parquet"))
    )
    assert np.array_equal(ours.rows, theirs.rows)
    assert ours.outputs == pytest.approx(theirs.outputs, rel=1e-4, abs=1e-5)


def test_batch_norm_over_slices_is_batch_norm_over_the_batch(tmp_path: Path) -> None:
    (found,) = in_gangs(2, [Task(f"{FUNCTIONS}:batch_norms", {}, {}, tmp_path)])
    for name, differences in found.items():
        assert {"outputs", "by inputs", "in eval mode"} <= differences.keys()
        bound = 2e-3 if "far" in name else 2e-6  # float32 has four digits after 1000
        assert max(differences.values()) < bound, (name, differences)
    assert "by weights" in found["2d"]
    assert "state" in found["2d"]


def test_a_team_puts_together_what_its_processes_have(tmp_path: Path) -> None:
    (found,) = in_gangs(2, [Task(f"{FUNCTIONS}:team_work", {}, {}, tmp_path)])
    assert found == {
        "whole": True,
        "joined": [1],
        "none joined": True,
        "mean": 1,
        "agrees": True,
        "everyones": [{"rank": 0}, {"rank": 1}],
        "unused": True,
        "used": [1, 1],
        "loss": 3,
    }


def test_a_process_that_fails_ends_the_others_which_do_not_pass_for_the_cause(
    tmp_path: Path,
) -> None:
    told: dict[int, list[Any]] = {}
    in_gangs(2, [Task(f"{FUNCTIONS}:fail_in_one", {}, {}, tmp_path)], told)
    assert "ValueError: the one that failed" in told[1][0]
    assert "PeerLostError: worker 0 of 2 lost another one of its unit" in told[0][0]


@pytest.mark.slow
def test_processes_that_have_no_row_to_score_take_part_all_the_same(
    load_table: Callable[..., Loaded], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    """60 rows are one batch of a scoring pass."""
    loaded = load_table(features_table(60))
    recipe = make_recipe(**{**TWO_EPOCHS, **CROSS_FIT, "probe__batch_size": 16, "run__workers": 2})
    unit = plan_units(recipe, loaded, IN_OUTPUTS, []).units[0]
    (result,) = in_gangs(2, [Task(ENTRYPOINT, unit.spec, shared_arrays(recipe, loaded), tmp_path)])
    assert isinstance(result, dict), result
    one = {path.name for path in (tmp_path / "rank-0").iterdir()}
    other = {path.name for path in (tmp_path / "rank-1").iterdir()}
    assert sorted(one | other) == [
        "features.parquet", "heldout.parquet", "trace-e1-r0.parquet", "trace-e2-r0.parquet",
    ]  # fmt: skip
    assert not one & other
    assert len(read_unit_trace(gathered(tmp_path, 2), {"loss"}).in_sample) == 60


@pytest.mark.slow
def test_a_gang_goes_on_from_its_snapshots_or_all_begin_anew(
    loaded: dict[str, Loaded], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(**{**TWO_EPOCHS, **SMALL_CNN, "probe__batch_size": 20, "run__workers": 2})
    unit = plan_units(recipe, loaded["images"], IN_OUTPUTS, []).units[0]
    shared = shared_arrays(recipe, loaded["images"])
    homes = {name: tmp_path / name for name in ("whole", "resumed", "anew")}

    def tasks(name: str, *stops: int | None) -> list[Task]:
        return [Task(ENTRYPOINT, unit.spec, shared, homes[name], stop) for stop in stops]

    # Offered after step 10 and epoch 1, of 14 steps, and after step 24.
    results = in_gangs(
        2, [*tasks("resumed", 1, 1, 1, 99), *tasks("whole", None), *tasks("anew", 2)]
    )
    assert [r if isinstance(r, str) else "done" for r in results] == [
        "stopped", "stopped", "stopped", "done", "done", "stopped",
    ]  # fmt: skip
    (homes["anew"] / "kept-1" / "snapshot").unlink()
    results += in_gangs(2, tasks("anew", 99))
    assert results[3] == results[4] == results[6]
    whole, resumed, anew = (
        {path.name: path.read_bytes() for path in gathered(home, 2).folder.iterdir()}
        for home in homes.values()
    )
    assert whole == resumed == anew


@pytest.mark.slow
def test_several_workers_retrain_as_one_does(
    loaded: dict[str, Loaded], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    from dataprune.evaluation.retrain import retrain_unit

    recipe = make_recipe(**{**TWO_EPOCHS, **SMALL_CNN})
    unit = plan_units(recipe, loaded["images"], {"loss"}, []).units[0]
    held_out = np.arange(420) % 4 == 0
    shared = shared_arrays(recipe, loaded["images"]) | {"rows/a": np.flatnonzero(~held_out)}
    shared["held_out"] = held_out
    arm = {"rows": "rows/a", "targets": "targets", "dynamic": None}
    spec = {**unit.spec, **arm, "num_steps": 12}
    (tmp_path / "alone").mkdir()
    alone = retrain_unit(spec, shared, Attempt(tmp_path / "alone", lambda _progress: None))
    task = Task(
        "dataprune.evaluation.retrain:retrain_unit", {**spec, "workers": 2}, shared, tmp_path
    )
    (together,) = in_gangs(2, [task])
    for each in (alone, together):
        assert each.pop("train_s") > 0
    assert together == alone
    assert alone["value"] > 0
    assert [path.name for path in (tmp_path / "rank-0").iterdir()] == ["quality.json"]
    assert list((tmp_path / "rank-1").iterdir()) == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_told_by_all_with_the_step_at_which_one_worker_tells_it(
    loaded: dict[str, Loaded], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(**TWO_EPOCHS, probe__optimizer={"lr": 1e20}, run__workers=2)
    unit = plan_units(recipe, loaded["features"], {"loss"}, []).units[0]
    shared = shared_arrays(recipe, loaded["features"])
    (together,) = in_gangs(2, [Task(ENTRYPOINT, unit.spec, shared, tmp_path)])
    with pytest.raises(Exception, match="training diverged: loss nan at step") as alone:
        probe_unit({**unit.spec, "workers": 1}, shared, Attempt(tmp_path, lambda _progress: None))
    assert str(alone.value.args[0]) in together


def test_a_unit_planned_for_several_workers_is_not_done_by_one(
    loaded: dict[str, Loaded], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    from dataprune.core.errors import ProbeError

    recipe = make_recipe(**TWO_EPOCHS, run__workers=2)
    unit = plan_units(recipe, loaded["features"], {"loss"}, []).units[0]
    shared = shared_arrays(recipe, loaded["features"])
    with pytest.raises(ProbeError, match="planned for 2 workers and runs in 1"):
        probe_unit(unit.spec, shared, Attempt(tmp_path, lambda _progress: None))
