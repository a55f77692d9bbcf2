"""A version is what its decisions say: changed by hand, damaged or half there, it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dataprune
from dataprune.core.errors import SourceError, TableError, UsageError, VersionError
from dataprune.core.recipe import parse_recipe


@pytest.fixture
def store(tiny_scores: Path, tmp_path: Path) -> Path:
    """A store with digits@v1."""
    dataprune.prune(tiny_scores, keep=0.5, name="d", tag="v1", store=tmp_path / "store")
    return tmp_path / "store"


def edit(store: Path, *keys: str, value: Any) -> None:
    """Change one value of the manifest by hand."""
    path = store / "d" / "v1" / "manifest.json"
    manifest = json.loads(path.read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("selection", "rows_out"), 899),
        (("selection", "strategy"), "easiest"),
        (("fingerprint",), "0" * 64),
        (("classes", "3", "kept"), 1),
        (("reasons", "kept"), 1),
        (("control_of",), "v0"),
    ],
)
def test_a_manifest_changed_by_hand_is_refused(
    store: Path, keys: tuple[str, ...], value: Any
) -> None:
    edit(store, *keys, value=value)
    problem = "not what its decisions say|disagree on the rows"
    with pytest.raises((VersionError, TableError), match=problem):
        dataprune.load("d", "v1", store=store)


def test_building_a_damaged_version_again_says_that_it_is_damaged(
    store: Path, tiny_scores: Path
) -> None:
    (shard,) = (store / "d" / "v1" / "data").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(VersionError, match="other content"):
        dataprune.prune(tiny_scores, keep=0.5, name="d", tag="v1", store=store)


def test_a_folder_without_a_manifest_where_the_version_would_go_is_named(
    store: Path, tiny_scores: Path
) -> None:
    (store / "d" / "v1" / "manifest.json").unlink()
    with pytest.raises(VersionError, match="is no whole version") as caught:
        dataprune.prune(tiny_scores, keep=0.5, name="d", tag="v1", store=store)
    assert "move the folder away" in str(caught.value.hint)


def test_a_relative_source_is_found_from_the_folders_above_its_scores(
    recipe_data: dict[str, Any], blobs_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(blobs_path.parent)
    recipe_data["source"]["uri"] = blobs_path.name
    result = dataprune.score(parse_recipe(recipe_data, where="tests"), work="runs/here")
    elsewhere = blobs_path.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    scores = Path("..") / result.path
    dataprune.prune(scores, keep=0.5, name="d", tag="v1")
    assert len(dataprune.load("d", "v1")) == 150
    blobs_path.rename(elsewhere / "moved.parquet")
    with pytest.raises(SourceError, match="is not there"):
        dataprune.prune(scores, keep=0.5, name="d", tag="v2")
    dataprune.prune(scores, keep=0.5, name="d", tag="v2", source="moved.parquet")


def test_a_run_folders_table_is_not_taken_by_another_source(
    recipe_data: dict[str, Any], blobs_path: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    dataprune.score(parse_recipe(recipe_data, where="tests"), scores=["random"], work=work)
    before = (work / "scores.parquet").read_bytes()
    with pytest.raises(UsageError, match="scores of another source"):
        dataprune.score(str(blobs_path), scores=["random"], work=work)
    assert (work / "scores.parquet").read_bytes() == before
