"""Features in the flow: recorded when they are asked for, and read by strategies of geometry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.errors import RecipeError, UsageError, VersionExistsError
from dataprune.core.recipe import parse_recipe
from dataprune.flow import ScoreResult
from dataprune.scores._import import import_scores
from dataprune.selection._what_if import what_if
from dataprune.tables.features import read_features
from dataprune.tables.scores import read_scores

pytestmark = pytest.mark.usefixtures("one_thread")
Tiny = Callable[..., ScoreResult]


def test_features_are_recorded_once_and_decide_what_is_kept(tiny: Tiny, tmp_path: Path) -> None:
    first = tiny(features=True)
    about = read_scores(first.path).meta["features"]
    assert about["file"] == "scores.features.parquet"
    assert (about["dimensions"], about["seeds"], about["epoch"]) == (16, [0, 1], 4)
    assert tiny(features=True).trained == []
    assert tiny(out=tmp_path / "plain.parquet").trained == []
    assert not (tmp_path / "plain.features.parquet").exists()
    store = {"name": "d", "store": tmp_path / "store"}
    for number, strategy in enumerate(["kcenter", "d2", "moderate", "facility_location"], 1):
        result = flow.prune(first.path, tag=f"v{number}", keep=0.2, strategy=strategy, **store)
        assert result.rows_out == 60
        assert result.manifest is not None
        assert result.manifest.selection.features_sha256 == about["sha256"]
    again = flow.prune(first.path, tag="v1", keep=0.2, strategy="kcenter", control=True, **store)
    assert set(again.tags) == {"v1", "v1-control"}
    control = flow.load("d", "v1-control", store=tmp_path / "store").manifest
    assert control.selection.features_sha256 is None


def test_scores_without_features_say_how_to_have_them_and_units_train_again_for_it(
    tiny: Tiny,
) -> None:
    plain = tiny()
    with pytest.raises(UsageError, match="kcenter reads features of the rows") as caught:
        flow.prune(plain.path, name="d", tag="v1", keep=0.2, strategy="kcenter", dry_run=True)
    assert "score again with --features" in (caught.value.hint or "")
    again = tiny(features=True)
    assert again.trained == [0, 1]
    assert again.notes == ["training again: features were not recorded at epoch 4"]


def test_features_that_are_gone_or_others_are_refused(tiny: Tiny) -> None:
    scored = tiny(features=True)
    beside = scored.path.with_name("scores.features.parquet")
    beside.rename(beside.with_name("moved.parquet"))

    def prune(**more: Any) -> Any:
        wanted = {"keep": 0.2, "strategy": "kcenter", "dry_run": True, **more}
        return flow.prune(scored.path, name="d", tag="v1", **wanted)

    with pytest.raises(UsageError, match="which is not there"):
        prune()
    assert prune(features=beside.with_name("moved.parquet")).rows_out == 60
    beside.write_bytes(scored.path.read_bytes())
    with pytest.raises(UsageError, match="is not the file of features that the score table"):
        prune()
    with pytest.raises(UsageError, match="hardest reads no features, and some are given"):
        prune(strategy="hardest", features=beside)


def test_a_users_own_features_take_their_place(tiny: Tiny, tmp_path: Path) -> None:
    scored = tiny()
    far = np.zeros((300, 2))
    far[[7, 70, 170]] = [[9, 0], [0, 9], [9, 9]]
    table = pa.table({"emb": pa.array(far.tolist()), "row": pa.array(np.arange(300))})
    pq.write_table(table, tmp_path / "mine.parquet")
    mine = {"features": f"{tmp_path / 'mine.parquet'}:emb", "strategy": "kcenter"}
    store = {"name": "d", "store": tmp_path / "store"}
    result = flow.prune(scored.path, tag="v1", keep=4, **mine, **store)
    decisions = flow.load("d", "v1", store=tmp_path / "store").decisions_table.to_pylist()
    assert {7, 70, 170} < {line["row"] for line in decisions if line["keep"]}
    assert result.rows_out == 4
    found = what_if(scored.path, [4, 8], **mine)
    assert [outcome.rows_out for outcome in found.outcomes] == [4, 8]
    pq.write_table(
        table.set_column(0, "emb", pa.array((2 * far).tolist())), tmp_path / "mine.parquet"
    )
    with pytest.raises(VersionExistsError, match="features_sha256"):
        flow.prune(scored.path, tag="v1", keep=4, **mine, **store)


def test_a_filter_reads_features_too(tiny: Tiny) -> None:
    scored = tiny(features=True)
    result = flow.prune(
        scored.path, name="d", tag="v1", keep=30, strategy=["semantic_dedup", "kcenter"],
        params={"semantic_dedup.eps": 0.002}, dry_run=True,
    )  # fmt: skip
    assert result.reasons["near_duplicate"] > 0
    assert result.reasons["kept"] == 30


def test_a_recipe_whose_strategy_reads_features_records_them(
    blobs_recipe: dict[str, Any], tiny: Tiny
) -> None:
    blobs_recipe["prune"] = {"keep": 0.1, "steps": [{"strategy": "kcenter"}]}
    scored = tiny()
    assert flow.prune(scored.path, name="d", tag="v1", dry_run=True).reasons["near_kept"] == 270
    blobs_recipe["scores"]["features"] = False
    assert "features" not in read_scores(tiny().path).meta


def test_scores_that_train_nothing_have_no_features(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    blobs_recipe["scores"] = {"names": ["random"], "features": True}
    recipe = parse_recipe(blobs_recipe, where="tests")
    with pytest.raises(UsageError, match="features come from probes"):
        flow.score(recipe, work=tmp_path / "work")


def with_embedding(recipe: dict[str, Any], vectors: Any) -> None:
    """Give the recipe's source a column of vectors, and name it."""
    path = recipe["source"]["uri"]
    table = pq.read_table(path)
    if "emb" in table.column_names:
        table = table.drop_columns(["emb"])
    pq.write_table(table.append_column("emb", pa.array(vectors.tolist())), path)
    recipe["source"]["columns"] = {"embedding": "emb"}


def far_rows() -> Any:
    far = np.zeros((300, 2))
    far[[7, 70, 170]] = [[9, 0], [0, 9], [9, 9]]
    return far


def test_a_column_of_the_source_takes_the_place_of_the_probes_features(
    blobs_recipe: dict[str, Any], tiny: Tiny, tmp_path: Path
) -> None:
    plain = read_scores(tiny(out=tmp_path / "plain.parquet").path)
    with_embedding(blobs_recipe, far_rows())
    scored = tiny(features=True)
    assert scored.trained == []  # probes do not see the column, and record nothing more
    table = read_scores(scored.path)
    assert table.table.equals(plain.table)
    assert scored.source.columns.input == "features"
    beside = scored.path.with_name("scores.features.parquet")
    told = {"file": beside.name, "dimensions": 2, "column": "emb"}
    assert {k: v for k, v in table.meta["features"].items() if k != "sha256"} == told
    assert read_features(beside, 300).values.tolist() == far_rows().tolist()
    store = {"name": "d", "store": tmp_path / "store"}
    flow.prune(scored.path, tag="v1", keep=4, strategy="kcenter", **store)
    version = flow.load("d", "v1", store=tmp_path / "store")
    kept = {line["row"] for line in version.decisions_table.to_pylist() if line["keep"]}
    assert {7, 70, 170} < kept
    assert version.manifest.selection.features_sha256 == table.meta["features"]["sha256"]
    assert "emb" in version.arrow().schema.names
    with_embedding(blobs_recipe, far_rows()[::-1])
    again = tiny()
    assert again.trained == []
    with pytest.raises(VersionExistsError, match="features_sha256"):
        flow.prune(again.path, tag="v1", keep=4, strategy="kcenter", **store)


def test_without_labels_and_probes_a_source_is_pruned_by_its_own_column(
    blobs_recipe: dict[str, Any], tmp_path: Path
) -> None:
    with_embedding(blobs_recipe, far_rows())
    path = blobs_recipe["source"]["uri"]
    scored = flow.score(path, task="none", embedding="emb", out=tmp_path / "s.parquet")
    assert scored.trained == []
    store = {"name": "d", "store": tmp_path / "store"}
    result = flow.prune(scored.path, tag="v1", keep=4, strategy="kcenter", **store)
    assert result.rows_out == 4
    rows = flow.load("d", "v1", store=tmp_path / "store").frame().collect()["id"].to_list()
    assert {"id-7", "id-70", "id-170"} < set(rows)


def test_recorded_and_imported_scores_have_the_column_too(
    blobs_recipe: dict[str, Any], tiny: Tiny, tmp_path: Path
) -> None:
    tiny()
    with_embedding(blobs_recipe, far_rows())
    recipe = parse_recipe(blobs_recipe, where="tests")
    traced = flow.score(recipe, traces=tmp_path / "work", at=[2, 4], out=tmp_path / "t.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"s": np.arange(300.0)}), other)
    imported = import_scores(
        other, source=recipe, scores={"mine": "s"}, in_order=True, out=tmp_path / "i.parquet"
    )
    for path in (traced.path, imported.path):
        assert read_scores(path).meta["features"]["column"] == "emb"
        wanted = {"keep": 4, "strategy": "kcenter", "dry_run": True}
        assert flow.prune(path, name="d", tag="v1", **wanted).rows_out == 4


def test_a_column_that_nothing_may_record_is_refused(blobs_recipe: dict[str, Any]) -> None:
    with_embedding(blobs_recipe, far_rows())
    blobs_recipe["scores"]["features"] = False
    with pytest.raises(
        RecipeError, match=r"columns\.embedding is emb, and scores.features is false"
    ):
        parse_recipe(blobs_recipe, where="tests")


def test_recipes_and_sources_without_such_a_column_are_stored_as_before(tiny: Tiny) -> None:
    meta = read_scores(tiny().path).meta
    assert "embedding" not in meta["source"]["columns"]
    assert "embedding" not in meta["recipe"]["source"]["columns"]
