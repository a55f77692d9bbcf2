"""Blobs with a test split, read and laid out, and random-like scores of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.probe.examples import read_examples
from dataprune.sources import open_source
from dataprune.sources._load import Loaded
from tests.conftest import RECIPE, blobs


@pytest.fixture(scope="session")
def split_recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The tiny recipe on 300 rows in 3 classes, with a test split of 90."""
    folder = tmp_path_factory.mktemp("split")
    pq.write_table(blobs(300), folder / "train.parquet")
    pq.write_table(blobs(90, seed=5), folder / "test.parquet")
    probe = RECIPE["probe"] | {"batch_size": 16}
    recipe = RECIPE | {"source": {"uri": str(folder)}, "probe": probe}
    return parse_recipe(recipe, where="tests")


@pytest.fixture(scope="session")
def split_scores(split_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their EL2N scores over two seeds."""
    return flow.score(split_recipe, work=tmp_path_factory.mktemp("work")).path


def loaded_of(recipe: Recipe) -> Loaded:
    """A recipe's examples."""
    return read_examples(recipe, open_source(recipe.source), work=None)


def counts_of(labels: Any, rows: Any) -> list[int]:
    """Rows of each class among some rows."""
    return np.bincount(np.asarray(labels)[rows], minlength=3).tolist()  # type: ignore[no-any-return]
