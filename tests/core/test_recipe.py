"""Recipes: frozen, strict, and every mistake is one sentence that says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from dataprune.core.errors import RecipeError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from dataprune.core.recipe_file import is_reproduction, recipe_folder


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Set one key, by its dotted path."""
    *sections, key = path.split(".")
    place = data
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    return data


def mistake(data: Any) -> RecipeError:
    """The error that a recipe's data gives."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(data, where="my.yaml")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


# --- what is right


def test_a_name_and_a_source_are_enough() -> None:
    recipe = parse_recipe({"name": "tiny", "source": {"uri": "digits"}}, where="tests")
    assert recipe.source.split == "train"
    assert recipe.seeds == 10


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_called_like_its_file(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_json(name: str) -> None:
    recipe = load_recipe(name)
    text = json.dumps(recipe.model_dump(mode="json"), allow_nan=False)
    assert parse_recipe(json.loads(text), where="tests") == recipe


def test_a_recipe_file_is_read_by_path(tmp_path: Path, recipe_data: dict[str, Any]) -> None:
    path = tmp_path / "größe.yml"
    path.write_text(yaml.safe_dump(recipe_data), encoding="utf-8")
    assert load_recipe(str(path)) == parse_recipe(recipe_data, where="tests")


def test_the_recipes_lie_beside_the_package_or_inside_it() -> None:
    paths = [path for path in recipe_folder().glob("*.yaml") if not is_reproduction(path)]
    assert {path.stem for path in paths} == set(recipe_names())


def test_a_reproductions_recipe_is_no_scoring_recipe() -> None:
    assert "digits" in recipe_names()
    assert "grok_modular_addition" not in recipe_names()
    with pytest.raises(RecipeError, match="grok_modular_addition is the recipe of a reprod") as c:
        load_recipe("grok_modular_addition")
    assert c.value.hint == "run it with dataprune reproduce"


@pytest.mark.parametrize("section", [(), ("source",), ("probe", "optimizer"), ("prune",)])
def test_a_recipe_cannot_be_changed(recipe_data: dict[str, Any], section: tuple[str, ...]) -> None:
    part: Any = parse_recipe(recipe_data, where="tests")
    for name in section:
        part = getattr(part, name)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(part, next(iter(type(part).model_fields)), None)


def test_checkpoints_are_the_scored_epochs_each_once_in_order(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(put(recipe_data, "scores.at", [4, 2, 4]), where="tests")
    assert recipe.checkpoints == (2, 4)


@pytest.mark.parametrize(("stop", "last"), [(None, 4), (3, 3)])
def test_without_scored_epochs_the_last_trained_one_is_scored(
    recipe_data: dict[str, Any], stop: int | None, last: int
) -> None:
    del recipe_data["scores"]["at"]
    recipe = parse_recipe(put(recipe_data, "probe.stop_epoch", stop), where="tests")
    assert recipe.checkpoints == (last,)


@pytest.mark.parametrize("keep", [0.5, 100, None])
def test_a_budget_keeps_its_type_fraction_or_count(
    recipe_data: dict[str, Any], keep: float | None
) -> None:
    found = parse_recipe(put(recipe_data, "prune.keep", keep), where="tests").prune.keep
    assert (found, type(found)) == (keep, type(keep))


# --- unknown keys


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("sed", "seed"),
        ("source.splt", "split"),
        ("source.columns.lable", "label"),
        ("probe.batchsize", "batch_size"),
        ("probe.model.parms", "params"),
        ("probe.optimizer.weight-decay", "weight_decay"),
        ("probe.augment.flips", "flip"),
        ("scores.name", "names"),
        ("run.num_gpu", "num_gpus"),
        ("prune.stratgy", "strategy"),
    ],
)
def test_an_unknown_key_is_told_with_its_path_and_the_nearest_one(
    recipe_data: dict[str, Any], path: str, nearest: str
) -> None:
    error = mistake(put(recipe_data, path, 1))
    assert error.message == f"my.yaml: unknown key {path}"
    assert error.hint is not None
    assert error.hint.startswith(f"did you mean {nearest}? known: ")


@pytest.mark.parametrize(
    ("schedule", "typo", "nearest"),
    [
        ("one_cycle", "warmpu", "warmup"),
        ("step", "milestone", "milestones"),
        ("warmup_stable_decay", "decya", "decay"),
    ],
)
def test_an_unknown_key_of_a_schedule_gets_that_schedules_keys(
    recipe_data: dict[str, Any], schedule: str, typo: str, nearest: str
) -> None:
    error = mistake(put(recipe_data, "probe.schedule", {"name": schedule, typo: 0.1}))
    assert "unknown key probe.schedule" in error.message
    assert str(error.hint).startswith(f"did you mean {nearest}?")


def test_a_key_of_another_section_is_unknown_here(recipe_data: dict[str, Any]) -> None:
    assert mistake(put(recipe_data, "source.seeds", 3)).message.endswith("source.seeds")


def test_an_unknown_key_is_told_before_other_mistakes(recipe_data: dict[str, Any]) -> None:
    put(recipe_data, "seeds", 0)
    assert "unknown key sed" in mistake(put(recipe_data, "sed", 1)).message


# --- wrong values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("name", "a/b"),
        ("name", ""),
        ("name", "n" * 65),
        ("task", "clasification"),
        ("seeds", 0),
        ("seeds", 1.5),
        ("seed", -1),
        ("holdout", {"folds": 1}),
        ("probe.batch_size", 0),
        ("probe.optimizer.lr", 0),
        ("probe.optimizer.lr", "fast"),
        ("probe.optimizer.momentum", 1),
        ("probe.optimizer.weight_decay", -0.1),
        ("probe.schedule_epochs", 0),
        ("probe.stop_epoch", 5),
        ("probe.schedule", {"name": "cosine"}),
        ("probe.schedule", {"warmup": 0.1}),
        ("probe.schedule", {"name": "warmup_stable_decay", "warmup": 0.6, "decay": 0.6}),
        ("probe.augment.crop", -1),
        ("scores.names", []),
        ("scores.at", [0]),
        ("scores.at", [5]),
        ("scores.at", 3),
        ("scores.timing_gate", "maybe"),
        ("run.runner", "slurm"),
        ("run.num_cpus", 0),
        ("prune.keep", "half"),
        ("prune.class_balance", "fair"),
        ("prune.min_per_class", -1),
        ("source", "digits"),
        ("source.uri", None),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_place(
    recipe_data: dict[str, Any], path: str, value: Any
) -> None:
    error = mistake(put(recipe_data, path, value))
    assert error.message.startswith("my.yaml: ")
    assert path.rpartition(".")[2] in error.message


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    "path", ["probe.optimizer.lr", "probe.optimizer.weight_decay", "prune.keep", "run.num_gpus"]
)
def test_a_number_must_be_finite(recipe_data: dict[str, Any], path: str, value: float) -> None:
    assert path in mistake(put(recipe_data, path, value)).message


def test_milestones_must_be_finite(recipe_data: dict[str, Any]) -> None:
    steps = {"name": "step", "milestones": [0.5, float("nan")]}
    assert "milestones" in mistake(put(recipe_data, "probe.schedule", steps)).message


def test_every_valid_recipe_has_a_fingerprint(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    assert len(fingerprint(recipe.model_dump(mode="json"))) == 64


def test_a_scored_epoch_beyond_the_training_names_the_epochs_there_are(
    recipe_data: dict[str, Any],
) -> None:
    message = mistake(put(recipe_data, "scores.at", [2, 9])).message
    assert "scores.at has epoch 9" in message
    assert "epochs 1 to 4" in message


def test_a_scored_epoch_after_an_early_stop_is_refused(recipe_data: dict[str, Any]) -> None:
    assert "epochs 1 to 3" in mistake(put(recipe_data, "probe.stop_epoch", 3)).message


@pytest.mark.parametrize("missing", ["name", "source"])
def test_a_missing_key_is_named(recipe_data: dict[str, Any], missing: str) -> None:
    del recipe_data[missing]
    assert mistake(recipe_data).message == f"my.yaml: {missing}: Field required"


def test_the_wrong_value_is_shown(recipe_data: dict[str, Any]) -> None:
    assert "(got 'fast')" in mistake(put(recipe_data, "probe.optimizer.lr", "fast")).message


def test_further_mistakes_are_counted(recipe_data: dict[str, Any]) -> None:
    put(recipe_data, "seeds", 0)
    assert mistake(put(recipe_data, "holdout", {"folds": 0})).message.endswith("; and 1 more")


def test_a_key_that_is_no_text_is_refused(recipe_data: dict[str, Any]) -> None:
    assert "my.yaml: 1" in mistake({**recipe_data, 1: 2}).message


# --- files


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"name: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"a: b: c", "is not YAML"),
        (b"", "holds NoneType"),
        (b"- digits", "holds list"),
        (b"digits", "holds str"),
    ],
)
def test_a_file_that_is_no_recipe_says_what_it_is(tmp_path: Path, text: bytes, says: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(text)
    with pytest.raises(RecipeError, match=says) as caught:
        load_recipe(str(path))
    assert "my.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: x\nsource: {uri: digits}\nseads: 3\n")
    with pytest.raises(RecipeError, match=r"my\.yaml: unknown key seads") as caught:
        load_recipe(str(tmp_path / "my.yaml"))
    assert str(caught.value.hint).startswith("did you mean seeds?")


def test_a_key_given_twice_is_refused_rather_than_half_read(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: x\nsource: {uri: digits}\nseeds: 3\nseeds: 5\n")
    with pytest.raises(RecipeError, match="seeds"):
        load_recipe(str(tmp_path / "my.yaml"))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="there is no recipe digitz") as caught:
        load_recipe("digitz")
    assert str(caught.value.hint).startswith("did you mean digits?")


def test_a_missing_recipe_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe .*gone\.yaml"):
        load_recipe(str(tmp_path / "gone.yaml"))


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(RecipeError, match="is not YAML"):
        load_recipe(str(tmp_path / "my.yaml"))


def test_the_defaults_of_a_recipe_are_a_valid_recipe() -> None:
    recipe = Recipe.model_validate({"name": "x", "source": {"uri": "digits"}})
    assert parse_recipe(recipe.model_dump(), where="tests") == recipe
