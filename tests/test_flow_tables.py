"""Score tables in the flow: joined, aligned with their source, and what of them decides."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import dataprune
from dataprune import flow
from dataprune.core.errors import (
    AlignmentError,
    UsageError,
)
from dataprune.core.recipe import parse_recipe
from dataprune.flow import ScoreResult
from dataprune.runs.ledger import Ledger
from dataprune.tables.scores import read_scores


def test_pruning_can_go_by_a_column_of_another_table(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    first = tiny(scores=["el2n"])
    second = tiny(scores=["margin"], out=tmp_path / "margin.parquet")
    joined = flow.prune(
        first.path, name="d", tag="v1", keep=0.5, by="margin@4", extra=[second.path],
        store=tmp_path / "store",
    )  # fmt: skip
    alone = flow.prune(
        second.path, name="d", tag="v2", keep=0.5, by="margin@4", store=tmp_path / "store"
    )
    assert joined.manifest is not None
    assert alone.manifest is not None
    assert joined.manifest.selection == alone.manifest.selection
    version = flow.load("d", "v1", store=tmp_path / "store")
    stored = read_scores(version.folder / version.manifest.scores.file.path)
    assert {"el2n", "el2n@4", "margin", "margin@4"} <= set(stored.columns)
    assert joined.manifest.scores.spec["score"] == "margin"


def test_tables_that_share_a_column_are_not_joined(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    first = tiny()
    with pytest.raises(UsageError, match="has a column el2n"):
        flow.prune(first.path, name="d", tag="v1", keep=0.5, extra=[first.path], store=tmp_path)


def test_tables_of_different_sources_are_not_joined(
    tiny: Callable[..., ScoreResult], blobs_path: Path, tmp_path: Path
) -> None:
    ours = tiny()
    half = tmp_path / "half.parquet"
    pq.write_table(pq.read_table(blobs_path).slice(0, 150), half)
    other = flow.score(half, scores=["random"], work=tmp_path / "other")
    with pytest.raises(AlignmentError, match=r"300 rows, .* has 150"):
        flow.prune(ours.path, name="d", tag="v1", keep=0.5, extra=[other.path], store=tmp_path)


def test_scores_do_not_prune_another_source(
    tiny: Callable[..., ScoreResult], blobs_path: Path, tmp_path: Path
) -> None:
    other = flow.score(blobs_path, scores=["random"], work=tmp_path / "other")
    with pytest.raises(AlignmentError):
        flow.prune(
            other.path, name="d", tag="v1", keep=0.5, store=tmp_path / "store",
            source=_altered(blobs_path),
        )  # fmt: skip
    assert not list((tmp_path / "store").rglob("manifest.json"))


def _altered(path: Path) -> str:
    other = path.with_name("altered.parquet")
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, len(table))]), other)
    return str(other)


def test_versions_of_different_sources_are_not_evaluated_together(
    tiny_scores: Path, blobs_path: Path, tmp_path: Path
) -> None:
    other = flow.score(blobs_path, scores=["random"], work=tmp_path / "other").path
    for tag, scores in (("v1", tiny_scores), ("v2", other)):
        flow.prune(scores, name="d", tag=tag, keep=0.5, store=tmp_path / "store")
    with pytest.raises(UsageError, match="d@v2 and d@v1 come from different sources"):
        flow.evaluate("d", "v1", "v2", seeds=1, store=tmp_path / "store", work=tmp_path / "e")


def test_pruning_takes_the_recipe_s_defaults_where_nothing_else_is_said(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    blobs_recipe["scores"]["names"] = ["el2n", "margin", "random"]
    blobs_recipe["prune"] = {
        "keep": 0.3, "by": "margin", "strategy": "window", "params": {"offset": 0.1},
        "class_balance": "equal", "min_per_class": 5, "seed": 3,
    }  # fmt: skip
    recipe = parse_recipe(blobs_recipe, where="tests")
    scores = flow.score(recipe, work=tmp_path / "work").path
    first = flow.prune(scores, name="d", tag="v1", store=tmp_path / "store").manifest
    assert first is not None
    selection = first.selection
    assert (selection.keep, selection.by, selection.strategy) == (0.3, "margin", "window")
    assert (selection.params, selection.class_balance) == ({"offset": 0.1}, "equal")
    assert (selection.min_per_class, selection.seed, selection.rows_out) == (5, 3, 90)
    other = flow.prune(
        scores, name="d", tag="v2", keep=100, by="el2n", strategy="easiest",
        class_balance="none", min_per_class=0, seed=0, store=tmp_path / "store",
    ).manifest  # fmt: skip
    assert other is not None
    assert other.selection.params == {}
    assert other.selection.rows_out == 100


def test_a_strategy_without_scores_refuses_a_column(tiny_scores: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="strategy random uses no score, and --by names el2n"):
        flow.prune(tiny_scores, name="d", tag="v1", keep=0.5, strategy="random", by="el2n")


def test_a_score_table_tells_what_it_is_made_of(
    tiny: Callable[..., ScoreResult], blobs_path: Path
) -> None:
    result = tiny()
    meta = json.loads(pq.read_schema(result.path).metadata[b"dataprune"])
    assert meta["source"]["uri"] == str(blobs_path)
    assert meta["source"]["fingerprint"] == result.source.fingerprint
    assert meta["seeds"] == [0, 1]
    records = {r.unit_id for r in Ledger(result.work).records()}
    assert set(meta["unit_ids"]) == records
    assert meta["scores"]["el2n@2"]["epoch"] == 2
    assert [t["epoch"] for t in meta["timing"]] == [2, 4]
    assert meta["recipe"]["run"] == {"num_cpus": 1, "num_gpus": 0}


def test_a_recipe_that_decides_by_a_column_it_never_made_is_refused(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    blobs_recipe["prune"] = {"by": "forgeting", "keep": 0.5}
    recipe = parse_recipe(blobs_recipe, where="tests")
    result = dataprune.score(recipe, scores=["el2n", "forgetting"], work=tmp_path / "work")
    with pytest.raises(UsageError, match="decides by forgeting") as caught:
        dataprune.prune(result.path, name="d", tag="v1", store=tmp_path / "store")
    assert "did you mean forgetting?" in str(caught.value.hint)


def test_without_a_column_the_recipes_first_score_decides(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    result = tiny(scores=["margin", "el2n"])
    pruned = dataprune.prune(
        result.path, keep=0.5, name="d", tag="v1", store=tmp_path / "store", view=True
    )
    assert pruned.manifest is not None
    assert pruned.manifest.selection.by == "margin"


def test_a_version_decided_by_a_joined_column_keeps_that_tables_account(
    tiny: Callable[..., ScoreResult], tmp_path: Path
) -> None:
    first = tiny(scores=["el2n"], out=tmp_path / "a.parquet")
    second = tiny(scores=["forgetting"], seeds=3, out=tmp_path / "b.parquet")
    pruned = dataprune.prune(
        first.path,
        extra=[second.path],
        by="forgetting",
        keep=0.5,
        name="d",
        tag="v1",
        store=tmp_path / "store",
    )
    assert pruned.manifest is not None
    assert len(pruned.manifest.scores.unit_ids) == 3
    assert pruned.manifest.scores.reliability == second.reliability["forgetting"]


def test_a_table_that_is_made_again_loses_none_of_its_flags(
    tiny: Callable[..., ScoreResult], caplog: pytest.LogCaptureFixture
) -> None:
    tiny(flags=["label_issue"], seeds=5)
    with caplog.at_level(logging.INFO, logger="dataprune"):
        tiny(flags=["label_issue"], seeds=5)
        assert "no longer hold" not in caplog.text
        tiny(seeds=2, scores=["margin"])
    assert "label_issue; use --out to keep both" in caplog.text
