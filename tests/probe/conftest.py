"""Loaded sources from small tables, through real Parquet files, and probe units over them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dataprune.core.protocols import Attempt
from dataprune.core.recipe import Recipe, SourceRecipe, parse_recipe
from dataprune.probe.plan import plan_units, shared_arrays
from dataprune.probe.recorder import Recorder
from dataprune.probe.unit import probe_unit
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from dataprune.sources._load import load as load_examples

BASE: dict[str, Any] = {
    "name": "p",
    "source": {"uri": "unused"},
    "probe": {
        "model": {"name": "mlp", "params": {"widths": [8]}},
        "batch_size": 16,
        "optimizer": {"lr": 0.05},
        "schedule_epochs": 4,
    },
    "scores": {"names": ["el2n"], "at": [2]},
    "seeds": 2,
    "holdout": {"folds": 3},
}


def _recipe(**changes: Any) -> Recipe:
    """The base recipe with `section__key=value` replaced."""
    data: dict[str, Any] = {
        key: dict(value) if isinstance(value, dict) else value for key, value in BASE.items()
    }
    for path, value in changes.items():
        *sections, key = path.split("__")
        place = data
        for section in sections:
            place[section] = dict(place.get(section, {}))
            place = place[section]
        place[key] = value
    return parse_recipe(data, where="tests")


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """The base recipe with changes, given as probe__batch_size=8, seeds=3."""
    return _recipe


@pytest.fixture(scope="session")
def load_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Loaded]:
    """Writes a table (and a test split, if given) to Parquet and loads it as a source."""

    def load(train: pa.Table, test: pa.Table | None = None) -> Loaded:
        folder = tmp_path_factory.mktemp("source")
        pq.write_table(train, folder / "train.parquet")
        if test is not None:
            pq.write_table(test, folder / "test.parquet")
        return load_examples(open_source(SourceRecipe(uri=str(folder))))

    return load


def features_table(num_rows: int = 60, *, num_classes: int = 3, seed: int = 0) -> pa.Table:
    """Separable float64 features with integer labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    centres = np.random.default_rng(9).normal(size=(num_classes, 4)) * 3
    features = centres[labels] + rng.normal(size=(num_rows, 4))
    return pa.table({"features": features.tolist(), "label": labels})


def images_table(num_rows: int = 48, *, num_classes: int = 3, size: int = 8) -> pa.Table:
    """Grey PNG images, brighter with the class."""
    rng = np.random.default_rng(1)
    rows = []
    for row in range(num_rows):
        level = 40 + 60 * (row % num_classes)
        pixels = (level + rng.integers(0, 40, size=(size, size))).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    return pa.table({"image": rows, "label": np.arange(num_rows) % num_classes})


@pytest.fixture(scope="session")
def features_loaded(load_table: Callable[..., Loaded]) -> Loaded:
    """60 rows of 4 features in 3 classes, no test split."""
    return load_table(features_table())


@pytest.fixture(scope="session")
def images_loaded(load_table: Callable[..., Loaded]) -> Loaded:
    """48 grey 8x8 images in 3 classes, no test split."""
    return load_table(images_table())


@pytest.fixture(scope="session")
def tested_loaded(load_table: Callable[..., Loaded]) -> Loaded:
    """60 rows of features with a test split of 30."""
    return load_table(features_table(), features_table(30, seed=1))


@pytest.fixture
def run_unit(tmp_path: Path) -> Callable[..., Path]:
    """Trains one seed's unit over (recipe, loaded, signals) and returns its trace's path."""

    def run(recipe: Recipe, loaded: Loaded, signals: set[str], seed: int = 0) -> Path:
        unit = plan_units(recipe, loaded, signals, []).units[seed]
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        shared = shared_arrays(recipe, loaded)
        for array in shared.values():
            if isinstance(array, np.ndarray):
                array.setflags(write=False)  # as a runner hands them over
        probe_unit(unit.spec, shared, Attempt(folder, lambda _progress: None))
        return folder / "trace.parquet"

    return run


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Recorder]:
    """A recorder of four rows in mode train, or what a test asks for."""

    def make(folder: str = "seed0", **changes: Any) -> Recorder:
        return Recorder(tmp_path / folder, **{"num_rows": 4, "mode": "train", **changes})

    return make
