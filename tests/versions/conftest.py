"""Sources and score tables that are quick to build versions from: no probe is trained."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune import flow
from dataprune.core.recipe import parse_recipe
from dataprune.versions.load import LoadedVersion

CLASS_NAMES = ["cat", "dog", "owl"]
FEATURES = {
    "key": {"dtype": "string", "_type": "Value"},
    "label": {"names": CLASS_NAMES, "_type": "ClassLabel"},
    "image": {"_type": "Image"},
    "note": {"dtype": "string", "_type": "Value"},
    "box": {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"},
}

ScoreRandom = Callable[..., Path]


@pytest.fixture
def score_random(tmp_path: Path) -> ScoreRandom:
    """Score a Parquet source by random draws; returns the table's path."""

    def score(uri: Path | str, *, seeds: int = 1, seed: int = 0, **columns: str) -> Path:
        recipe: dict[str, Any] = {
            "name": "random",
            "source": {"uri": str(uri), "columns": columns},
            "scores": {"names": ["random"]},
            "seeds": seeds,
            "seed": seed,
        }
        out = tmp_path / f"scores-of-{Path(uri).stem}-{seeds}-{seed}.parquet"
        parsed = parse_recipe(recipe, where="tests")
        return flow.score(parsed, work=tmp_path / "work", out=out).path

    return score


@pytest.fixture
def blobs_scores(blobs_path: Path, score_random: ScoreRandom) -> Path:
    """Random scores of `blobs_path`: 300 rows, 100 of each class."""
    return score_random(blobs_path)


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def animals(num_rows: int = 60) -> pa.Table:
    """Rows as the Hub has them: Image and ClassLabel features, and columns that play no part."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (num_rows, 8, 8, 3), dtype=np.uint8)
    schema = pa.schema(
        [
            pa.field("key", pa.string()),
            pa.field("label", pa.int64()),
            pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            pa.field("note", pa.string()),
            pa.field("box", pa.list_(pa.int32())),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
    )
    return pa.table(
        {
            "key": [f"animal-{i}" for i in range(num_rows)],
            "label": [i % 3 for i in range(num_rows)],
            "image": [{"bytes": _png(p), "path": f"{i}.png"} for i, p in enumerate(pixels)],
            "note": [None if i % 4 == 0 else f"note {i}" for i in range(num_rows)],
            "box": [[i, i + 1, i + 2, i + 3] for i in range(num_rows)],
        },
        schema=schema,
    )


@pytest.fixture
def animals_folder(tmp_path: Path) -> Path:
    """60 tiny images laid out like a Hub dataset, in two shards."""
    folder = tmp_path / "animals"
    (folder / "data").mkdir(parents=True)
    table = animals()
    for i, part in enumerate((table.slice(0, 25), table.slice(25))):
        pq.write_table(part, folder / "data" / f"train-{i:05d}-of-00002.parquet")
    return folder


@pytest.fixture
def animals_scores(animals_folder: Path, score_random: ScoreRandom) -> Path:
    """Random scores of `animals_folder`, with its key column."""
    return score_random(animals_folder, key="key")


KINDS: dict[str, dict[str, Any]] = {
    "materialized": {},
    "ordered": {"order": "score"},
    "view": {"view": True},
}
Make = Callable[..., LoadedVersion]


@pytest.fixture
def make(animals_scores: Path, tmp_path: Path) -> Make:
    """Build and load d@v1: 30 of 60 animals, in one of the kinds."""

    def build(kind: str = "materialized", **changes: Any) -> LoadedVersion:
        wanted = {"tag": "v1", "keep": 0.5, **KINDS[kind], **changes}
        flow.prune(animals_scores, name="d", store=tmp_path / "store", **wanted)
        return flow.load("d", wanted["tag"], store=tmp_path / "store")

    return build
