"""Loading a version: every file proven, views equal to materialised rows, mistakes told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    DatapruneError,
    SourceError,
    VersionError,
    VersionNotFoundError,
)
from dataprune.versions.load import LoadedVersion, explain_row

ScoreRandom = Callable[..., Path]


@pytest.fixture
def store(animals_scores: Path, tmp_path: Path) -> Path:
    """A store with the same half of 60 animals as d@v1, materialised, and d@v2, a view."""
    folder = tmp_path / "store"
    for tag, view in (("v1", False), ("v2", True)):
        flow.prune(animals_scores, name="d", tag=tag, keep=0.5, view=view, store=folder)
    return folder


def both(store: Path) -> tuple[LoadedVersion, LoadedVersion]:
    """The materialised version and the view of the same rows."""
    return flow.load("d", "v1", store=store), flow.load("d", "v2", store=store)


def test_a_view_gives_the_rows_of_the_materialised_version_as_frame_and_arrow(
    store: Path,
) -> None:
    materialised, view = both(store)
    assert_frame_equal(materialised.frame().collect(), view.frame().collect())
    ours, theirs = (v.arrow().to_table() for v in (materialised, view))
    assert ours.equals(theirs)
    assert ours.schema.metadata[b"huggingface"] == theirs.schema.metadata[b"huggingface"]
    assert len(ours) == len(materialised) == len(view) == 30


def test_a_view_gives_the_rows_of_the_materialised_version_as_torch(store: Path) -> None:
    ours, theirs = (v.torch() for v in both(store))
    assert len(ours) == len(theirs) == 30
    for i in range(30):
        a, b = ours[i], theirs[i]
        assert a.keys() == b.keys()
        assert a["key"] == b["key"]
        assert a["image"].equal(b["image"])


def test_a_version_of_the_digits_loads_alike_from_files_and_as_a_view(
    tiny_scores: Path, tmp_path: Path
) -> None:
    for tag, view in (("v1", False), ("v2", True)):
        flow.prune(
            tiny_scores, name="d", tag=tag, keep=100, by="el2n", view=view, store=tmp_path
        )  # fmt: skip
    materialised, view_of_it = both(tmp_path)
    assert materialised.arrow().to_table().equals(view_of_it.arrow().to_table())
    assert_frame_equal(materialised.frame().collect(), view_of_it.frame().collect())


def test_rows_are_the_kept_decisions_in_source_order(store: Path, animals_folder: Path) -> None:
    source = pa.concat_tables(pq.read_table(p) for p in sorted(animals_folder.rglob("*.parquet")))
    for version in both(store):
        decisions = version.decisions()
        assert len(decisions) == 60
        assert version.rows.tolist() == decisions.filter("keep")["row"].to_list()
        assert version.rows.dtype == np.int64
        expected = source.take(version.rows).column("key").to_pylist()
        assert version.frame().select("key").collect()["key"].to_list() == expected


def test_a_frame_is_lazy_and_can_be_narrowed(store: Path) -> None:
    for version in both(store):
        frame = version.frame()
        assert isinstance(frame, pl.LazyFrame)
        few = frame.filter(pl.col("label") == 1).select("key", "label").collect()
        assert few.columns == ["key", "label"]
        assert len(few) == version.manifest.classes["dog"].kept


def test_a_version_tells_what_it_is(store: Path) -> None:
    assert repr(flow.load("d", "v2", store=store)) == "<d@v2: 30 of 60 rows, view>"


def test_a_wrong_tag_lists_the_tags_there_are(store: Path) -> None:
    with pytest.raises(VersionNotFoundError, match="d has no version v3") as caught:
        flow.load("d", "v3", store=store)
    assert caught.value.hint == "tags: v1, v2"


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _remove(path: Path) -> None:
    path.unlink()


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_flip, "has other content than the manifest says"),
        (_truncate, "bytes, the manifest says"),
        (_remove, "is missing"),
        (_become_a_folder, "is missing"),
    ],
)
@pytest.mark.parametrize(
    "name", ["data/train-00000-of-00001.parquet", "decisions.parquet", "scores.parquet"]
)
def test_a_damaged_file_is_refused_by_its_path(
    damage: Callable[[Path], None], says: str, name: str, store: Path
) -> None:
    path = store / "d" / "v1" / name
    damage(path)
    with pytest.raises(VersionError) as caught:
        flow.load("d", "v1", store=store)
    assert str(path) in caught.value.message
    assert says in caught.value.message


def test_a_version_without_its_manifest_is_not_there(store: Path) -> None:
    (store / "d" / "v1" / "manifest.json").unlink()
    with pytest.raises(VersionNotFoundError, match="d has no version v1"):
        flow.load("d", "v1", store=store)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", ""),
        ('"kind": "materialized"', '"kind": "stolen"'),
        ('"manifest_version": 1', '"manifest_version": 2'),
        ('"name": "d"', '"name": "d", "extra": 1'),
        ('"sha256": "', '"sha256": "Z'),
    ],
)
def test_a_damaged_manifest_is_refused_by_its_path(old: str, new: str, store: Path) -> None:
    path = store / "d" / "v1" / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DatapruneError) as caught:
        flow.load("d", "v1", store=store)
    assert str(path) in caught.value.message


def test_a_version_that_was_renamed_by_hand_is_refused(store: Path) -> None:
    shutil.copytree(store / "d" / "v1", store / "d" / "v7")
    with pytest.raises(VersionError, match="holds d@v1, not d@v7"):
        flow.load("d", "v7", store=store)


def test_a_store_can_be_moved(store: Path, tmp_path: Path) -> None:
    before = flow.load("d", "v1", store=store).arrow().to_table()
    moved = store.rename(tmp_path / "moved")
    assert flow.load("d", "v1", store=moved).arrow().to_table().equals(before)


def test_a_materialised_version_needs_no_source(store: Path, animals_folder: Path) -> None:
    shutil.rmtree(animals_folder)
    assert len(flow.load("d", "v1", store=store).frame().collect()) == 30


def test_a_view_without_its_source_is_refused_by_its_path(
    store: Path, animals_folder: Path
) -> None:
    shutil.rmtree(animals_folder)
    with pytest.raises(DatapruneError, match=str(animals_folder)):
        flow.load("d", "v2", store=store)


def test_a_view_finds_its_source_from_another_working_directory(
    blobs_path: Path,
    score_random: ScoreRandom,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(blobs_path.parent)
    scores = score_random(blobs_path.name)
    flow.prune(scores, name="d", tag="v1", keep=0.5, view=True, store=tmp_path / "store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(flow.load("d", "v1", store=tmp_path / "store").frame().collect()) == 150


def test_a_view_reads_a_source_that_moved(
    store: Path, animals_folder: Path, tmp_path: Path
) -> None:
    before = flow.load("d", "v2", store=store).arrow().to_table()
    moved = animals_folder.rename(tmp_path / "moved")
    version = flow.load("d", "v2", store=store, source=str(moved))
    assert version.arrow().to_table().equals(before)
    assert version.frame().collect()["key"].to_list() == before.column("key").to_pylist()


def _change_an_image(table: pa.Table) -> pa.Table:
    images = table.column("image").to_pylist()
    images[5] = images[6]
    field = table.schema.field("image")
    return table.set_column(2, field, pa.array(images, field.type))


def _change_a_label(table: pa.Table) -> pa.Table:
    labels = table.column("label").to_pylist()
    labels[5] = (labels[5] + 1) % 3
    return table.set_column(1, table.schema.field("label"), pa.array(labels))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_change_an_image, r"row 5 .* differ in content_hash \(1 rows differ\)"),
        (_change_a_label, r"row 5 .* differ in label \(1 rows differ\)"),
        (lambda t: t.slice(0, 24), r"59 rows, .* has 60"),
    ],
    ids=["an image", "a label", "a row less"],
)
def test_a_view_of_a_source_that_changed_names_the_row_that_differs(
    change: Callable[[pa.Table], pa.Table], says: str, store: Path, animals_folder: Path
) -> None:
    shard = animals_folder / "data" / "train-00000-of-00002.parquet"
    pq.write_table(change(pq.read_table(shard)), shard)
    with pytest.raises(AlignmentError, match=says):
        flow.load("d", "v2", store=store)


def test_a_view_whose_source_lost_a_shard_is_refused(store: Path, animals_folder: Path) -> None:
    (animals_folder / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(SourceError, match="shard 00001 is missing"):
        flow.load("d", "v2", store=store)


def test_explain_tells_the_decision_and_every_score_of_a_row(
    tiny_scores: Path, tmp_path: Path
) -> None:
    flow.prune(tiny_scores, name="d", tag="v1", keep=0.5, by="el2n@2", store=tmp_path)
    version = flow.load("d", "v1", store=tmp_path)
    row = int(version.rows[0])
    told = explain_row(version, row)
    expected = pq.read_table(tiny_scores).slice(row, 1).to_pylist()[0]
    assert told["row"] == row
    assert told["keep"] is True
    assert told["reason"] == "kept"
    assert told["rule"] == "hardest"
    assert told["by"] == "el2n@2"
    assert told["value"] == expected["el2n@2"]
    assert told["class_name"] == str(expected["label"])
    assert told["scores"] == {
        k: v
        for k, v in expected.items()
        if k not in {"row", "content_hash", "key", "label", "group"}
    }
    dropped = np.setdiff1d(np.arange(1797), version.rows)[0]
    assert explain_row(version, int(dropped))["reason"] == "too_easy"


@pytest.mark.parametrize("row", [-1, 60, 10**12])
def test_explain_refuses_a_row_the_source_lacks(row: int, store: Path) -> None:
    with pytest.raises(VersionError, match=f"rows 0 to 59, and no row {row}"):
        explain_row(flow.load("d", "v1", store=store), row)


# --- views of many files


@pytest.fixture
def many_files(tmp_path: Path) -> Callable[[str], Path]:
    """60 rows in 12 files of a format, one of which has no rows."""

    def write(form: str) -> Path:
        folder = tmp_path / form
        folder.mkdir()
        for i in range(13):
            first = 5 * i if i < 3 else 5 * (i - 1)
            part = [
                {"x": float(row), "label": f"c{row % 3}"}
                for row in range(first, first + (5 if i != 3 else 0))
            ]
            path = folder / f"train-{i:05d}.{form}"
            if form == "parquet":
                schema = pa.schema([("x", pa.float64()), ("label", pa.string())])
                pq.write_table(pa.Table.from_pylist(part, schema=schema), path)
            elif form == "jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in part) or "\n")
            else:
                path.write_text("x,label\n" + "".join(f"{r['x']},{r['label']}\n" for r in part))
        return folder

    return write


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("keep", [1, 4, 60])
def test_a_view_of_many_files_gives_the_kept_rows_and_reads_only_files_that_hold_one(
    form: str,
    keep: int,
    many_files: Callable[[str], Path],
    score_random: ScoreRandom,
    tmp_path: Path,
) -> None:
    folder = many_files(form)
    scores = score_random(folder, input="x")
    flow.prune(scores, name="d", tag="v1", keep=keep, view=True, store=tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    needed = {int(row) // 5 for row in version.rows}
    for path in folder.iterdir():  # proven to be there; what is not needed is not read again
        i = int(path.stem[-5:])
        if i == 3 or i - (i > 3) not in needed:
            path.unlink()
    rows = version.arrow().to_table()
    assert rows.column("x").to_pylist() == [float(row) for row in version.rows]
    assert rows.column("label").to_pylist() == [f"c{row % 3}" for row in version.rows]


READ = """
import json, sys
from dataprune import flow
version = flow.load("d", sys.argv[2], store=sys.argv[1])
keys = version.frame().collect()["key"].to_list()
assert version.arrow().to_table().column("key").to_pylist() == keys
unwanted = ("torch", "ray", "sklearn", "click")
print(json.dumps([len(keys), [module for module in unwanted if module in sys.modules]]))
"""


@pytest.mark.parametrize("tag", ["v1", "v2"])
def test_loading_a_version_loads_neither_torch_nor_ray(tag: str, store: Path) -> None:
    command = [sys.executable, "-c", READ, store, tag]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told: list[Any] = json.loads(done.stdout)
    assert told == [30, []]
