"""Features from the command line: `score --features`, and strategies that read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataprune.tables.features import read_features
from dataprune.tables.manifest import read_manifest


@pytest.mark.usefixtures("one_thread")
def test_scores_with_features_are_pruned_by_geometry(
    cli: Callable[..., Any], blobs_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("score", blobs_path, "--seeds", 2, "--features", "--work", "w").code == 0
    assert len(read_features(tmp_path / "w" / "scores.features.parquet", 300).values) == 300
    line = ["prune", "w/scores.parquet", "--name", "d", "--tag", "v1", "--store", "s"]
    how = ["--strategy", "semantic_dedup", "--strategy", "d2", "--param", "semantic_dedup.eps=1e-6"]
    told = cli(*line, *how, "--param", "neighbours=5", "--keep", "0.1", "--json")
    assert told.code == 0, told.err
    assert told.json["rows_out"] == 30
    assert told.json["reasons"]["outranked"] >= 250
    manifest = read_manifest(tmp_path / "s" / "d" / "v1" / "manifest.json")
    assert manifest.selection.features_sha256 is not None
    assert cli("versions", "verify", "d", "v1", "--store", "s").code == 0
    explained = cli("explain", "d", "v1", 0, "--store", "s")
    assert explained.code == 0
    none = cli(*line, "--strategy", "kcenter", "--keep", "0.1", "--features", "none.parquet")
    assert none.code == 2
    assert "no file of features at none.parquet" in none.err
