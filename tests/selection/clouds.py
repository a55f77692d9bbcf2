"""Points to choose among: pools with features, and what is kept of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.selection import Column
from dataprune.selection._choice import Choice
from dataprune.selection._decide import decide
from dataprune.tables.examples import examples_table

Features = npt.NDArray[np.float32]
NAMES = ["a", "b", "c"]


def clouds(
    num_rows: int, num_features: int = 5, *, seed: int = 0
) -> tuple[Features, npt.NDArray[np.int64]]:
    """Points about three means, and which mean each is about."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % 3
    means = 4 * rng.normal(size=(3, num_features))
    return (means[labels] + rng.normal(size=(num_rows, num_features))).astype(np.float32), labels


def decided(
    strategy: str,
    features: Any,
    budget: float,
    *,
    labels: Any = None,
    scores: Any = None,
    rows: Any = None,
    balance: str = "none",
    seed: int = 0,
    floor: int = 0,
    **params: Any,
) -> pa.Table:
    """Decisions on rows with features; all of one class where no labels are given."""
    n = len(features)
    labels = np.zeros(n, dtype=np.int64) if labels is None else np.asarray(labels)
    examples = examples_table(np.arange(n, dtype=np.uint64), labels)
    if rows is not None:
        examples = examples.set_column(0, examples.schema.field(0), pa.array(np.asarray(rows)))
    scores = np.zeros(n) if scores is None else np.asarray(scores, dtype=np.float64)
    choice = Choice(strategy, budget, params, balance, seed=seed, min_per_class=floor)
    columns = {"aum": Column(-scores, easier=True)}
    features = np.asarray(features, dtype=np.float32)
    return decide(examples, scores, NAMES, choice, columns=columns, features=features)


def kept(table: pa.Table) -> set[int]:
    mask = table.column("keep").to_numpy(zero_copy_only=False)
    return set(table.column("row").to_numpy()[mask].tolist())


def order(table: pa.Table) -> list[int]:
    """Rows, best to keep first, of decisions in one pool."""
    found: list[int] = np.argsort(table.column("rank").to_numpy()).tolist()
    return found


def reasons(table: pa.Table) -> dict[int, str]:
    return dict(
        zip(table.column("row").to_pylist(), table.column("reason").to_pylist(), strict=True)
    )
