"""Real data whose wrong labels are known: planted, or wrong by other people's word.

Each set is scored once by cross-fitting (5 folds, 2 repeats) into `.dataprune/noisy/NAME`; its
finished units serve every later run. `DATAPRUNE_DATA` says where the data are.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.recipe import Recipe, parse_recipe

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data"))
HOME = Path(".dataprune/noisy")
FOLDS, REPEATS = 5, 2
_IMAGE_PROBE = {
    "model": {"name": "small_cnn", "params": {"widths": [16, 32]}},
    "batch_size": 128,
    "optimizer": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005},
    "schedule_epochs": 8,
    "augment": {"flip": True},
}
_TEXT_PROBE = {"model": {"name": "text_bag"}, "batch_size": 64, "schedule_epochs": 12}


@dataclass(frozen=True)
class NoisySet:
    """Where it lies, how it is scored, and which of its labels are wrong, bool (n,)."""

    recipe: Recipe
    work: Path
    wrong: np.ndarray


def names() -> list[str]:
    """Every set there is."""
    return list(_MAKERS)


def prepare(name: str) -> NoisySet:
    """Write the set's Parquet and give the recipe that scores it."""
    table, input_column, probe = _MAKERS[name]()
    folder = HOME / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.parquet"
    pq.write_table(table.drop_columns(["wrong"]), path)
    recipe = parse_recipe(
        {
            "name": name.replace(" ", "-"),
            "source": {
                "uri": str(path.resolve()),
                "columns": {"input": input_column, "label": "label"},
            },
            "probe": probe,
            "scores": {"names": ["el2n", "aum"]},
            "holdout": {"folds": FOLDS, "repeats": REPEATS},
            "run": {"runner": "ray"},
        },
        where=name,
    )
    return NoisySet(recipe, folder / "run", table.column("wrong").to_numpy())


def _fashion_mnist(rate: float, *, pairwise: bool = False) -> tuple[pa.Table, str, dict[str, Any]]:
    rows = pq.read_table(DATA / "fashion_mnist/data/train-00000-of-00001.parquet")
    truth = rows.column("label").to_numpy()
    kept = np.sort(np.concatenate([np.flatnonzero(truth == k)[:2000] for k in range(10)]))
    truth = truth[kept]
    given = planted(truth, 10, rate, pairwise=pairwise)
    return _table(rows.take(kept).column("image"), given, truth), "input", _IMAGE_PROBE


def _cifar10_human() -> tuple[pa.Table, str, dict[str, Any]]:
    parts = sorted((DATA / "cifar10/data").glob("train-*.parquet"))
    rows = pa.concat_tables([pq.read_table(part, columns=["idx", "image"]) for part in parts])
    human = pq.read_table(DATA / "cifar10_human_labels/train.parquet")
    assert rows.column("idx").equals(human.column("idx"))
    kept = np.sort(np.random.default_rng(0).permutation(len(human))[:20_000])
    truth, given = (
        human.column(name).to_numpy()[kept].astype(np.int64) for name in ("label", "human_label")
    )
    probe = {**_IMAGE_PROBE, "schedule_epochs": 12, "augment": {"flip": True, "crop": 4}}
    return _table(rows.take(kept).column("image"), given, truth), "input", probe


def _news(language: str) -> tuple[pa.Table, str, dict[str, Any]]:
    rows = pq.read_table(DATA / f"{language}_newsclass/train.parquet")
    given, truth = (rows.column(name).to_numpy() for name in ("label", "clean_label"))
    return _table(rows.column("text"), given, truth), "input", _TEXT_PROBE


def _table(inputs: pa.ChunkedArray, given: np.ndarray, truth: np.ndarray) -> pa.Table:
    return pa.table({"input": inputs, "label": given.astype(np.int64), "wrong": given != truth})


def planted(
    truth: np.ndarray, num_classes: int, rate: float, *, pairwise: bool = False, seed: int = 0
) -> np.ndarray:
    """Labels of which a share is another class: any of them, or pairwise the next one."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < rate
    shift = 1 if pairwise else rng.integers(1, num_classes, len(truth))
    return np.where(wrong, (truth + shift) % num_classes, truth)


_MAKERS: dict[str, Callable[[], tuple[pa.Table, str, dict[str, Any]]]] = {
    "fashion sym 20": lambda: _fashion_mnist(0.2),
    "fashion clean": lambda: _fashion_mnist(0),
    "fashion asym 20": lambda: _fashion_mnist(0.2, pairwise=True),
    "fashion sym 40": lambda: _fashion_mnist(0.4),
    "fashion sym 10": lambda: _fashion_mnist(0.1),
    "hausa": lambda: _news("hausa"),
    "yoruba": lambda: _news("yoruba"),
    "cifar10 human": _cifar10_human,
}
