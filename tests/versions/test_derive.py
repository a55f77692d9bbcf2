"""Versions made from versions: without some rows, and with rows of their own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    UsageError,
    VersionExistsError,
)
from dataprune.tables.decisions import count_by_class, count_reasons
from dataprune.tables.manifest import ParentRef
from dataprune.versions.build import build_version
from dataprune.versions.derive import materialize_in_store, without_rows
from dataprune.versions.diff import diff_versions
from dataprune.versions.load import LoadedVersion, explain_row
from dataprune.versions.store import LocalStore
from tests.versions.conftest import KINDS, Make, ScoreRandom, animals
from tests.versions.derived import every_kind, keys, refused, retracted, sha256


@every_kind
def test_without_rows_a_version_says_nothing_of_them_and_all_of_the_rest(
    kind: str, make: Make
) -> None:
    old = make(kind)
    kept, dropped = int(old.rows[3]), int(np.setdiff1d(np.arange(60), old.rows)[5])
    new = retracted(old, "v2", [kept, dropped])
    assert new.rows.tolist() == [row for row in old.rows if row != kept]
    assert keys(new) == [f"animal-{row}" for row in new.rows]
    before, after = old.decisions(), new.decisions()
    gone = after.filter(pl.col("row").is_in([kept, dropped]))
    assert gone["keep"].to_list() == [False, False]
    assert gone["reason"].to_list() == ["retracted", "retracted"]
    assert gone["content_hash"].to_list() == [0, 0]
    assert gone["key"].to_list() == [None, None]
    assert gone["value"].to_list() == [0.0, 0.0]
    assert gone["rank"].to_list() == [-1, -1]
    rest = ~pl.col("row").is_in([kept, dropped])
    left, were = after.filter(rest), before.filter(rest)
    assert left.drop("rank").equals(were.drop("rank"))
    assert left.sort("rank")["row"].equals(were.sort("rank")["row"])
    assert sorted(left["rank"]) == list(range(58)), "no gap tells where the retracted rows stood"
    assert after["label"].equals(before["label"])
    assert new.manifest.kind == old.manifest.kind
    assert new.manifest.result.order == old.manifest.result.order


@every_kind
def test_the_scores_of_retracted_rows_are_gone_from_the_table_and_groups_stay(
    kind: str, make: Make
) -> None:
    old = make(kind)
    row = int(old.rows[0])
    new = retracted(old, "v2", [row])
    before, after = (v.scores.table.to_pylist() for v in (old, new))
    nothing = {name: 0.0 for name in new.scores.table.schema.names if name.startswith("random")}
    assert nothing, "there were scores"
    assert after[row] == {**before[row], "content_hash": 0, "key": None, **nothing}
    assert after[row]["group"] == before[row]["group"]
    assert [r for r in after if r["row"] != row] == [r for r in before if r["row"] != row]
    assert new.scores.table.schema.equals(old.scores.table.schema)


@every_kind
def test_no_file_of_the_new_version_holds_the_retracted_row(kind: str, make: Make) -> None:
    old = make(kind)
    row = int(old.rows[1])
    new = retracted(old, "v2", [row])
    content = old.decisions()["content_hash"][row]
    for path in new.folder.rglob("*.parquet"):
        table = pl.read_parquet(path)
        assert f"animal-{row}" not in table["key"].to_list()
        assert "content_hash" not in table.columns or content not in table["content_hash"]
    assert str(content) not in (new.folder / "manifest.json").read_text()


@every_kind
def test_the_counts_of_a_derived_version_reconcile(kind: str, make: Make) -> None:
    old = make(kind)
    rows = [int(old.rows[0]), int(old.rows[1]), *np.setdiff1d(np.arange(60), old.rows)[:3].tolist()]
    new = retracted(old, "v2", rows)
    manifest = new.manifest
    assert (manifest.selection.rows_in, manifest.selection.rows_out, len(new)) == (60, 28, 28)
    assert manifest.result.splits["train"].rows == 28
    assert manifest.reasons["retracted"] == 5
    assert sum(manifest.reasons.values()) == 60
    for counts in manifest.classes.values():
        assert counts.kept + counts.dropped == counts.source == 20
    assert sum(c.kept for c in manifest.classes.values()) == 28
    names = manifest.source.class_names
    told = {name: c.model_dump() for name, c in manifest.classes.items()}
    assert count_by_class(new.decisions_table, names) == told
    assert count_reasons(new.decisions_table) == manifest.reasons
    assert manifest.selection.keep == old.manifest.selection.keep, "what was asked for stays"
    assert manifest.selection.kept_rows_sha256 != old.manifest.selection.kept_rows_sha256


@every_kind
def test_the_manifest_names_the_parent(kind: str, make: Make) -> None:
    old = make(kind)
    (parent,) = retracted(old, "v2", [0]).manifest.parents
    assert (parent.version, parent.relation) == ("v1", "retracted")
    assert parent.manifest_sha256 == sha256(old.manifest)
    text = (old.folder / "manifest.json").read_bytes()
    assert parent.manifest_sha256 == hashlib.sha256(text).hexdigest()
    assert old.manifest.parents == []


@every_kind
def test_a_derived_version_is_a_parent_in_turn(kind: str, make: Make) -> None:
    first = make(kind)
    gone = [int(first.rows[0]), int(first.rows[7])]
    once = retracted(first, "v2", gone[:1])
    twice = retracted(once, "v3", gone[1:])
    assert twice.rows.tolist() == [row for row in first.rows if row not in gone]
    assert keys(twice) == [f"animal-{row}" for row in twice.rows]
    assert twice.manifest.reasons["retracted"] == 2
    assert [p.version for p in twice.manifest.parents] == ["v2"]
    at_once = retracted(first, "v4", gone)
    assert at_once.manifest.fingerprint == twice.manifest.fingerprint
    assert at_once.manifest.result == twice.manifest.result
    again = retracted(twice, "v5", [gone[0], int(first.rows[2])])
    assert again.manifest.reasons["retracted"] == 3, "rows retracted before do no harm"


@every_kind
def test_what_changed_and_why_can_be_asked(kind: str, make: Make) -> None:
    old = make(kind)
    row = int(old.rows[0])
    new = retracted(old, "v2", [row])
    told = diff_versions(old, new)
    assert (told["in_both"], told["added"], told["removed"]) == (29, 0, 1)
    assert told["settings"] == {}
    why = explain_row(new, row)
    assert (why["keep"], why["reason"], why["value"], why["key"]) == (False, "retracted", 0.0, None)
    assert set(why["scores"].values()) == {0.0}
    now, then = (explain_row(version, int(new.rows[0])) for version in (new, old))
    assert {**now, "rank": 0} == {**then, "rank": 0}


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(st.integers(0, 299), min_size=1, max_size=12))
def test_whatever_rows_go_the_rest_is_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, many: LoadedVersion, rows: list[int]
) -> None:
    parent = ParentRef(version="v1", manifest_sha256="0" * 64, relation="retracted")
    draft = without_rows(many, "v2", parent, np.asarray(rows, dtype=np.int64))
    store = LocalStore(tmp_path_factory.mktemp("derived"))
    manifest, created = build_version(store, draft)
    assert created
    new = flow.load("d", "v2", store=store.folder)
    assert new.rows.tolist() == [row for row in many.rows if row not in rows]
    assert manifest.reasons["retracted"] == len(set(rows))
    ids = [f"id-{row}" for row in new.rows]
    assert new.arrow().to_table().column("id").to_pylist() == ids


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> LoadedVersion:
    """Half of 300 rows, best first."""
    from dataprune.core.recipe import parse_recipe
    from tests.conftest import blobs

    folder = tmp_path_factory.mktemp("many")
    pq.write_table(blobs(300), folder / "blobs.parquet")
    recipe = {
        "name": "random",
        "source": {"uri": str(folder / "blobs.parquet")},
        "scores": {"names": ["random"]},
        "seeds": 1,
    }
    scores = flow.score(parse_recipe(recipe, where="tests"), work=folder / "work").path
    flow.prune(scores, name="d", tag="v1", keep=0.5, order="score", store=folder / "store")
    return flow.load("d", "v1", store=folder / "store")


@pytest.mark.parametrize("row", [-1, 60, 10**9])
def test_a_row_that_the_source_lacks_is_refused(row: int, make: Make) -> None:
    error = refused(make(), [3, row])
    assert error.message == f"the source has rows 0 to 59, and no row {row}"


def test_no_row_at_all_is_refused(make: Make) -> None:
    error = refused(make(), [])
    assert error.message == "no rows to retract were named"
    assert error.hint == "as in --rows 17,2048"


@every_kind
def test_the_last_rows_are_not_taken_out(kind: str, make: Make) -> None:
    old = make(kind)
    for rows in (old.rows.tolist(), list(range(60))):
        assert refused(old, rows).message == "no row would be left"
    assert len(retracted(old, "v2", old.rows[1:].tolist())) == 1


def test_rows_that_are_gone_already_are_told(make: Make) -> None:
    once = retracted(make(), "v2", [4, 9])
    parent = ParentRef(version="v2", manifest_sha256="0" * 64, relation="retracted")
    with pytest.raises(UsageError, match="d@v2 was made without row 4, 9 already"):
        without_rows(once, "v3", parent, np.asarray([9, 4, 4]))


def test_a_row_named_twice_goes_once(make: Make) -> None:
    old = make()
    assert retracted(old, "v2", [5, 5, 5]).manifest.reasons["retracted"] == 1


@every_kind
def test_a_copy_of_a_retracted_row_stays_and_is_no_change(
    kind: str, score_random: ScoreRandom, tmp_path: Path
) -> None:
    table = animals(20)
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.concat_tables([table, table]).drop_columns(["key"]), path)
    scores, store = score_random(path), tmp_path / "store"
    flow.prune(scores, name="d", tag="v1", keep=0.5, store=store, **KINDS[kind])
    old = flow.load("d", "v1", store=store)
    kept = set(old.rows.tolist())
    second = next(row for row in range(20) if row not in kept and row + 20 in kept)
    new = retracted(old, "v2", [second])
    assert new.rows.tolist() == old.rows.tolist(), "its copy was kept, and it was not"
    told = diff_versions(old, new)
    assert (told["in_both"], told["added"], told["removed"]) == (20, 0, 0)
    first = next(row for row in range(20) if row in kept)
    told = diff_versions(old, retracted(old, "v3", [first]))
    assert (told["in_both"], told["added"], told["removed"]) == (19, 0, 1)


def test_flags_and_columns_that_are_no_numbers_are_blanked_too(
    animals_scores: Path, tmp_path: Path
) -> None:
    table = pq.read_table(animals_scores)
    meta = json.loads(table.schema.metadata[b"dataprune"])
    first = table.schema.names.index("group") + 1
    flags = table.select(table.schema.names[:first])
    added = {
        "is_duplicate": pa.array([True] * 60),
        "duplicate": pa.array([0.5] * 60, pa.float32()),
        "copies": pa.array([2] * 60, pa.int16()),
        "evidence": pa.array([f"animal-{i}" for i in range(60)]),
        "near": pa.array([[1, 2]] * 60),
    }
    for name, column in added.items():
        flags = flags.append_column(pa.field(name, column.type, nullable=False), column)
    meta["scores"] = {"duplicate": {}}
    path = tmp_path / "flags.parquet"
    pq.write_table(flags.replace_schema_metadata({"dataprune": json.dumps(meta)}), path)
    store = tmp_path / "store"
    flow.prune(animals_scores, name="d", tag="v1", keep=0.5, extra=[path], store=store)
    new = retracted(flow.load("d", "v1", store=store), "v2", [7])
    told = new.scores.table.slice(7, 1).to_pylist()[0]
    assert {name: told[name] for name in added} == {
        "is_duplicate": False, "duplicate": 0.0, "copies": 0, "evidence": None, "near": None,
    }  # fmt: skip
    assert new.scores.table.slice(8, 1).to_pylist()[0]["evidence"] == "animal-8"


@pytest.mark.parametrize("task", ["regression", "multilabel", None])
def test_rows_of_other_tasks_can_be_taken_out(task: str | None, tmp_path: Path) -> None:
    from dataprune.core.recipe import parse_recipe

    labels: dict[str | None, list[Any]] = {
        "regression": [i / 2 for i in range(30)],
        "multilabel": [["a"] * (i % 2) + ["b"] * (i % 3 > 0) for i in range(30)],
    }
    table = pa.table({"features": pa.array([[float(i)] for i in range(30)])})
    if task:
        table = table.append_column("label", pa.array(labels[task]))
    pq.write_table(table, tmp_path / "rows.parquet")
    recipe = {
        "name": "random",
        "source": {"uri": str(tmp_path / "rows.parquet")},
        "task": task or "none",
        "scores": {"names": ["random"]},
        "seeds": 1,
    }
    scores = flow.score(parse_recipe(recipe, where="tests"), work=tmp_path / "work").path
    flow.prune(scores, name="d", tag="v1", keep=0.5, order="score", store=tmp_path / "store")
    old = flow.load("d", "v1", store=tmp_path / "store")
    new = retracted(old, "v2", [int(old.rows[0])])
    values = [v[0] for v in new.arrow().to_table().column("features").to_pylist()]
    assert values == [float(row) for row in old.rows[1:]]


@pytest.mark.parametrize("name", ["star*", "run [1]", "what?", "100%", "\u4e16\u754c"])
def test_a_store_may_lie_at_any_path(name: str, blobs_scores: Path, tmp_path: Path) -> None:
    flow.prune(blobs_scores, name="d", tag="v1", keep=0.5, store=tmp_path / name)
    old = flow.load("d", "v1", store=tmp_path / name)
    assert len(retracted(old, "v2", [int(old.rows[0])])) == 149


def test_a_view_of_a_source_without_files_loads_after_a_retraction(
    score_random: ScoreRandom, tmp_path: Path
) -> None:
    scores, store = score_random("digits"), tmp_path / "store"
    flow.prune(scores, name="d", tag="v1", keep=100, view=True, store=store)
    old = flow.load("d", "v1", store=store)
    gone = [int(old.rows[4]), 0]
    new = retracted(old, "v2", gone)
    assert new.manifest.source.files == []
    expected = [i for i, row in enumerate(old.rows) if row not in gone]
    assert new.arrow().to_table().equals(old.arrow().to_table().take(expected))
    manifest, _ = materialize_in_store(LocalStore(store), "d", "v2")
    own = flow.load("d", manifest.version, store=store)
    assert own.arrow().to_table().equals(new.arrow().to_table())
    assert own.manifest.reasons["retracted"] == len(set(gone))


def test_a_view_whose_source_was_rewritten_is_proven_by_the_rows_that_are_left(
    blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    flow.prune(blobs_scores, name="d", tag="v1", keep=0.5, view=True, store=store)
    old = flow.load("d", "v1", store=store)
    retracted(old, "v2", [7])
    table = pq.read_table(blobs_path)
    pq.write_table(table, blobs_path, compression="zstd", row_group_size=9)
    new = flow.load("d", "v2", store=store)
    assert new.arrow().to_table().equals(table.take(new.rows))
    pq.write_table(table.take([*range(8), 9, 8, *range(10, 300)]), blobs_path)
    with pytest.raises(AlignmentError, match=r"row 8 .* differ in content_hash \(2 rows differ\)"):
        flow.load("d", "v2", store=store)
    pq.write_table(table.take([*range(7), 1, *range(8, 300)]), blobs_path)
    with pytest.raises(AlignmentError, match="is not the one that was scored"):
        flow.load("d", "v2", store=store)  # which row it is cannot be told: its hash is gone


def test_a_control_stays_the_control_of_its_version(make: Make) -> None:
    make(control=True)
    store = make().folder.parent.parent
    control = flow.load("d", "v1-control", store=store)
    assert retracted(control, "v2-control", [0]).manifest.control_of == "v1"


def test_a_taken_tag_is_refused_and_changes_nothing(make: Make) -> None:
    old = make()
    before = (old.folder / "manifest.json").read_bytes()
    with pytest.raises(VersionExistsError, match="d@v1 exists with other scores"):
        retracted(old, "v1", [0])
    assert (old.folder / "manifest.json").read_bytes() == before
