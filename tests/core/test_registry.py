"""Plug-ins are found by file name and by entry point, and listed without being imported."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataprune.core.errors import UsageError
from dataprune.core.registry import Registry
from dataprune.probe.models import MODELS
from dataprune.probe.signals import SIGNALS
from dataprune.probe.tasks import TASKS
from dataprune.scores import SCORES
from dataprune.selection import STRATEGIES
from dataprune.sources import FORMATS

ALL: list[Registry[Any]] = [FORMATS, SCORES, STRATEGIES, MODELS, SIGNALS, TASKS]
LIST_NAMES = """
import json, sys
from dataprune.core.registry import Registry
names = [f"{package}.{name}" for package in sys.argv[1:]
         for name in Registry(package, "X", "thing").names()]
print(json.dumps([names, [name for name in names if name in sys.modules]]))
"""

MakeRegistry = Callable[[dict[str, str]], Registry[Any]]


@pytest.fixture
def make_registry(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> MakeRegistry:
    """A registry over a fresh package with the given files."""
    package = f"plugins_of_{abs(hash(request.node.name))}"

    def make(files: dict[str, str]) -> Registry[Any]:
        folder = tmp_path / package
        folder.mkdir()
        for name, text in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return Registry(package, "PLUGIN", "thing")

    return make


def install(folder: Path, group: str, entry_points: dict[str, str]) -> None:
    """Lay out an installed distribution that declares entry points."""
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    importlib.invalidate_caches()


def test_names_are_the_file_names_sorted(make_registry: MakeRegistry) -> None:
    registry = make_registry({"zebra": "PLUGIN = 1", "ant": "PLUGIN = 2"})
    assert registry.names() == ["ant", "zebra"]


def test_files_that_start_with_an_underscore_are_no_plugins(make_registry: MakeRegistry) -> None:
    registry = make_registry({"ant": "PLUGIN = 1", "_machinery": "PLUGIN = 2"})
    assert registry.names() == ["ant"]
    with pytest.raises(UsageError):
        registry.get("_machinery")


def test_listing_and_getting_import_no_other_plugin(make_registry: MakeRegistry) -> None:
    registry = make_registry({"ant": "PLUGIN = 1", "broken": "raise SystemError('imported')"})
    assert registry.names() == ["ant", "broken"]
    assert registry.get("ant") == 1


def test_an_unknown_name_is_a_usage_error_that_names_the_nearest(
    make_registry: MakeRegistry,
) -> None:
    registry = make_registry({"zebra": "PLUGIN = 1", "ant": "PLUGIN = 2"})
    with pytest.raises(UsageError, match="there is no thing named zebar") as caught:
        registry.get("zebar")
    assert caught.value.hint == "did you mean zebra? known: ant, zebra"


@pytest.mark.parametrize("name", ["", ".", "os.path", "../ant", "ant.py", "Ant"])
def test_a_name_is_matched_whole(make_registry: MakeRegistry, name: str) -> None:
    registry = make_registry({"ant": "PLUGIN = 1"})
    with pytest.raises(UsageError):
        registry.get(name)


def test_an_installed_package_adds_a_name_by_entry_point(
    make_registry: MakeRegistry, tmp_path: Path
) -> None:
    registry = make_registry({"ant": "PLUGIN = 1"})
    (tmp_path / "outside_module.py").write_text("THING = 'from outside'")
    install(tmp_path, registry.package, {"bee": "outside_module:THING"})
    assert registry.names() == ["ant", "bee"]
    assert "outside_module" not in sys.modules
    assert registry.get("bee") == "from outside"


def test_an_entry_point_of_another_group_adds_nothing(
    make_registry: MakeRegistry, tmp_path: Path
) -> None:
    registry = make_registry({"ant": "PLUGIN = 1"})
    install(tmp_path, "another.group", {"bee": "outside_module:THING"})
    assert registry.names() == ["ant"]


def test_an_entry_point_cannot_take_the_name_of_one_of_ours(
    make_registry: MakeRegistry, tmp_path: Path
) -> None:
    registry = make_registry({"ant": "PLUGIN = 1"})
    install(tmp_path, registry.package, {"ant": "outside_module:THING"})
    assert registry.names() == ["ant"]
    assert registry.get("ant") == 1


@pytest.mark.parametrize("registry", ALL, ids=lambda r: str(r.package))
def test_every_shipped_plugin_loads_and_calls_itself_what_its_file_is_called(
    registry: Registry[Any],
) -> None:
    assert registry.names()
    for name in registry.names():
        assert getattr(registry.get(name), "name", name) == name


def test_listing_shipped_plugins_imports_none_of_them() -> None:
    command = [sys.executable, "-c", LIST_NAMES, *(registry.package for registry in ALL)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = [f"{registry.package}.{name}" for registry in ALL for name in registry.names()]
    assert json.loads(done.stdout) == [names, []]
