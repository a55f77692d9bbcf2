"""Plans: what makes a unit another unit, which finished units serve, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataprune.core.errors import UsageError
from dataprune.core.protocols import Unit
from dataprune.core.recipe import Recipe
from dataprune.probe.check import check_trainable
from dataprune.probe.models import MODELS
from dataprune.probe.plan import plan_units, run_fingerprint, shared_arrays
from dataprune.runs.ledger import Record
from dataprune.sources._load import Loaded

MakeRecipe = Callable[..., Recipe]
SIGNALS = {"el2n", "loss"}


def finished(unit: Unit) -> Record:
    """The ledger's record of a unit, its identity read back from JSON."""
    identity = json.loads(json.dumps(unit.identity))
    return Record(unit.unit_id, identity, {}, {"history": []}, {}, Path("nowhere"))


def ids(recipe: Recipe, loaded: Loaded, signals: set[str] = SIGNALS) -> list[str]:
    return [unit.unit_id for unit in plan_units(recipe, loaded, signals, []).units]


OTHER: list[dict[str, Any]] = [
    {"seed": 1},
    {"probe__optimizer": {"lr": 0.06}},
    {"probe__optimizer": {"lr": 0.05, "momentum": 0.5}},
    {"probe__batch_size": 15},
    {"probe__model": {"name": "mlp", "params": {"widths": [9]}}},
    {"probe__schedule": {"name": "one_cycle", "warmup": 0.1}},
    {"probe__schedule_epochs": 5},
    {"run__num_cpus": 2},
    {"run__num_gpus": 1},
    {"holdout": {"folds": 4}},
    {"scores__at": [3]},
]


@pytest.mark.parametrize("changes", OTHER, ids=lambda c: next(iter(c)))
def test_whatever_a_trace_depends_on_makes_another_unit(
    make_recipe: MakeRecipe, features_loaded: Loaded, changes: dict[str, Any]
) -> None:
    ours = ids(make_recipe(), features_loaded)
    theirs = ids(make_recipe(**changes), features_loaded)
    assert set(ours).isdisjoint(theirs)
    records = [
        finished(unit) for unit in plan_units(make_recipe(), features_loaded, SIGNALS, []).units
    ]
    assert plan_units(make_recipe(**changes), features_loaded, SIGNALS, records).done == {}


SAME: list[dict[str, Any]] = [
    {"name": "another"},
    {"probe__stop_epoch": 2},
    {"run__runner": "ray"},
    {"run__max_retries": 7},
    {"scores__timing_gate": "off"},
    {"scores__names": ["margin"]},
    {"prune__keep": 0.5},
]


@pytest.mark.parametrize("changes", SAME, ids=lambda c: next(iter(c)))
def test_what_a_trace_does_not_depend_on_leaves_the_unit_the_same(
    make_recipe: MakeRecipe, features_loaded: Loaded, changes: dict[str, Any]
) -> None:
    assert ids(make_recipe(**changes), features_loaded) == ids(make_recipe(), features_loaded)


def test_another_source_makes_other_units(
    make_recipe: MakeRecipe, features_loaded: Loaded, load_table: Callable[..., Loaded]
) -> None:
    table = pa.table(
        {"features": features_loaded.inputs.tolist(), "label": features_loaded.labels.tolist()}
    )
    assert ids(make_recipe(), load_table(table)) == ids(make_recipe(), features_loaded)
    labels = features_loaded.labels.copy()
    labels[7] = (labels[7] + 1) % 3
    relabelled = table.set_column(1, "label", pa.array(labels))
    assert set(ids(make_recipe(), load_table(relabelled))).isdisjoint(
        ids(make_recipe(), features_loaded)
    )


def test_another_test_split_makes_other_units(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded]
) -> None:
    train = pa.table({"features": [[float(i), 1.0] for i in range(8)], "label": [0, 1] * 4})
    tests = [train.slice(0, 4), train.slice(0, 6), None]
    found = [ids(make_recipe(), load_table(train, test)) for test in tests]
    assert len({unit_id for unit_ids in found for unit_id in unit_ids}) == 6


# Whatever is added to it would train every unit of before again.
IDENTITY = {
    "checkpoints", "device", "dtype", "entrypoint", "fold", "hash_version", "heldout_last",
    "holdout", "inputs", "mode", "num_outputs", "probe", "probe_version", "repeat", "root_seed",
    "seed", "signals", "source", "task", "threads", "torch", "trace_version", "window",
    "world_size",
}  # fmt: skip
REMOVED = {"mem_flip"}


def test_a_layer_is_part_of_a_unit_only_where_one_is_named_and_something_is_removed(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    def keys(recipe: Recipe, signals: set[str]) -> set[str]:
        return set(plan_units(recipe, features_loaded, signals, []).units[0].identity)

    plain, named = make_recipe(), make_recipe(scores__layer="1")
    assert keys(plain, SIGNALS) == keys(named, SIGNALS) == IDENTITY
    assert keys(plain, REMOVED) == IDENTITY | {"removal"}
    assert keys(named, REMOVED) == IDENTITY | {"removal", "layer"}
    assert ids(named, features_loaded) == ids(plain, features_loaded)
    assert set(ids(named, features_loaded, REMOVED)).isdisjoint(
        ids(plain, features_loaded, REMOVED)
    )


def test_a_unit_of_another_layer_serves_only_where_nothing_is_removed(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    recipes = {layer: make_recipe(scores__layer=layer) for layer in (None, "1", "2")}
    for recorded in recipes.values():
        units = plan_units(recorded, features_loaded, SIGNALS | REMOVED, []).units
        records = [finished(unit) for unit in units]
        for wanted in recipes.values():
            assert sorted(plan_units(wanted, features_loaded, SIGNALS, records).done) == [0, 1]
            plan = plan_units(wanted, features_loaded, REMOVED, records)
            assert sorted(plan.done) == ([0, 1] if wanted is recorded else [])


def test_adding_seeds_keeps_the_units_there_are(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    few, many = make_recipe(seeds=2), make_recipe(seeds=5)
    assert ids(many, features_loaded)[:2] == ids(few, features_loaded)
    records = [finished(u) for u in plan_units(few, features_loaded, SIGNALS, []).units]
    plan = plan_units(many, features_loaded, SIGNALS, records)
    assert sorted(plan.done) == [0, 1]
    assert [unit.spec["seed"] for unit in plan.units] == [2, 3, 4]
    assert plan.reasons == []


def test_seeds_hold_out_their_own_fold_and_none_where_there_is_a_test_split(
    make_recipe: MakeRecipe, features_loaded: Loaded, tested_loaded: Loaded
) -> None:
    recipe = make_recipe(seeds=5, holdout={"folds": 3})
    folds = [u.spec["fold"] for u in plan_units(recipe, features_loaded, SIGNALS, []).units]
    assert folds == [0, 1, 2, 0, 1]
    folds = [u.spec["fold"] for u in plan_units(recipe, tested_loaded, SIGNALS, []).units]
    assert folds == [None] * 5
    assert "folds/0" not in shared_arrays(recipe, tested_loaded)


def test_a_unit_that_recorded_more_serves_for_less(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    rich = make_recipe(scores__at=[1, 2, 4])
    units = plan_units(rich, features_loaded, SIGNALS | {"margin"}, []).units
    records = [finished(unit) for unit in units]
    plan = plan_units(make_recipe(scores__at=[2]), features_loaded, {"el2n"}, records)
    assert plan.units == []
    assert {seed: r.unit_id for seed, r in plan.done.items()} == {
        0: units[0].unit_id,
        1: units[1].unit_id,
    }


def test_a_unit_of_its_own_id_is_taken_before_one_that_recorded_more(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    recipe = make_recipe()
    exact = plan_units(recipe, features_loaded, SIGNALS, []).units
    more = [
        plan_units(make_recipe(scores__at=at), features_loaded, SIGNALS, []).units[0]
        for at in ([2, 3], [1, 2], [1, 2, 3])
    ]
    records = [finished(unit) for unit in [*more, exact[0]]]
    assert plan_units(recipe, features_loaded, SIGNALS, records).done[0].unit_id == exact[0].unit_id


def test_a_stopped_run_serves_up_to_where_it_stopped_and_no_further(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    stopped = make_recipe(probe__stop_epoch=2, scores__at=[1, 2])
    records = [finished(u) for u in plan_units(stopped, features_loaded, SIGNALS, []).units]
    early = plan_units(make_recipe(scores__at=[1]), features_loaded, SIGNALS, records)
    late = plan_units(make_recipe(scores__at=[4]), features_loaded, SIGNALS, records)
    assert early.units == []
    assert late.done == {}
    assert late.reasons == ["training again: checkpoints 4 were not recorded"]


@pytest.mark.parametrize(
    ("signals", "changes", "reasons"),
    [
        (
            {"el2n", "loss", "learned", "forget_events"},
            {},
            ["training again: signals forget_events, learned were not recorded"],
        ),
        ({"el2n"}, {"probe__batch_size": 8}, ["training again: the probe recipe is another"]),
        ({"el2n"}, {"run__num_cpus": 4}, ["training again: threads is 4, was 1"]),
        ({"el2n"}, {"seed": 9}, ["training again: root_seed is 9, was 0"]),
    ],
)
def test_the_plan_says_why_it_trains_again(
    make_recipe: MakeRecipe,
    features_loaded: Loaded,
    signals: set[str],
    changes: dict[str, Any],
    reasons: list[str],
) -> None:
    records = [finished(u) for u in plan_units(make_recipe(), features_loaded, SIGNALS, []).units]
    plan = plan_units(make_recipe(**changes), features_loaded, signals, records)
    assert plan.done == {}
    assert plan.reasons == reasons


def test_the_first_run_gives_no_reasons(make_recipe: MakeRecipe, features_loaded: Loaded) -> None:
    assert plan_units(make_recipe(), features_loaded, SIGNALS, []).reasons == []


@pytest.mark.parametrize(
    "changes", [{"seeds": 5}, {"scores__at": [4]}, {"run__runner": "ray"}, {"probe__stop_epoch": 2}]
)
def test_a_run_folder_is_shared_by_runs_that_differ_in_seeds_scores_or_runner(
    make_recipe: MakeRecipe, features_loaded: Loaded, changes: dict[str, Any]
) -> None:
    ours = run_fingerprint(make_recipe(), features_loaded)
    assert run_fingerprint(make_recipe(**changes), features_loaded) == ours
    assert run_fingerprint(make_recipe(probe__batch_size=8), features_loaded) != ours


def test_a_model_that_does_not_read_the_inputs_kind_is_refused_with_one_that_does(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded], features_loaded: Loaded
) -> None:
    texts = load_table(pa.table({"text": ["a b", "b", "c", "d"] * 9, "label": [0, 1, 0, 1] * 9}))
    with pytest.raises(UsageError, match=r"mlp does not read text, and .* text is text") as caught:
        check_trainable(make_recipe(), texts)
    assert "text_bag" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="text_bag does not read features") as caught:
        check_trainable(make_recipe(probe__model={"name": "text_bag"}), features_loaded)
    assert "mlp" in (caught.value.hint or "")
    check_trainable(make_recipe(probe__model={"name": "text_bag"}), texts)


def test_a_source_of_one_class_is_refused(
    make_recipe: MakeRecipe, load_table: Callable[..., Loaded]
) -> None:
    loaded = load_table(pa.table({"features": [[1.0], [2.0]] * 9, "label": [3] * 18}))
    with pytest.raises(UsageError, match="has 1 class"):
        check_trainable(make_recipe(), loaded)


def test_one_seed_needs_a_test_split(
    make_recipe: MakeRecipe, features_loaded: Loaded, tested_loaded: Loaded
) -> None:
    recipe = make_recipe(seeds=1)
    with pytest.raises(UsageError, match="one seed is not enough") as caught:
        check_trainable(recipe, features_loaded)
    assert "--seeds 2" in (caught.value.hint or "")
    check_trainable(recipe, tested_loaded)


def test_fewer_than_two_rows_a_fold_are_refused(
    make_recipe: MakeRecipe, features_loaded: Loaded
) -> None:
    check_trainable(make_recipe(holdout={"folds": 30}), features_loaded)
    with pytest.raises(UsageError, match="60 rows, too few for 31 folds"):
        check_trainable(make_recipe(holdout={"folds": 31}), features_loaded)


@pytest.mark.parametrize("augment", [{"crop": 1}, {"flip": True}])
def test_augmentation_of_feature_vectors_is_refused(
    make_recipe: MakeRecipe, features_loaded: Loaded, augment: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="augment crops and flips images"):
        check_trainable(make_recipe(probe__augment=augment), features_loaded)


def test_a_crop_as_wide_as_the_image_is_refused(
    make_recipe: MakeRecipe, images_loaded: Loaded
) -> None:
    check_trainable(make_recipe(probe__augment={"crop": 7}), images_loaded)
    with pytest.raises(UsageError, match="crop is 8 pixels and the images are 8 wide"):
        check_trainable(make_recipe(probe__augment={"crop": 8}), images_loaded)


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ({"name": "mpl"}, "no model named mpl", "did you mean mlp"),
        ({"name": "mlp", "params": {"width": [4]}}, "no parameter width", "did you mean widths"),
        ({"name": "mlp", "params": {"widths": "wide"}}, "cannot be built with", None),
        ({"name": "mlp", "params": {"widths": [-3]}}, "cannot be built with", None),
        ({"name": "small_cnn"}, "wants images", "mlp"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_before_any_unit_starts(
    make_recipe: MakeRecipe,
    features_loaded: Loaded,
    model: dict[str, Any],
    message: str,
    hint: str | None,
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_trainable(make_recipe(probe__model=model), features_loaded)
    assert hint is None or hint in (caught.value.hint or "")


def test_units_share_the_sources_arrays_and_its_statistics(
    make_recipe: MakeRecipe, tested_loaded: Loaded
) -> None:
    shared = shared_arrays(make_recipe(), tested_loaded)
    assert shared["inputs"] is tested_loaded.inputs
    assert shared["targets"] is tested_loaded.labels
    assert tested_loaded.test is not None
    assert shared["test_inputs"] is tested_loaded.test.inputs
    assert shared["mean"] == pytest.approx(np.mean(tested_loaded.inputs, axis=0), rel=1e-6)


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_model_is_planned_with_its_default_parameters(
    make_recipe: MakeRecipe, images_loaded: Loaded, load_table: Callable[..., Loaded], name: str
) -> None:
    loaded = images_loaded
    if MODELS.get(name).encode is not None:
        loaded = load_table(pa.table({"text": ["a b c", "d"] * 18, "label": [0, 1] * 18}))
    recipe = make_recipe(probe__model={"name": name})
    check_trainable(recipe, loaded)
    assert len(ids(recipe, loaded)) == 2
