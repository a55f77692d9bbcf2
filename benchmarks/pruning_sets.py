"""Data to prune, small enough for two CPU cores, with how it is scored and retrained.

Digits come with scikit-learn; the others want `DATAPRUNE_DATA`.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.recipe import Recipe, load_recipe, parse_recipe
from dataprune.sources._resolve import resolve_recipe

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data"))
KEEPS = (0.7, 0.5, 0.3, 0.1)
_SCORES = ["el2n", "aum", "dual", "confidence"]


@dataclass(frozen=True)
class Set:
    """A recipe, by which score and at which budgets to prune, with how many seeds to tell."""

    recipe: Recipe
    changes: dict[str, Any]
    seeds: int
    keeps: tuple[float, ...] = KEEPS
    steps: int | None = None
    by: str = "el2n"

    def scored(self) -> Recipe:
        """The recipe to score it by."""
        return resolve_recipe(self.recipe, self.changes)


def digits(wrong: float, home: Path) -> Set:
    """Handwritten digits with so many wrong labels among the training rows, none in the test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    test, train = order[:500], order[500:]
    given = labels.copy()
    turned = train[rng.random(len(train)) < wrong]
    given[turned] = (given[turned] + rng.integers(1, 10, len(turned))) % 10
    folder = home / f"digits-{wrong}"
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows, told in (("train", train, given), ("test", test, labels)):
        pixels = pa.array((images[rows] / 16).astype(np.float32).tolist(), pa.list_(pa.float32()))
        pq.write_table(
            pa.table({"pixels": pixels, "label": told[rows]}), folder / f"{split}.parquet"
        )
    columns = {"input": "pixels", "label": "label"}
    changes = {"source.uri": str(folder), "source.columns": columns, "scores.at": [20]}
    return Set(load_recipe("digits"), _scored(changes), seeds=10)


def trec() -> Set:
    changes = {
        "source.uri": str(DATA / "trec"), "scores.at": [12], "seeds": 4, "run.runner": "ray",
    }  # fmt: skip
    return Set(load_recipe("trec"), _scored(changes), seeds=5, keeps=(0.7, 0.3, 0.1))


def _scored(changes: dict[str, Any]) -> dict[str, Any]:
    return {"scores.names": _SCORES, "scores.features": True, **changes}


def images(name: str, uri: str, widths: list[int], epochs: int, at: int) -> Set:
    probe = {
        "model": {"name": "small_cnn", "params": {"widths": widths}},
        "batch_size": 128,
        "optimizer": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005},
        "schedule": {"name": "one_cycle", "warmup": 0.2},
        "schedule_epochs": epochs,
        "augment": {"flip": True},
    }
    about = {"name": name, "source": {"uri": uri}, "probe": probe, "seeds": 4}
    recipe = parse_recipe(about, where=name)
    changes = _scored({"scores.at": [at], "run.runner": "ray"})
    return Set(recipe, changes, seeds=3, keeps=(0.7, 0.3, 0.1), steps=2000)


def fashion() -> Set:
    """Fashion-MNIST whole; DUAL's early epochs are the first 12 of 30."""
    return images("fashion", str(DATA / "fashion_mnist"), [8, 16, 32], epochs=30, at=12)


def cifar10(home: Path, *, human: bool = False) -> Set:
    """20,000 of the training images, drawn at random, and the official test images.

    human: with one person's label of each, of which 15.45 % differ from the official one.
    """
    folder = home / ("cifar10-human" if human else "cifar10")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test.parquet").exists():
        shards = sorted((DATA / "cifar10/data").glob("train-*"))
        train = pa.concat_tables([pq.read_table(shard) for shard in shards])
        rows = np.sort(np.random.default_rng(0).choice(len(train), 20_000, replace=False))
        if human:
            told = pq.read_table(DATA / "cifar10_human_labels").sort_by("idx")
            at = train.schema.get_field_index("label")
            train = train.set_column(at, train.schema.field("label"), told.column("human_label"))
        [test] = (DATA / "cifar10/data").glob("test-*")
        for split, table in (("train", train.take(rows)), ("test", pq.read_table(test))):
            pq.write_table(table.select(["image", "label"]), folder / f"{split}.parquet")
    found = images("cifar10", str(folder), [8, 16, 32], epochs=12, at=12)
    if not human:
        return found
    return replace(found, changes={**found.changes, "flags": ["label_issue"]}, keeps=(0.7, 0.3))
