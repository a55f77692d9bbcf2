"""mem_flip of a row: how often its label is fitted and lost, over the seeds trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune.core.recipe import parse_recipe
from dataprune.tables.scores import read_scores


def test_it_is_the_mean_over_the_seeds_that_trained_on_the_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 120)
    inputs = (rng.normal(size=(120, 30)) + label[:, None]).astype(np.float32)
    given = np.where(np.arange(120) < 24, 1 - label, label)
    pl.DataFrame({"x": inputs.tolist(), "y": given}).write_parquet(tmp_path / "rows.parquet")
    recipe = parse_recipe(
        {
            "name": "mean",
            "source": {
                "uri": str(tmp_path / "rows.parquet"),
                "columns": {"input": "x", "label": "y"},
            },
            "probe": {"model": "mlp", "batch_size": 12, "schedule_epochs": 4},
            "scores": {"timing_gate": "off"},
            "holdout": {"folds": 3},
            "seeds": 3,
        },
        where="test",
    )
    made = dataprune.score(recipe, scores=["mem_flip"], work=tmp_path / "work")
    values = read_scores(made.path).table.column("mem_flip").to_pylist()
    seen: dict[int, list[float]] = {row: [] for row in range(120)}
    for path in (tmp_path / "work" / "units").glob("*/trace.parquet"):
        for example in pq.read_table(path).to_pylist():
            if example["in_sample"]:
                seen[example["row"]].append(example["mem_flip"])
    assert {len(of_row) for of_row in seen.values()} == {2}
    for row, of_row in seen.items():
        assert values[row] == pytest.approx(sum(of_row) / 2, rel=1e-5, abs=1e-6)
