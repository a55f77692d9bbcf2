"""The documents are true: commands run, names exist, every command and plug-in is told of."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dataprune.cli import COMMANDS
from dataprune.selection import STRATEGIES

REPO = Path(__file__).resolve().parents[1]
README = (REPO / "README.md").read_text()


def _block_after(heading: str, language: str = "") -> str:
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)[0]


@pytest.mark.slow
def test_the_five_commands_of_the_readme_work_in_order(tmp_path: Path) -> None:
    lines = [line for line in _block_after("Five commands").splitlines() if line.strip()]
    assert len(lines) == 5
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "dataprune"
        done = subprocess.run(
            [sys.executable, "-m", "dataprune", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(_block_after("Five commands", "python"), {})  # noqa: S102 - our own README


def test_the_recipe_of_the_readme_is_valid() -> None:
    import yaml

    from dataprune.core.recipe import parse_recipe

    recipe = parse_recipe(yaml.safe_load(_block_after("Your own data", "yaml")), where="README")
    assert recipe.checkpoints == (5, 10)


def test_the_file_tree_of_the_readme_names_what_is_there() -> None:
    tree = _block_after("Where things are")
    folder = REPO
    for line in tree.splitlines():
        name = line.split()[0]
        folder = REPO if not line.startswith(" ") else REPO / "dataprune"
        assert (folder / name).exists(), name
    told = {line.split()[0].rstrip("/") for line in tree.splitlines() if line.startswith(" ")}
    have = {p.name for p in (REPO / "dataprune").iterdir() if (p / "__init__.py").exists()}
    assert have <= told


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_changelog_or_the_readme(name: str) -> None:
    assert f"`{name}`" in (REPO / "CHANGELOG.md").read_text() or f"dataprune {name}" in README


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README.split("## Strategies", 1)[1].split("\n## ", 1)[0]


def test_every_recipe_and_script_of_pipelines_has_a_line() -> None:
    told = (REPO / "pipelines" / "README.md").read_text()
    files = [p for kind in ("recipes/*", "jobs/*", "*.sh") for p in (REPO / "pipelines").glob(kind)]
    for path in files:
        assert path.relative_to(REPO / "pipelines").as_posix() in told, path


def test_no_module_is_over_four_hundred_lines() -> None:
    long = [
        path.relative_to(REPO).as_posix()
        for path in (REPO / "dataprune").rglob("*.py")
        if len(path.read_text().splitlines()) > 400
    ]
    assert long == []


def test_makefile_targets_named_in_the_documents_exist() -> None:
    makefile = (REPO / "Makefile").read_text()
    for document in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"^make ([a-z-]+)", (REPO / document).read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
