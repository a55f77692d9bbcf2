"""A view is given rows of its own, before its source goes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    SourceError,
    UsageError,
)
from dataprune.versions.derive import materialize_in_store
from dataprune.versions.diff import diff_versions
from dataprune.versions.store import LocalStore
from tests.versions.conftest import Make
from tests.versions.derived import keys, retracted, sha256


def test_a_view_gets_rows_of_its_own_that_are_the_views(make: Make) -> None:
    view = make("view")
    store = LocalStore(view.folder.parent.parent)
    manifest, created = materialize_in_store(store, "d", "v1")
    assert (manifest.version, manifest.kind, created) == ("v2", "materialized", True)
    own = flow.load("d", "v2", store=store.folder)
    assert own.arrow().to_table().equals(view.arrow().to_table())
    assert own.rows.tolist() == view.rows.tolist()
    assert keys(own) == keys(view)
    assert own.decisions().equals(view.decisions())
    assert own.manifest.result.rows_sha256 == view.manifest.result.rows_sha256
    assert own.manifest.selection == view.manifest.selection
    (parent,) = manifest.parents
    assert (parent.version, parent.relation) == ("v1", "materialized")
    assert parent.manifest_sha256 == sha256(view.manifest)
    assert diff_versions(view, own)["in_both"] == 30


def test_it_is_the_version_that_prune_builds_without_view(make: Make) -> None:
    view, plain = make("view"), make(tag="v2")
    store = LocalStore(view.folder.parent.parent)
    manifest, created = materialize_in_store(store, "d", "v1")
    assert (manifest, created) == (plain.manifest, False)


def test_materialising_again_finds_it(make: Make) -> None:
    store = LocalStore(make("view").folder.parent.parent)
    first, _ = materialize_in_store(store, "d", "v1", "v{n}-own")
    for new in ("v{n}-own", "v2-own"):
        assert materialize_in_store(store, "d", "v1", new) == (first, False)
    assert store.tags("d") == ["v1", "v2-own"]


def test_the_copy_outlives_the_source_and_the_view_does_not(
    make: Make, animals_folder: Path, tmp_path: Path
) -> None:
    view = make("view")
    store = LocalStore(view.folder.parent.parent)
    expected = view.arrow().to_table()
    materialize_in_store(store, "d", "v1")
    animals_folder.rename(tmp_path / "moved")
    own = flow.load("d", "v2", store=store.folder)
    assert own.arrow().to_table().equals(expected)
    with pytest.raises(SourceError) as caught:
        materialize_in_store(store, "d", "v1", "v3")
    assert caught.value.message == f"the source that was scored, {animals_folder}, is not there"
    assert "--source" in (caught.value.hint or "")
    there = str(tmp_path / "moved")
    assert materialize_in_store(store, "d", "v1", source_uri=there) == (own.manifest, False)


def test_a_source_that_is_another_now_is_refused(make: Make, animals_folder: Path) -> None:
    store = LocalStore(make("view").folder.parent.parent)
    shard = animals_folder / "data" / "train-00000-of-00002.parquet"
    pq.write_table(pq.read_table(shard).take([1, 0, *range(2, 25)]), shard)
    with pytest.raises(AlignmentError, match="row 0 "):
        materialize_in_store(store, "d", "v1")
    assert store.tags("d") == ["v1"]


@pytest.mark.parametrize("kind", ["materialized", "ordered"])
def test_what_is_no_view_has_its_rows_already(kind: str, make: Make) -> None:
    store = LocalStore(make(kind).folder.parent.parent)
    with pytest.raises(UsageError, match="d@v1 has its own rows already: it is no view"):
        materialize_in_store(store, "d", "v1")


def test_a_view_without_some_rows_can_be_materialised(make: Make) -> None:
    view = make("view")
    row = int(view.rows[2])
    without = retracted(view, "v2", [row])
    store = LocalStore(view.folder.parent.parent)
    manifest, _ = materialize_in_store(store, "d", "v2")
    own = flow.load("d", manifest.version, store=store.folder)
    assert keys(own) == keys(without) == [f"animal-{r}" for r in view.rows if r != row]
    assert own.decisions().equals(without.decisions())
