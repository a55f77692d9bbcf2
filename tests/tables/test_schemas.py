"""`schemas/` is what the code says, and what is written keeps to it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dataprune.core.recipe import parse_recipe, recipe_names
from dataprune.tables.schemas import drifted, render
from dataprune.tables.scores import read_scores

REPO = Path(__file__).resolve().parents[2]
SCHEMAS = REPO / "schemas"
RECIPES = [REPO / "pipelines" / "recipes" / f"{name}.yaml" for name in recipe_names()]


def schema(name: str) -> dict[str, Any]:
    """A schema as committed."""
    document: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The schemas, freshly written."""
    for name, text in render().items():
        (tmp_path / name).write_text(text)
    return tmp_path


# --- drift


def test_the_committed_schemas_are_what_the_code_says() -> None:
    assert drifted(SCHEMAS) == []


def test_freshly_written_schemas_have_not_drifted(folder: Path) -> None:
    assert drifted(folder) == []


def test_a_changed_schema_has_drifted(folder: Path) -> None:
    text = (folder / "trace.v1.json").read_text()
    (folder / "trace.v1.json").write_text(text.replace("epoch", "step"))
    assert drifted(folder) == ["trace.v1.json"]


def test_a_missing_schema_has_drifted(folder: Path) -> None:
    (folder / "recipe.v1.json").unlink()
    assert drifted(folder) == ["recipe.v1.json"]


def test_a_schema_the_code_does_not_know_has_drifted(folder: Path) -> None:
    (folder / "old.v0.json").write_text("{}")
    assert drifted(folder) == ["old.v0.json"]


def test_the_check_can_be_run_from_the_command_line() -> None:
    command = [sys.executable, "-m", "dataprune.tables.schemas", "--check"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- JSON Schemas


@pytest.mark.parametrize("name", ["recipe.v1.json", "manifest.v1.json"])
def test_a_json_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_there_are_recipes_to_check() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.stem))
def test_every_recipe_we_ship_keeps_to_the_schema(path: Path) -> None:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.validate(recipe, schema("recipe.v1.json"), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.stem))
def test_every_recipe_we_ship_is_one_the_code_takes(path: Path) -> None:
    recipe = parse_recipe(yaml.safe_load(path.read_text(encoding="utf-8")), where=str(path))
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    "change",
    [{"sead": 1}, {"seeds": 0}, {"name": "a/b"}, {"version": 2}, {"source": {}}, {"source": "x"}],
    ids=str,
)
def test_an_editor_with_the_schema_refuses_what_the_code_refuses(
    recipe_data: dict[str, Any], change: dict[str, Any]
) -> None:
    validator = jsonschema.Draft202012Validator(schema("recipe.v1.json"))
    assert validator.is_valid(recipe_data)
    assert not validator.is_valid({**copy.deepcopy(recipe_data), **change})


# --- column tables


def test_a_score_table_has_the_columns_its_schema_lists(tiny_scores: Path) -> None:
    columns = {c["name"]: c for c in schema("scores.v1.json")["columns"]}
    found = pq.read_schema(tiny_scores)
    scores = read_scores(tiny_scores).columns
    names = {field.name: field for field in found}
    fixed = [name for name in columns if not name.startswith(("NAME", "FLAG", "carried"))]
    assert found.names[: len(fixed)] == fixed
    for name in fixed:
        assert str(names[name].type) == columns[name]["type"]
        assert names[name].nullable == columns[name]["nullable"]
    spreads = {f"{name}_std" for name in scores if "@" not in name}
    assert set(found.names[len(fixed) :]) - set(scores) <= spreads
    assert all(pa.types.is_float32(names[name].type) for name in found.names[len(fixed) :])


def test_a_score_tables_metadata_has_the_keys_its_schema_lists(tiny_scores: Path) -> None:
    listed = set(schema("scores.v1.json")["metadata"]["keys"])
    # only where scores mem_* or flags are: tests/probe/test_removal.py and tests/flags have them;
    # or scores were carried over: tests/scores/test_carry.py; or features were asked for:
    # tests/test_features_flow.py
    listed -= {"removals", "flags", "flag_overlap", "carried", "features"}
    assert listed - set(read_scores(tiny_scores).meta) == set()


@pytest.mark.parametrize("name", ["scores.v1.json", "trace.v1.json", "decisions.v1.json"])
def test_every_column_is_described(name: str) -> None:
    assert all(column["description"] for column in schema(name)["columns"])
