"""A relabelled version trains on its suggested labels; whatever is tested has its given ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.recipe import parse_recipe
from dataprune.evaluation.arms import retrain_units
from dataprune.evaluation.bench import make_bench
from dataprune.evaluation.compare import version_arms
from dataprune.probe.examples import read_examples
from dataprune.sources import open_source
from dataprune.tables.scores import read_scores
from tests.conftest import blobs
from tests.tables.flagged import put_flags

LIKELY = np.arange(300) % 3 == 1  # a whole class: suggested labels that cannot be learned from


@pytest.fixture
def scores(blobs_recipe: dict[str, Any], tmp_path: Path) -> Path:
    """Random scores of the blobs, whose test split has every label as it should be."""
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(blobs(300), folder / "train.parquet")
    pq.write_table(blobs(90, seed=5), folder / "test.parquet")
    blobs_recipe["source"]["uri"] = str(folder)
    blobs_recipe["scores"] = {"names": ["random"]}
    return flow.score(parse_recipe(blobs_recipe, where="tests"), work=tmp_path / "work").path


def relabel(scores: Path, store: Path, tag: str, likely: Any) -> None:
    given = read_scores(scores).table.column("label").to_numpy()
    flags = put_flags(scores.with_name(f"{tag}.parquet"), given, likely)
    flow.prune(scores, name="d", tag=tag, relabel=True, extra=[flags], store=store)


def test_versions_of_the_same_rows_differ_by_their_suggested_labels(
    scores: Path, tmp_path: Path
) -> None:
    relabel(scores, tmp_path / "store", "v1", LIKELY)
    relabel(scores, tmp_path / "store", "v2", np.zeros(300, np.bool_))
    flow.prune(scores, name="d", tag="v3", keep=1.0, store=tmp_path / "store")
    result = flow.evaluate("d", "v1", "v2", "v3", seeds=1, store=tmp_path / "store",
                           work=tmp_path / "e")  # fmt: skip
    arms = {row["arm"]: row for row in result.rows}
    assert {arm: row["labels"] for arm, row in arms.items()} == {
        "full": "given", "v1": "suggested_label", "v2": "suggested_label", "v3": "given",
    }  # fmt: skip
    assert {row["num_rows"] for row in arms.values()} == {300}
    assert arms["full"]["accuracy"] > 0.9
    assert arms["v1"]["accuracy"] == pytest.approx(2 / 3, abs=0.1)  # it never saw class 1
    assert arms["v2"]["accuracy"] == arms["v3"]["accuracy"] == arms["full"]["accuracy"]


def test_what_is_held_out_keeps_its_given_labels(blobs_recipe: dict[str, Any]) -> None:
    recipe = parse_recipe(blobs_recipe, where="tests")
    loaded = read_examples(recipe, open_source(recipe.source), work=None)
    labels = np.asarray(loaded.labels)
    rows = np.arange(300)
    bench = make_bench(recipe, loaded)
    suggested = {"v1": (labels + 1) % 3}
    arms = version_arms(recipe, loaded, bench, {"v1": rows, "v2": rows}, suggested)
    held_out = np.asarray(bench.shared["held_out"])
    assert 0 < held_out.sum() < 100
    used = np.asarray(arms[1].targets)
    assert np.array_equal(used, np.where(held_out, labels, (labels + 1) % 3))
    assert np.array_equal(np.asarray(bench.shared["targets"]), labels)
    units, _shared = retrain_units(recipe, loaded, bench, arms, 1)
    full, first, second = (unit.unit_id for unit in units)
    assert first != full == second
