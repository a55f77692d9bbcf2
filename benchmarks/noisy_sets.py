"""Real data whose wrong labels are known: planted, or wrong by other people's word.

Each set is scored once, by default by cross-fitting (5 folds, 2 repeats), into
`.dataprune/noisy/NAME`; its finished units serve every later run. `DATAPRUNE_DATA` says where the
data are.
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
from dataprune.sources._resolve import resolve_recipe

DATA = Path(os.environ.get("DATAPRUNE_DATA", "../shared/data"))
HOME = Path(".dataprune/noisy")
FOLDS, REPEATS = 5, 2
NUM_ROWS = 20_000  # of the sets of images
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
    """Where it lies, how it is scored, the true classes (n,), and which labels are not these."""

    recipe: Recipe
    work: Path
    truth: np.ndarray
    wrong: np.ndarray


def names() -> list[str]:
    """Every set there is."""
    return list(_MAKERS)


def prepare(
    name: str,
    *,
    num_rows: int = NUM_ROWS,
    home: Path = HOME,
    changes: dict[str, Any] | None = None,
) -> NoisySet:
    """Write the set's Parquet and give the recipe that scores it.

    num_rows: of a set of images. changes: {"section.key": value} of the recipe.
    """
    table, input_column, probe = _MAKERS[name](num_rows)
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.parquet"
    pq.write_table(table.drop_columns(["truth"]), path)
    usual: dict[str, Any] = {
        "name": name.replace(" ", "-"),
        "source": {
            "uri": str(path.resolve()),
            "columns": {"input": input_column, "label": "label"},
        },
        "probe": probe,
        "scores": {"names": ["el2n", "aum"]},
        "holdout": {"folds": FOLDS, "repeats": REPEATS},
        "run": {"runner": "ray"},
    }
    recipe = resolve_recipe(parse_recipe(usual, where=name), changes or {})
    truth = table.column("truth").to_numpy()
    return NoisySet(recipe, folder / "run", truth, table.column("label").to_numpy() != truth)


def _fashion_mnist(
    num_rows: int, rate: float, *, pairwise: bool = False
) -> tuple[pa.Table, str, dict[str, Any]]:
    rows = pq.read_table(DATA / "fashion_mnist/data/train-00000-of-00001.parquet")
    truth = rows.column("label").to_numpy()
    per_class = num_rows // 10
    kept = np.sort(np.concatenate([np.flatnonzero(truth == k)[:per_class] for k in range(10)]))
    truth = truth[kept]
    given = planted(truth, 10, rate, pairwise=pairwise)
    return _table(rows.take(kept).column("image"), given, truth), "input", _IMAGE_PROBE


def _cifar10_human(num_rows: int) -> tuple[pa.Table, str, dict[str, Any]]:
    parts = sorted((DATA / "cifar10/data").glob("train-*.parquet"))
    rows = pa.concat_tables([pq.read_table(part, columns=["idx", "image"]) for part in parts])
    human = pq.read_table(DATA / "cifar10_human_labels/train.parquet")
    assert rows.column("idx").equals(human.column("idx"))
    kept = np.sort(np.random.default_rng(0).permutation(len(human))[:num_rows])
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
    return pa.table(
        {"input": inputs, "label": given.astype(np.int64), "truth": truth.astype(np.int64)}
    )


def planted(
    truth: np.ndarray, num_classes: int, rate: float, *, pairwise: bool = False, seed: int = 0
) -> np.ndarray:
    """Labels of which a share is another class: any of them, or pairwise the next one."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < rate
    shift = 1 if pairwise else rng.integers(1, num_classes, len(truth))
    return np.where(wrong, (truth + shift) % num_classes, truth)


_MAKERS: dict[str, Callable[[int], tuple[pa.Table, str, dict[str, Any]]]] = {
    "fashion sym 20": lambda n: _fashion_mnist(n, 0.2),
    "fashion clean": lambda n: _fashion_mnist(n, 0),
    "fashion asym 20": lambda n: _fashion_mnist(n, 0.2, pairwise=True),
    "fashion sym 40": lambda n: _fashion_mnist(n, 0.4),
    "fashion sym 10": lambda n: _fashion_mnist(n, 0.1),
    "hausa": lambda _: _news("hausa"),
    "yoruba": lambda _: _news("yoruba"),
    "cifar10 human": _cifar10_human,
}
