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
from dataprune.evaluation.of_versions import _open_study, version_cells
from dataprune.evaluation.outcome import open_bench
from dataprune.tables.scores import read_scores
from dataprune.versions.relabel import suggested_labels
from dataprune.versions.store import LocalStore
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


def test_what_is_held_out_keeps_its_given_labels(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse_recipe(blobs_recipe, where="tests")
    scores = flow.score(recipe, work=tmp_path / "work").path
    given = read_scores(scores).table.column("label").to_numpy()
    store = tmp_path / "store"
    for tag in ("v1", "v2"):
        relabel(scores, store, tag, np.ones(len(given), np.bool_))
    versions = [flow.load("d", tag, store=store) for tag in ("v1", "v2")]
    suggested = suggested_labels(versions[0].scores.table, versions[0].decisions_table)
    assert (suggested != given).all()
    local = LocalStore(store)
    with _open_study(local, versions, {}, {}, None, None, tmp_path / "e") as study:
        bench = open_bench(study)
        cells = version_cells(study, bench, versions)
        held_out = np.asarray(bench.shared["held_out"])
        assert 0 < held_out.sum() < 100
        used = np.asarray(cells[1].arm.targets)
        assert np.array_equal(used, np.where(held_out, given, suggested))
        assert np.array_equal(np.asarray(bench.shared["targets"]), given)
        arms = [cell.arm for cell in cells]
        units, _shared = retrain_units(study.recipe, study.loaded, bench, arms, range(1))
    full, first, second = (unit.unit_id for unit in units)
    assert first != full
    assert first == second


def test_versions_of_two_score_tables_say_that_one_recipe_and_no_one_cost_is_theirs(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for tag, epochs in (("v1", 4), ("v2", 5)):
        blobs_recipe["probe"] = blobs_recipe["probe"] | {"schedule_epochs": epochs}
        recipe = parse_recipe(blobs_recipe, where="tests")
        scored = flow.score(recipe, work=tmp_path / "work")
        flow.prune(scored.path, name="d", tag=tag, keep=0.5, store=store)
    about: dict[str, Any] = {"seeds": 1, "store": store, "scored_in": tmp_path / "work"}
    both = flow.evaluate("d", "v1", "v2", work=tmp_path / "e", **about)
    assert (both.scoring_s, both.why) == (None, "the versions' scores are of different units")
    assert any("v2 was scored by another recipe than v1" in told for told in both.warnings)
    one = flow.evaluate("d", "v1", work=tmp_path / "e", **about)
    assert one.scoring_s is not None
    assert not any("another recipe" in told for told in one.warnings)
    lost = flow.evaluate("d", "v1", work=tmp_path / "e", **about | {"scored_in": tmp_path})
    assert f"not in {tmp_path}" in str(lost.why)


def test_a_version_of_every_row_has_no_random_rows_beside_it(scores: Path, tmp_path: Path) -> None:
    flow.prune(scores, name="d", tag="v1", keep=1.0, store=tmp_path / "store")
    result = flow.evaluate("d", "v1", seeds=2, store=tmp_path / "store", work=tmp_path / "e")
    assert [row["kind"] for row in result.rows] == ["full", "strategy"]
    assert result.rows[1]["gain_over_full"] == 0
    assert "gain_over_random" not in result.rows[1]
