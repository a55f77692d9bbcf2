"""From what the user named to one recipe: a recipe's name, its file, data, and overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dataprune.core.errors import RecipeError, SourceError, UsageError
from dataprune.core.recipe import load_recipe, parse_recipe
from dataprune.probe.models import MODELS
from dataprune.sources import open_source
from dataprune.sources._load import load
from dataprune.sources._resolve import resolve_recipe, with_default_model
from tests.conftest import png


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    """A file of two images."""
    import numpy as np

    cells = [{"bytes": png(np.full((4, 4), i, np.uint8)), "path": None} for i in range(2)]
    pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / "images.parquet")
    return tmp_path / "images.parquet"


def test_a_shipped_recipe_is_found_by_name() -> None:
    assert resolve_recipe("digits", {}) == load_recipe("digits")


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_a_recipe_file_is_found_by_path(
    tmp_path: Path, recipe_data: dict[str, Any], suffix: str
) -> None:
    path = tmp_path / f"mine.{suffix}"
    path.write_text(yaml.safe_dump(recipe_data))
    wanted = parse_recipe(recipe_data, where="tests")
    assert resolve_recipe(path, {}) == resolve_recipe(str(path), {}) == wanted


def test_a_recipe_is_taken_as_it_is(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    assert resolve_recipe(recipe, {}) == recipe


def test_a_name_of_nothing_names_the_nearest_recipe() -> None:
    with pytest.raises(UsageError, match="digitz is neither a recipe nor data") as caught:
        resolve_recipe("digitz", {})
    assert str(caught.value.hint).startswith("did you mean digits?")


def test_a_recipe_file_that_is_not_there_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no recipe .*gone\.yaml"):
        resolve_recipe(tmp_path / "gone.yaml", {})


# --- plain data


def test_data_gets_the_default_recipe_for_its_kind(image_path: Path) -> None:
    recipe = resolve_recipe(image_path, {})
    default = parse_recipe({"name": "x", "source": {"uri": "x"}}, where="tests")
    assert recipe.source.uri == str(image_path)
    assert recipe.probe == default.probe


def test_numeric_lists_get_a_model_that_reads_them(blobs_path: Path) -> None:
    recipe = resolve_recipe(blobs_path, {})
    assert with_default_model(recipe, "features").probe.model.name == "mlp"
    assert with_default_model(recipe, "image").probe.model.name == "small_cnn"
    assert {"mlp", "small_cnn"} <= set(MODELS.names())


def test_a_model_that_the_recipe_names_stays(blobs_path: Path) -> None:
    recipe = resolve_recipe(blobs_path, {"probe.model.name": "mlp"})
    assert with_default_model(recipe, "image") is recipe


def test_a_folder_and_a_glob_are_data(blobs_path: Path) -> None:
    assert resolve_recipe(blobs_path.parent, {}).source.uri == str(blobs_path.parent)
    assert resolve_recipe(blobs_path.parent / "*.parquet", {}).source.uri.endswith("*.parquet")


@pytest.mark.parametrize("name", ["gone.parquet", "gone-*.parquet"])
def test_data_that_is_not_there_is_a_source_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="there are no Parquet files at"):
        open_source(resolve_recipe(tmp_path / name, {}).source)


def test_data_without_a_label_is_refused_when_its_labels_are_wanted(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    source = open_source(resolve_recipe(tmp_path / "a.parquet", {}).source)
    assert source.columns.label is None
    with pytest.raises(SourceError, match="no label column found"):
        load(source)


def test_a_file_of_no_known_format_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.txt") as caught:
        open_source(resolve_recipe(tmp_path / "notes.txt", {}).source)
    assert "path that exists" not in caught.value.message


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("my data", "my-data"),
        ("été", "t"),
        ("数", "source"),
        ("_hidden", "hidden"),
        ("a.b", "a.b"),
        ("n" * 80, "n" * 64),
    ],
)
def test_the_recipes_name_is_made_from_the_datas(blobs_path: Path, stem: str, name: str) -> None:
    path = blobs_path.rename(blobs_path.with_name(f"{stem}.parquet"))
    assert resolve_recipe(path, {}).name.strip("-") == name


# --- overrides


def test_changes_go_where_they_say(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    changed = resolve_recipe(
        recipe, {"seeds": 7, "run.runner": "ray", "probe.optimizer.lr": 0.2, "scores.at": [1]}
    )
    assert (changed.seeds, changed.run.runner) == (7, "ray")
    assert (changed.probe.optimizer.lr, changed.checkpoints) == (0.2, (1,))


def test_changes_leave_everything_else_as_it_was(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    changed = resolve_recipe(recipe, {"seeds": 7})
    assert changed.model_copy(update={"seeds": recipe.seeds}) == recipe


def test_none_changes_nothing(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    assert resolve_recipe(recipe, {"seeds": None, "run.address": None}) == recipe


@pytest.mark.parametrize("value", [0, False, ""])
def test_a_change_to_nothing_much_is_still_a_change(
    recipe_data: dict[str, Any], value: Any
) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    with pytest.raises(RecipeError, match=r"recipe tiny: probe\.batch_size"):
        resolve_recipe(recipe, {"probe.batch_size": value})


def test_a_change_is_checked_against_the_rest(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    with pytest.raises(RecipeError, match=r"scores\.at has epoch 4"):
        resolve_recipe(recipe, {"probe.stop_epoch": 3})


def test_a_change_of_a_key_there_is_not_names_the_nearest(recipe_data: dict[str, Any]) -> None:
    recipe = parse_recipe(recipe_data, where="tests")
    with pytest.raises(RecipeError, match=r"unknown key run\.runer") as caught:
        resolve_recipe(recipe, {"run.runer": "ray"})
    assert str(caught.value.hint).startswith("did you mean runner?")


def test_data_can_be_changed_too(blobs_path: Path) -> None:
    assert resolve_recipe(blobs_path, {"seeds": 3}).seeds == 3
