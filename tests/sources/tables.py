"""Small tables and files that the source tests read, and the ways they read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, open_source
from dataprune.sources._load import Loaded, load
from tests.conftest import png

Pixels = npt.NDArray[np.uint8]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FLOATS = pa.list_(pa.float32())
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 3, 3), dtype=np.uint8)


def table(columns: dict[str, Any], features: dict[str, Any] | None = None) -> pa.Table:
    """A table, with Hugging Face features in its schema metadata if given."""
    made = pa.table(columns)
    if features is None:
        return made
    return made.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def class_label(*names: str) -> dict[str, Any]:
    """A ClassLabel feature."""
    return {"_type": "ClassLabel", "names": list(names)}


def numbers(first: int, num_rows: int = 2) -> dict[str, Any]:
    """Rows of two features that count on from `first`, in two classes."""
    rows = [[float(first + i), 0.5] for i in range(num_rows)]
    return {"features": pa.array(rows, FLOATS), "label": [i % 2 for i in range(num_rows)]}


def images(pixels: list[Pixels | bytes | None], labels: list[Any] | None = None) -> pa.Table:
    """Rows of Image structs: pixels are encoded as PNG, bytes are taken as they are."""
    cells = [
        {"bytes": png(p) if isinstance(p, np.ndarray) else p, "path": None} if p is not None else p
        for p in pixels
    ]
    wanted = labels if labels is not None else [i % 2 for i in range(len(pixels))]
    return table({"image": pa.array(cells, IMAGE), "label": wanted}, {"image": {"_type": "Image"}})


def write(path: Path, columns: dict[str, Any] | pa.Table) -> Path:
    """Write a Parquet file, and the folders on its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path


def opened(path: Path, **options: Any) -> Source:
    """Open a path as a source."""
    return open_source(SourceRecipe(uri=str(path), **options))


def loaded(path: Path, **options: Any) -> Loaded:
    """Open and load a path."""
    return load(opened(path, **options))


def first_features(source: Source) -> list[float]:
    """The first feature of every row: which rows they are."""
    table_ = pa.Table.from_batches(source.batches(["features"]))
    return [row[0] for row in table_.column("features").to_pylist()]


def refused(path: Path, **options: Any) -> str:
    """The error that loading gives, in one line."""
    with pytest.raises(SourceError) as caught:
        loaded(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
