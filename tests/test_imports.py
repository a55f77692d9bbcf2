"""Importing is cheap: the package and its help load none of what the work needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dataprune

HEAVY = ("torch", "ray", "polars", "pyarrow", "numpy", "pydantic", "sklearn", "PIL")
LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def loaded_after(code: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after some code."""
    command = [sys.executable, "-c", f"{code}\n{LOADED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_the_check_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_after("import numpy")


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import dataprune") & {*HEAVY} == set()


def test_importing_the_package_takes_well_under_a_second() -> None:
    code = "import time; t = time.perf_counter(); import dataprune; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds) < 0.6


@pytest.mark.parametrize("line", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(line: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['dataprune', *{line!r}]\n"
        "from dataprune.cli import main\n"
        "try:\n    main()\nexcept SystemExit as exc:\n    assert exc.code == 0, exc.code"
    )
    assert loaded_after(code) & {"torch", "ray", "polars", "pyarrow"} == set()


def test_the_command_prints_help() -> None:
    command = [sys.executable, "-m", "dataprune", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: dataprune")
    assert done.stderr == ""


def test_the_examples_in_the_help_stand_one_a_line() -> None:
    command = [sys.executable, "-m", "dataprune", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\n  dataprune score digits --out scores.parquet\n" in done.stdout


def test_all_names_what_dir_gives() -> None:
    assert sorted(dataprune.__all__) == dir(dataprune)
    assert len(set(dataprune.__all__)) == len(dataprune.__all__)


@pytest.mark.slow
def test_a_public_name_is_the_same_whatever_was_used_before_it() -> None:
    code = (
        "import importlib, dataprune\n"
        "names = list(dataprune._HOMES)\n"
        "first = {name: getattr(dataprune, name) for name in names}\n"
        "for home in dataprune._HOMES.values(): importlib.import_module(home)\n"
        "now = {name: getattr(dataprune, name) for name in names}\n"
        "print([n for n in names if not callable(now[n]) or now[n] is not first[n]])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", dataprune.__all__)
def test_every_public_name_resolves_and_says_what_it_is_for(name: str) -> None:
    assert getattr(dataprune, name).__doc__


def test_a_name_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dataprune' has no attribute 'scroe'"):
        _ = dataprune.scroe


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(dataprune.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed | {"__version__"} == set(dataprune.__all__)


def test_loading_a_version_needs_neither_torch_nor_ray() -> None:
    assert loaded_after("import dataprune.versions.load") & {"torch", "ray"} == set()
