"""What goes to a cluster: the recipe and what was named, without what belongs at home."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprune.core.errors import UsageError
from dataprune.runs import staging
from dataprune.runs.staging import stage


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in (
        "mine.yaml", "nets.py", "package/deep.py", ".git/config", ".venv/lib.py", ".env",
        "tests/test_nets.py", "package/__pycache__/deep.pyc", "data/rows.parquet",
        "mine.egg-info/x",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def sent(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_recipe_goes_alone_by_default(project: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    staged = stage(project / "mine.yaml", None, into)
    assert sent(into) == [staged.recipe] == ["mine.yaml"]


def test_code_goes_along_and_repository_tests_caches_secrets_and_data_do_not(
    project: Path, tmp_path: Path
) -> None:
    into = tmp_path / "into"
    staged = stage(project / "mine.yaml", project, into)
    assert sent(into) == ["mine.yaml", "nets.py", "package/deep.py"]
    assert [name for name, _ in staged.files] == ["nets.py", "package/deep.py"]
    assert staged.num_left == 1


def test_a_recipe_keeps_its_place_in_the_folder_or_comes_to_its_top(
    project: Path, tmp_path: Path
) -> None:
    (project / "package" / "inner.yaml").write_text("inner")
    inner = stage(project / "package" / "inner.yaml", project, tmp_path / "a")
    assert inner.recipe == "package/inner.yaml"
    assert (tmp_path / "a" / inner.recipe).read_text() == "inner"
    outer = tmp_path / "outer.yaml"
    outer.write_text("outer")
    assert stage(outer, project, tmp_path / "b").recipe == "outer.yaml"


def test_two_files_of_the_recipes_name_are_refused(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.yaml"
    other.write_text("another")
    with pytest.raises(UsageError, match=r"another file named mine\.yaml"):
        stage(other, project, tmp_path / "into")


def test_too_much_is_refused_before_anything_is_copied(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LIMIT_BYTES", 1 << 20)
    with (project / "model.txt").open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(UsageError, match="3 MiB to send, and a job takes 1"):
        stage(project / "mine.yaml", project, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_folder_that_is_not_there_is_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        stage(project / "mine.yaml", project / "nowhere", tmp_path / "into")
