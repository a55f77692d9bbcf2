"""Building a version: what is written, what is refused, and that it is whole or not there."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    SourceError,
    UsageError,
    VersionExistsError,
)
from dataprune.flow import PruneResult
from dataprune.versions.store import LocalStore

ScoreRandom = Callable[..., Path]
SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


def build(scores: Path, store: Path, **changes: Any) -> PruneResult:
    """Build d@v1 of half the rows."""
    wanted = {"name": "d", "tag": "v1", "keep": 0.5, **changes}
    return flow.prune(scores, store=store, **wanted)


def tree(folder: Path) -> dict[str, bytes]:
    """{relative path: bytes} of every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def set_value(table: pa.Table, column: str, row: int, value: Any) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    i = table.schema.get_field_index(column)
    return table.set_column(i, table.schema.field(i), pa.array(values, table.schema.field(i).type))


def test_shards_keep_every_column_their_order_and_the_features(
    animals_folder: Path, animals_scores: Path, tmp_path: Path
) -> None:
    result = build(animals_scores, tmp_path / "store")
    assert result.folder is not None
    (shard,) = sorted((result.folder / "data").iterdir())
    assert shard.name == "train-00000-of-00001.parquet"
    written = pq.read_table(shard)
    source = pa.concat_tables(pq.read_table(p) for p in sorted(animals_folder.rglob("*.parquet")))
    assert written.schema.equals(source.schema, check_metadata=False)
    assert json.loads(written.schema.metadata[b"huggingface"]) == json.loads(
        source.schema.metadata[b"huggingface"]
    )
    decisions = pl.read_parquet(result.folder / "decisions.parquet")
    keep = decisions["keep"].to_arrow()
    assert written.equals(source.filter(pa.array(keep.to_pylist())))


def test_shards_load_in_datasets_with_their_features(animals_scores: Path, tmp_path: Path) -> None:
    import datasets

    result = build(animals_scores, tmp_path / "store")
    assert result.folder is not None
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(result.folder / "data" / "*.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded.num_rows == 30
    assert loaded.column_names == ["key", "label", "image", "note", "box"]
    assert loaded.features["label"] == datasets.ClassLabel(names=["cat", "dog", "owl"])
    assert loaded.features["image"] == datasets.Image()
    assert loaded[0]["image"].size == (8, 8)


def test_the_manifest_reconciles_with_the_rows_of_the_written_files(
    animals_scores: Path, tmp_path: Path
) -> None:
    result = build(animals_scores, tmp_path / "store", keep=17)
    manifest = result.manifest
    assert manifest is not None
    assert result.folder is not None
    files = manifest.result.splits["train"].files
    written = pa.concat_tables(pq.read_table(result.folder / f.path) for f in files)
    assert [f.rows for f in files] == [17]
    assert manifest.selection.rows_out == manifest.result.splits["train"].rows == len(written) == 17
    names = manifest.source.class_names
    counted = Counter(names[label] for label in written.column("label").to_pylist())
    assert {name: c.kept for name, c in manifest.classes.items()} == dict(counted)
    for counts in manifest.classes.values():
        assert counts.kept + counts.dropped == counts.source == 20
    assert sum(manifest.reasons.values()) == manifest.selection.rows_in == 60
    assert manifest.reasons["kept"] == 17


def test_every_row_of_the_source_has_a_decision_with_its_reason(
    blobs_scores: Path, tmp_path: Path
) -> None:
    result = build(blobs_scores, tmp_path / "store")
    assert result.folder is not None
    decisions = pl.read_parquet(result.folder / "decisions.parquet")
    scores = pl.read_parquet(blobs_scores)
    assert decisions["row"].to_list() == list(range(300))
    assert decisions["content_hash"].equals(scores["content_hash"])
    assert set(decisions.filter("keep")["reason"]) == {"kept"}
    assert set(decisions.filter(~pl.col("keep"))["reason"]) == {"too_easy"}
    kept, dropped = (decisions.filter(pl.col("keep") == k)["value"] for k in (True, False))
    assert kept.min() >= dropped.max()


def test_keeping_everything_gives_the_source_back(
    blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    build(blobs_scores, tmp_path / "store", keep=1.0)
    whole = flow.load("d", "v1", store=tmp_path / "store").arrow().to_table()
    assert whole.equals(pq.read_table(blobs_path))


def test_columns_of_every_kind_come_through_unchanged(
    score_random: ScoreRandom, tmp_path: Path
) -> None:
    n = 40
    point = pa.struct([("x", pa.float64()), ("tags", pa.list_(pa.string()))])
    columns = {
        "features": pa.array([[float(i), 1.0] for i in range(n)], pa.list_(pa.float32(), 2)),
        "label": pa.array([i % 2 for i in range(n)], pa.int8()),
        "dotted.name": pa.array([f"v{i}" for i in range(n)]),
        "dictionary": pa.array([f"c{i % 3}" for i in range(n)]).dictionary_encode(),
        "map": pa.array([[(f"k{i}", i)] for i in range(n)], pa.map_(pa.string(), pa.int64())),
        "points": pa.array([[{"x": i, "tags": ["a"]}] for i in range(n)], pa.list_(point)),
        "large": pa.array([f"text {i}" for i in range(n)], pa.large_string()),
        "blob": pa.array([bytes([i]) for i in range(n)], pa.large_binary()),
        "blobs": pa.array([[bytes([i])] for i in range(n)], pa.list_(pa.binary())),
        "when": pa.array(range(n), pa.timestamp("us", tz="UTC")),
        "price": pa.array([None] * n, pa.decimal128(9, 2)),
        "nothing": pa.nulls(n),
        "flag": pa.array([i % 3 == 0 for i in range(n)]),
        "half": pa.array(np.arange(n, dtype=np.float16)),
        "uuid": pa.array([bytes([i] * 16) for i in range(n)], pa.binary(16)),
    }
    path = tmp_path / "kinds.parquet"
    pq.write_table(pa.table(columns), path)
    build(score_random(path, input="features"), tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    expected = pq.read_table(path).take(version.rows)
    assert version.arrow().to_table().equals(expected)


def test_the_same_build_again_changes_nothing(blobs_scores: Path, tmp_path: Path) -> None:
    first = build(blobs_scores, tmp_path / "store")
    assert first.created
    assert first.folder is not None
    before = {p: p.stat().st_mtime_ns for p in first.folder.rglob("*")}
    second = build(blobs_scores, tmp_path / "store")
    assert not second.created
    assert second.manifest == first.manifest
    assert {p: p.stat().st_mtime_ns for p in first.folder.rglob("*")} == before


@pytest.mark.parametrize("kind", ["materialized", "view"])
def test_the_same_build_in_another_store_gives_the_same_bytes(
    kind: str, blobs_scores: Path, tmp_path: Path
) -> None:
    stores = [tmp_path / "here", tmp_path / "there"]
    for store in stores:
        build(blobs_scores, store, view=kind == "view", control=True)
    assert tree(stores[0]) == tree(stores[1])
    assert "d/v1/manifest.json" in tree(stores[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keep": 0.25}, "keep 0.5, this has 0.25"),
        ({"keep": 150}, "keep 0.5, this has 150"),
        ({"strategy": "easiest"}, "strategy hardest, this has easiest"),
        ({"strategy": "random"}, "strategy hardest, this has random"),
        ({"by": "random@20"}, "by random, this has random@20"),
        ({"seed": 5}, "seed 0, this has 5"),
        ({"class_balance": "equal"}, "class_balance none, this has equal"),
        ({"min_per_class": 3}, "min_per_class 0, this has 3"),
        ({"view": True}, "kind materialized, this is a view"),
    ],
)
def test_another_build_under_a_taken_tag_says_what_differs_and_the_next_tag(
    changes: dict[str, Any], says: str, blobs_scores: Path, tmp_path: Path
) -> None:
    first = build(blobs_scores, tmp_path / "store")
    assert first.folder is not None
    before = tree(first.folder)
    with pytest.raises(VersionExistsError) as caught:
        build(blobs_scores, tmp_path / "store", **changes)
    assert caught.value.message == f"d@v1 exists with {says}"
    assert caught.value.hint == "versions never change: use another tag, such as v2"
    assert tree(first.folder) == before


def test_other_scores_under_a_taken_tag_are_refused(
    blobs_path: Path, score_random: ScoreRandom, tmp_path: Path
) -> None:
    build(score_random(blobs_path), tmp_path / "store")
    with pytest.raises(VersionExistsError, match="d@v1 exists with other scores"):
        build(score_random(blobs_path, seed=1), tmp_path / "store")


def test_another_source_under_a_taken_tag_is_refused(
    blobs_scores: Path, animals_scores: Path, tmp_path: Path
) -> None:
    build(blobs_scores, tmp_path / "store")
    with pytest.raises(VersionExistsError, match=r"another source, .*blobs\.parquet"):
        build(animals_scores, tmp_path / "store")


def test_the_next_tag_comes_after_the_highest_number(blobs_scores: Path, tmp_path: Path) -> None:
    for tag in ("v1", "v2", "v10-slug"):
        build(blobs_scores, tmp_path / "store", tag=tag)
    with pytest.raises(VersionExistsError) as caught:
        build(blobs_scores, tmp_path / "store", tag="v2", keep=0.25)
    assert (caught.value.hint or "").endswith("such as v11")


@pytest.mark.parametrize("kind", ["materialized", "view"])
def test_a_control_is_random_with_the_same_class_counts(
    kind: str, blobs_scores: Path, tmp_path: Path
) -> None:
    result = build(blobs_scores, tmp_path / "store", control=True, view=kind == "view", keep=0.3)
    assert result.manifest is not None
    assert result.control is not None
    assert result.control.version == "v1-control"
    assert result.control.control_of == "v1"
    assert result.manifest.control_of is None
    assert result.control.kind == result.manifest.kind
    assert result.control.selection.strategy == "random"
    assert result.control.selection.class_balance == "matched"
    assert result.control.classes == result.manifest.classes
    rows = {t: flow.load("d", t, store=tmp_path / "store").rows for t in ("v1", "v1-control")}
    assert len(rows["v1"]) == len(rows["v1-control"]) == 90
    in_both = np.intersect1d(rows["v1"], rows["v1-control"])
    assert 10 < len(in_both) < 50  # 27 are expected of two independent draws
    again = build(blobs_scores, tmp_path / "store", control=True, view=kind == "view", keep=0.3)
    assert again.control == result.control


def test_a_control_can_be_added_to_a_version_built_without(
    blobs_scores: Path, tmp_path: Path
) -> None:
    assert build(blobs_scores, tmp_path / "store").control is None
    later = build(blobs_scores, tmp_path / "store", control=True)
    assert not later.created
    assert LocalStore(tmp_path / "store").tags("d") == ["v1", "v1-control"]


@pytest.mark.parametrize("kind", ["materialized", "view"])
def test_the_manifest_fits_its_schema_and_holds_no_clock_and_no_host(
    kind: str, animals_scores: Path, tmp_path: Path
) -> None:
    result = build(animals_scores, tmp_path / "store", control=True, view=kind == "view")
    assert result.folder is not None
    schema = json.loads((SCHEMAS / "manifest.v1.json").read_text())
    for tag in ("v1", "v1-control"):
        text = (result.folder.parent / tag / "manifest.json").read_text()
        jsonschema.validate(json.loads(text), schema)
        assert socket.gethostname() not in text
        assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)
        assert not re.search(r'"(time|date|created|host|user)\w*"', text)


def test_a_view_stores_no_rows(blobs_scores: Path, tmp_path: Path) -> None:
    result = build(blobs_scores, tmp_path / "store", view=True)
    assert result.manifest is not None
    assert result.folder is not None
    assert result.manifest.result.splits["train"].files == []
    assert sorted(tree(result.folder)) == ["decisions.parquet", "manifest.json", "scores.parquet"]


def test_a_dry_run_decides_and_builds_nothing(blobs_scores: Path, tmp_path: Path) -> None:
    result = build(blobs_scores, tmp_path / "store", dry_run=True, control=True)
    assert (result.rows_in, result.rows_out) == (300, 150)
    assert result.manifest is None
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: set_value(t, "features", 17, [9.0] * 6), "row 17 .* differ in content_hash"),
        (lambda t: set_value(t, "label", 42, "class-1"), "row 42 .* differ in label"),
        (lambda t: t.take([1, 0, *range(2, 300)]), "row 0 .* differ in content_hash"),
        (lambda t: t.slice(0, 299), "has 299 rows, .* has 300"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "has 301 rows, .* has 300"),
    ],
    ids=["a value", "a label", "the order", "a row less", "a row more"],
)
@pytest.mark.parametrize("kind", ["materialized", "view"])
def test_a_source_that_changed_since_it_was_scored_is_refused(
    kind: str,
    change: Callable[[pa.Table], pa.Table],
    says: str,
    blobs_path: Path,
    blobs_scores: Path,
    tmp_path: Path,
) -> None:
    rewrite(blobs_path, change)
    with pytest.raises(AlignmentError, match=says):
        build(blobs_scores, tmp_path / "store", view=kind == "view")
    assert LocalStore(tmp_path / "store").tags("d") == []


def test_a_source_that_is_gone_is_refused_by_its_path(
    blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    blobs_path.unlink()
    with pytest.raises(SourceError, match=str(blobs_path)):
        build(blobs_scores, tmp_path / "store")


def test_a_source_rewritten_with_the_same_rows_is_still_the_source(
    blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    pq.write_table(table, blobs_path, compression="zstd", row_group_size=7)
    build(blobs_scores, tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    assert version.arrow().to_table().equals(table.take(version.rows))


def test_a_source_that_moved_is_found_where_it_lies_now(
    blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    moved = blobs_path.rename(tmp_path / "elsewhere.parquet")
    build(blobs_scores, tmp_path / "store", source=str(moved))
    version = flow.load("d", "v1", store=tmp_path / "store")
    assert version.arrow().to_table().equals(table.take(version.rows))


@pytest.mark.parametrize("kind", ["materialized", "view"])
@pytest.mark.parametrize("name", ["Grüße, 世界", "a b", "run [1]", "what?", "100%", "star*"])
def test_paths_may_hold_any_character(
    name: str, kind: str, blobs_path: Path, score_random: ScoreRandom, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = blobs_path.rename(folder / f"{name}.parquet")
    build(score_random(path), folder / "store", view=kind == "view")
    version = flow.load("d", "v1", store=folder / "store")
    assert len(version.arrow().to_table()) == 150
    assert len(version.frame().collect()) == 150


def test_a_partial_score_table_is_warned_of_and_recorded(
    blobs_scores: Path, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_scores)
    meta = json.loads(table.schema.metadata[b"dataprune"])
    meta["status"] = "partial"
    partial = tmp_path / "partial.parquet"
    pq.write_table(table.replace_schema_metadata({"dataprune": json.dumps(meta)}), partial)
    result = build(partial, tmp_path / "store")
    assert any("partial" in warning for warning in result.warnings)
    assert result.manifest is not None
    assert result.manifest.scores.status == "partial"


@pytest.mark.parametrize("keep", [0, -1, 301, 0.0, 1.5, float("nan"), 0.001, True])
def test_a_budget_that_cannot_be_kept_is_refused_before_anything_is_built(
    keep: Any, blobs_scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="keep"):
        build(blobs_scores, tmp_path / "store", keep=keep)
    assert not (tmp_path / "store").exists()
