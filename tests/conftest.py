"""Fixtures that several tests share: tiny sources, a scored run of them, one small Ray."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.runs.object_store import ObjectStore

# Read when ray is first imported: no token file in the developer's home, no usage reports.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# The same examples in every run, so that a run says something of the change and not of the draw;
# HYPOTHESIS_PROFILE=default draws new ones.
settings.register_profile("steady", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

REPO = Path(__file__).resolve().parents[1]


def data_folder() -> Path | None:
    """The folder of real data, if there is one: DATAPRUNE_DATA, or ../shared/data."""
    folder = Path(os.environ.get("DATAPRUNE_DATA", REPO.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; the test is skipped, and says so, where there is none."""
    folder = data_folder()
    if folder is None:
        pytest.skip("no real data: set DATAPRUNE_DATA")
    return folder


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Encode (height, width) or (height, width, 3) uint8 pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def blobs(num_rows: int, *, num_features: int = 6, num_classes: int = 3, seed: int = 0) -> pa.Table:
    """A separable classification table: features (list<float>), label (string), id (string)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    centres = np.random.default_rng(1000).normal(size=(num_classes, num_features)) * 3
    features = (centres[labels] + rng.normal(size=(num_rows, num_features))).astype(np.float32)
    return pa.table(
        {
            "features": pa.array(features.tolist(), pa.list_(pa.float32())),
            "label": [f"class-{c}" for c in labels],
            "id": [f"id-{i}" for i in range(num_rows)],
        }
    )


@pytest.fixture
def blobs_path(tmp_path: Path) -> Path:
    """A Parquet file of 300 separable rows in 3 classes."""
    path = tmp_path / "blobs.parquet"
    pq.write_table(blobs(300), path, row_group_size=100)
    return path


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "source": {"uri": "digits"},
    "probe": {
        "model": {"name": "mlp", "params": {"widths": [16]}},
        "batch_size": 64,
        "optimizer": {"lr": 0.1},
        "schedule_epochs": 4,
    },
    "scores": {"names": ["el2n"], "at": [2, 4]},
    "seeds": 2,
}


@pytest.fixture
def recipe_data() -> dict[str, Any]:
    """A recipe that trains in a blink; change a copy of it."""
    import copy

    return copy.deepcopy(RECIPE)


@pytest.fixture(scope="session")
def tiny_scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A score table of the digits: el2n, loss, margin, forgetting and random, 3 seeds."""
    from dataprune.core.recipe import parse_recipe
    from dataprune.flow import score

    folder = tmp_path_factory.mktemp("tiny")
    names = ["el2n", "loss", "margin", "forgetting", "random"]
    recipe = {**RECIPE, "scores": {"names": names, "at": [2, 4]}, "seeds": 3}
    return score(parse_recipe(recipe, where="tests"), work=folder / "work").path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: small batches only wait for a second."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One small Ray for all tests that need one; the runner finds it running and leaves it be."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 << 20,
    )
    yield
    ray.shutdown()


@pytest.fixture
def blobs_recipe(recipe_data: dict[str, Any], blobs_path: Path) -> dict[str, Any]:
    """The tiny recipe on 300 rows of features, which load and train faster than the digits."""
    recipe_data["source"]["uri"] = str(blobs_path)
    recipe_data["probe"]["batch_size"] = 16
    return recipe_data


@pytest.fixture
def tiny(blobs_recipe: dict[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """Score with the tiny recipe, or what a test made of it, in one work folder."""

    def score(**changes: Any) -> Any:
        from dataprune import flow
        from dataprune.core.recipe import parse_recipe

        wanted = {"work": tmp_path / "work", **changes}
        return flow.score(parse_recipe(blobs_recipe, where="tests"), **wanted)

    return score


@pytest.fixture(scope="session")
def running_object_store() -> Iterator[ObjectStore]:
    """A store on the loopback interface."""
    from tests.runs.object_store import running_store

    with running_store() as running:
        yield running


@pytest.fixture
def bucket(
    running_object_store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """The store, empty, this process's client pointed at it, and a fresh folder for mirrors."""
    store = running_object_store
    for key, value in store.environment.items():
        monkeypatch.setenv(key, value)
    store.objects.clear()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    yield store
    store.refusing.clear()
