"""`dataprune plan` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def recipe(blobs_recipe: dict[str, Any], tmp_path: Path) -> Path:
    """The tiny recipe with a budget, as a file."""
    blobs_recipe["run"] = {"budget": {"cpu_hours": 2}}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(blobs_recipe))
    return path


def test_it_tells_units_times_memory_and_budget(cli: Any, recipe: Path) -> None:
    done = cli("plan", recipe, "--seconds", "0.05", "--at-once", "1,4", "--seeds", "6")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "6 units to train"
    assert lines[1].startswith("One unit on cpu: ")
    for word in ("train", "score", "held-out", "CPU hours", "Memory", "Traces", "at once"):
        assert word in done.out
    assert lines[-1] == "the budget of 2 CPU hours is enough for all 6 units"


def test_json_is_all_that_is_printed(cli: Any, recipe: Path, tmp_path: Path) -> None:
    done = cli("plan", recipe, "--seconds", "0.05", "--work", tmp_path / "work", "--json")
    assert done.code == 0
    assert done.json["units"] == ["seed 0", "seed 1"]
    assert done.json["work"] == str(tmp_path / "work")
    assert set(done.json["wall_seconds"]) >= {"1"}


def test_finished_units_are_told_apart(cli: Any, recipe: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert cli("score", recipe, "--work", work, "--json").code == 0
    done = cli("plan", recipe, "--work", work)
    assert done.code == 0
    assert done.out.startswith("0 units to train, 2 finished already (")
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--at-once", "many"), ("--seconds", "0"), ("--at", "x")]
)
def test_what_is_no_number_is_a_mistake_of_use(
    cli: Any, recipe: Path, option: str, value: str
) -> None:
    done = cli("plan", recipe, option, value)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_an_unknown_recipe_is_one_sentence(cli: Any) -> None:
    done = cli("plan", "digit")
    assert done.code == 2
    assert "digits" in done.err
