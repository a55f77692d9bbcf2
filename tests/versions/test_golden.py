"""Versions made before an option existed stay what they are: same fingerprints, same manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.fingerprint import fingerprint
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from dataprune.sources._load import load_rows
from dataprune.tables.manifest import Manifest, render_manifest
from dataprune.tables.scores import write_scores

NUM_ROWS = 20
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {"keep": 0.5},
    "everything": {
        "keep": 12,
        "strategy": "window",
        "params": {"offset": 1},
        "class_balance": "proportional",
        "min_per_class": 2,
        "seed": 3,
        "order": "score",
    },
    "view": {"keep": 0.25, "view": True, "strategy": "easiest"},
}
# Of the commit before --drop-likely and --relabel.
FINGERPRINTS = {
    "plain": "ef3dfdd6d18962e0d812ae1cc895e2df30145b5c22c48c28d1e587bbee0d2a7e",
    "everything": "8419a5cd476e40aafe05b51060ffb4ce0f8dfd47d9c973eee43d7ae396ed7746",
    "view": "6f1991667f55c011a47a2b39f89fe13f18085ffc138fa370bee2709eae4c7135",
}
CONTROL = "4304ed3d05666fd8fd89dc6ea09d7041b861081e9629a6b0c525c9fc8ba21581"
MANIFEST = "8f744395a9a850ca1f60ed4d9533250290a9863ebb866e407e2fff05618cd6e8"


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A score table whose every value is written down here."""
    monkeypatch.chdir(tmp_path)
    rows = range(NUM_ROWS)
    features = [[float(i), float(i * i % 7)] for i in rows]
    data = pa.table(
        {
            "features": pa.array(features, pa.list_(pa.float32())),
            "label": [f"class-{i % 3}" for i in rows],
        }
    )
    pq.write_table(data, "data.parquet")
    loaded = load_rows(open_source(SourceRecipe(uri="data.parquet")), task="classification")
    meta = {
        "scores": {"el2n": {"score": "el2n", "higher_is": "harder"}},
        "source": loaded.ref.model_dump(mode="json"),
        "recipe": {"name": "golden", "source": {"uri": "data.parquet"}},
        "status": "complete",
        "unit_ids": [],
        "reliability": {},
    }
    values = np.asarray([i * 7 % NUM_ROWS / NUM_ROWS for i in rows])
    write_scores(Path("scores.parquet"), loaded.examples, {"el2n": values}, meta)
    return Path("scores.parquet")


def without_bytes(manifest: Manifest) -> dict[str, Any]:
    """A manifest without what another release of pyarrow changes: hashes of files, and packages."""
    data = json.loads(render_manifest(manifest))
    del data["producer"]

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            left = {k: v for k, v in value.items() if k not in {"bytes", "uri"}}
            left.pop("sha256", None)
            return {k: stripped(v) for k, v in left.items()}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    told: dict[str, Any] = stripped(data)
    return told


@pytest.mark.parametrize("name", CHANGES)
def test_fingerprints_are_those_of_before(scores: Path, name: str) -> None:
    made = flow.prune(scores, name="d", tag="v1", control=name == "plain", **CHANGES[name])
    assert made.manifest is not None
    assert made.manifest.fingerprint == FINGERPRINTS[name]
    if made.control is not None:
        assert made.control.fingerprint == CONTROL
        assert fingerprint(without_bytes(made.manifest)) == MANIFEST
