"""What changed between two versions: rows by content, per class, and settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.versions.diff import diff_versions
from dataprune.versions.load import LoadedVersion

ScoreRandom = Callable[..., Path]
Build = Callable[..., LoadedVersion]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Build d@TAG from a score table and load it."""

    def make(scores: Path, tag: str, **changes: Any) -> LoadedVersion:
        wanted = {"keep": 0.5, "view": True, **changes}
        flow.prune(scores, name="d", tag=tag, store=tmp_path / "store", **wanted)
        return flow.load("d", tag, store=tmp_path / "store")

    return make


def test_a_version_does_not_differ_from_itself(blobs_scores: Path, build: Build) -> None:
    version = build(blobs_scores, "v1")
    assert diff_versions(version, version) == {
        "name": "d",
        "tags": ["v1", "v1"],
        "kept": [150, 150],
        "in_both": 150,
        "added": 0,
        "removed": 0,
        "relabelled": 0,
        "classes": {},
        "settings": {},
    }


def test_rows_added_and_removed_are_those_of_the_kept_sets(
    blobs_scores: Path, build: Build
) -> None:
    old, new = build(blobs_scores, "v1"), build(blobs_scores, "v2", strategy="easiest", keep=0.7)
    told = diff_versions(old, new)
    before, after = set(old.rows.tolist()), set(new.rows.tolist())
    assert told["kept"] == [150, 210]
    assert told["in_both"] == len(before & after) == 60
    assert told["added"] == len(after - before) == 150
    assert told["removed"] == len(before - after) == 90
    labels = old.decisions()["label"].to_numpy()
    for label, name in enumerate(old.manifest.source.class_names):
        counts = told["classes"][name]
        assert counts["added"] == sum(labels[r] == label for r in after - before)
        assert counts["removed"] == sum(labels[r] == label for r in before - after)
    assert told["settings"] == {"keep": [0.5, 0.7], "strategy": ["hardest", "easiest"]}


def test_a_diff_turned_round_swaps_added_and_removed(blobs_scores: Path, build: Build) -> None:
    old, new = build(blobs_scores, "v1"), build(blobs_scores, "v2", keep=0.2)
    there, back = diff_versions(old, new), diff_versions(new, old)
    assert (there["added"], there["removed"]) == (0, 90)
    assert (back["added"], back["removed"]) == (90, 0)


def test_rows_of_another_source_are_matched_by_content_not_by_place(
    blobs_path: Path, score_random: ScoreRandom, build: Build, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    backwards = tmp_path / "backwards.parquet"
    pq.write_table(table.take(np.arange(len(table))[::-1]), backwards)
    old = build(score_random(blobs_path), "v1", keep=1.0)
    new = build(score_random(backwards), "v2", keep=1.0)
    told = diff_versions(old, new)
    assert (told["in_both"], told["added"], told["removed"]) == (300, 0, 0)
    assert told["settings"] == {"source": [str(blobs_path), str(backwards)]}


def test_copies_of_an_example_are_told_apart_by_their_occurrence(
    blobs_path: Path, score_random: ScoreRandom, build: Build, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.concat_tables([table, table]), twice)
    old = build(score_random(blobs_path), "v1", keep=1.0)
    new = build(score_random(twice), "v2", keep=1.0)
    told = diff_versions(old, new)
    assert told["kept"] == [300, 600]
    assert (told["in_both"], told["added"], told["removed"]) == (300, 300, 0)


def test_of_one_source_another_copy_of_an_example_is_another_row(
    blobs_path: Path, score_random: ScoreRandom, build: Build, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.concat_tables([table, table]), twice)
    scores = score_random(twice)
    old, new = build(scores, "v1"), build(scores, "v2", seed=1, strategy="random")
    told = diff_versions(old, new)
    assert told["in_both"] == len(np.intersect1d(old.rows, new.rows))
    assert told["added"] == told["removed"] == 300 - told["in_both"]


def test_a_row_that_changed_its_content_is_one_removed_and_one_added(
    blobs_path: Path, score_random: ScoreRandom, build: Build, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    features = table.column("features").to_pylist()
    features[9] = [0.0] * 6
    changed = tmp_path / "changed.parquet"
    field = table.schema.field("features")
    pq.write_table(table.set_column(0, field, pa.array(features, field.type)), changed)
    old = build(score_random(blobs_path), "v1", keep=1.0)
    told = diff_versions(old, build(score_random(changed), "v2", keep=1.0))
    assert (told["in_both"], told["added"], told["removed"]) == (299, 1, 1)
    assert told["classes"] == {"class-0": {"added": 1, "removed": 1}}


def test_labels_that_were_given_anew_are_no_suggestions(
    blobs_path: Path, score_random: ScoreRandom, build: Build, tmp_path: Path
) -> None:
    table = pq.read_table(blobs_path)
    labels = table.column("label").to_pylist()
    labels[9] = "class-1"
    corrected = tmp_path / "corrected.parquet"
    pq.write_table(table.set_column(1, "label", pa.array(labels)), corrected)
    old = build(score_random(blobs_path), "v1", keep=1.0)
    told = diff_versions(old, build(score_random(corrected), "v2", keep=1.0))
    assert (told["in_both"], told["relabelled"]) == (300, 0)
