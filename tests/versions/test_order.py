"""Rows best to keep first: the same rows, ranked, in shards that a larger version begins with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune import flow
from dataprune.core.errors import AlignmentError, UsageError, VersionExistsError
from dataprune.core.files import write_json
from dataprune.core.recipe import SourceRecipe
from dataprune.flow import PruneResult
from dataprune.sources import Source, open_source
from dataprune.versions import order as order_module
from dataprune.versions.order import Arrangement, arranged, kept_rows, rows_per_shard
from dataprune.versions.write import write_shards
from tests.versions.conftest import animals

ScoreRandom = Callable[..., Path]
STRATEGIES: dict[str, dict[str, Any]] = {
    "random": {},
    "hardest": {},
    "easiest": {},
    "window": {"params": {"offset": 0.1}},
}


def build(scores: Path, store: Path, **changes: Any) -> PruneResult:
    """Build d@v1 of half the rows, best first."""
    wanted = {"name": "d", "tag": "v1", "keep": 0.5, "order": "score", **changes}
    return flow.prune(scores, store=store, **wanted)


def shards(result: PruneResult) -> list[tuple[str, int | None]]:
    """(sha256, rows) of each shard."""
    assert result.manifest is not None
    return [(f.sha256, f.rows) for f in result.manifest.result.splits["train"].files]


def expected_rows(result: PruneResult) -> list[int]:
    """The kept rows by rank, the slow way: read from the decisions file."""
    assert result.folder is not None
    decisions = pl.read_parquet(result.folder / "decisions.parquet").filter("keep")
    return [row for _, row in sorted(zip(decisions["rank"], decisions["row"], strict=True))]


def open_file(table: pa.Table, path: Path, **options: Any) -> Source:
    """A source of one Parquet file."""
    pq.write_table(table, path, **options)
    return open_source(SourceRecipe(uri=str(path)))


def numbers(num_rows: int) -> pa.Table:
    """Rows that say which they are."""
    values = [[float(i), 1.0] for i in range(num_rows)]
    labels = [i % 2 for i in range(num_rows)]
    return pa.table({"features": pa.array(values, pa.list_(pa.float32())), "label": labels})


def written(source: Source, rows: list[int], shard_rows: int, folder: Path) -> list[pa.Table]:
    """Write rows in the given order; returns the shards as they were read back."""
    keep = np.zeros(source.num_rows, dtype=np.bool_)
    keep[rows] = True
    arrangement = Arrangement(np.asarray(rows, dtype=np.int64), shard_rows)
    entries = write_shards(source, keep, folder, "train", arrangement)
    return [pq.read_table(folder.parent / entry.path) for entry in entries]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_rows_are_the_kept_rows_in_the_order_of_their_rank(
    strategy: str, blobs_path: Path, blobs_scores: Path, tmp_path: Path
) -> None:
    options = {"strategy": strategy, **STRATEGIES[strategy]}
    ordered = build(blobs_scores, tmp_path / "store", **options)
    plain = build(blobs_scores, tmp_path / "store", tag="v2", order="source", **options)
    assert ordered.manifest is not None
    assert plain.manifest is not None
    assert ordered.manifest.result.order == "score"
    assert plain.manifest.result.order == "source"
    version, other = (flow.load("d", tag, store=tmp_path / "store") for tag in ("v1", "v2"))
    assert version.rows.tolist() == expected_rows(ordered)
    assert version.rows.dtype == np.int64
    assert sorted(version.rows) == other.rows.tolist()
    assert version.arrow().to_table().equals(pq.read_table(blobs_path).take(version.rows))


def test_the_hardest_row_comes_first(blobs_scores: Path, tmp_path: Path) -> None:
    build(blobs_scores, tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    values = version.decisions()["value"].to_numpy()[version.rows]
    assert (np.diff(values) <= 0).all()


def test_rows_frame_arrow_and_torch_agree_with_features_and_images_intact(
    animals_folder: Path, animals_scores: Path, tmp_path: Path
) -> None:
    build(animals_scores, tmp_path / "store")
    version = flow.load("d", "v1", store=tmp_path / "store")
    source = pa.concat_tables(pq.read_table(p) for p in sorted(animals_folder.rglob("*.parquet")))
    expected = source.take(version.rows)
    table = version.arrow().to_table()
    assert table.equals(expected)
    assert table.schema.metadata[b"huggingface"] == source.schema.metadata[b"huggingface"]
    keys = expected.column("key").to_pylist()
    assert version.frame().collect()["key"].to_list() == keys
    dataset = version.torch(raw=True)
    assert [dataset[i]["key"] for i in range(len(dataset))] == keys
    assert tuple(dataset[0]["image"].shape) == (3, 8, 8)
    decided = version.decisions()
    assert decided["key"].to_numpy()[version.rows].tolist() == keys


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_shards_of_40_percent_but_the_last_are_the_first_shards_of_50_percent(
    strategy: str, blobs_scores: Path, tmp_path: Path
) -> None:
    options = {"strategy": strategy, **STRATEGIES[strategy]}
    small = shards(build(blobs_scores, tmp_path / "store", keep=0.4, **options))
    large = shards(build(blobs_scores, tmp_path / "store", tag="v2", keep=0.5, **options))
    assert [rows for _, rows in small] == [10] * 12
    assert [rows for _, rows in large] == [10] * 15
    assert small[:-1] == large[: len(small) - 1]


@given(keep=st.tuples(st.integers(1, 300), st.integers(1, 300)), seed=st.integers(0, 3))
@settings(max_examples=8, deadline=None)
def test_whatever_is_kept_a_smaller_version_is_the_beginning_of_a_larger(
    tmp_path_factory: pytest.TempPathFactory, keep: tuple[int, int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("prefix")
    source = open_file(numbers(300), folder / "numbers.parquet", row_group_size=70)
    ranked = np.random.default_rng(seed).permutation(300).tolist()
    few, many = sorted(keep)
    small = written(source, ranked[:few], 10, folder / "small" / "data")
    large = written(source, ranked[:many], 10, folder / "large" / "data")
    assert [t.num_rows for t in large] == [10] * (many // 10) + [many % 10] * (many % 10 > 0)
    names = [sorted((folder / size / "data").iterdir()) for size in ("small", "large")]
    for ours, theirs in list(zip(*names, strict=False))[: len(small) - 1]:
        assert ours.read_bytes() == theirs.read_bytes()
    values = pa.concat_tables(large).column("features").to_pylist()
    assert [int(v[0]) for v in values] == ranked[:many]


def test_rows_per_shard_depend_on_the_source_alone(blobs_scores: Path, tmp_path: Path) -> None:
    manifest = build(blobs_scores, tmp_path / "store").manifest
    assert manifest is not None
    ref = manifest.source
    assert rows_per_shard(ref) == 10, "a thirty-second of 300 rows, rounded up"
    (file,) = ref.files
    huge = ref.model_copy(update={"files": [file.model_copy(update={"bytes": 500 << 30})]})
    assert rows_per_shard(huge.model_copy(update={"num_rows": 10_240})) == 10
    assert rows_per_shard(ref.model_copy(update={"files": [], "num_rows": 3})) == 1


@pytest.mark.parametrize("balance", ["equal", "proportional"])
def test_quotas_per_class_take_turns(balance: str, blobs_scores: Path, tmp_path: Path) -> None:
    result = build(blobs_scores, tmp_path / "store", class_balance=balance)
    version = flow.load("d", "v1", store=tmp_path / "store")
    assert version.rows.tolist() == expected_rows(result)
    labels = version.decisions()["label"].to_numpy()[version.rows]
    assert all(sorted(labels[i : i + 3]) == [0, 1, 2] for i in range(0, 150, 3))
    assert {c.kept for c in version.manifest.classes.values()} == {50}


def test_floors_and_a_control_keep_their_exact_counts(blobs_scores: Path, tmp_path: Path) -> None:
    result = build(blobs_scores, tmp_path / "store", keep=31, min_per_class=9, control=True)
    assert result.control is not None
    assert result.control.result.order == "score"
    assert [rows for _, rows in shards(result)] == [10, 10, 10, 1]
    for tag in ("v1", "v1-control"):
        version = flow.load("d", tag, store=tmp_path / "store")
        assert len(version.arrow().to_table()) == len(set(version.rows.tolist())) == 31
        assert min(c.kept for c in version.manifest.classes.values()) >= 9


def test_the_recipe_can_ask_for_it(
    blobs_path: Path, score_random: ScoreRandom, tmp_path: Path
) -> None:
    scores = score_random(blobs_path)
    table = pq.read_table(scores)
    meta = json.loads(table.schema.metadata[b"dataprune"])
    meta["recipe"]["prune"]["order"] = "score"
    pq.write_table(table.replace_schema_metadata({"dataprune": json.dumps(meta)}), scores)
    by_recipe = build(scores, tmp_path / "store", order=None)
    assert by_recipe.manifest is not None
    assert by_recipe.manifest.result.order == "score"
    by_hand = build(scores, tmp_path / "store", tag="v2", order="source")
    assert by_hand.manifest is not None
    assert by_hand.manifest.result.order == "source"


def test_a_view_has_no_order_of_its_own(blobs_scores: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="order score has no effect on a view"):
        build(blobs_scores, tmp_path / "store", view=True)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("first", "second"), [("source", "score"), ("score", "source")])
def test_another_order_under_a_taken_tag_is_told(
    first: str, second: str, blobs_scores: Path, tmp_path: Path
) -> None:
    build(blobs_scores, tmp_path / "store", order=first)
    with pytest.raises(VersionExistsError) as caught:
        build(blobs_scores, tmp_path / "store", order=second)
    assert caught.value.message == f"d@v1 exists with order {first}, this has {second}"


def test_the_same_order_twice_is_the_same_version_byte_for_byte(
    blobs_scores: Path, tmp_path: Path
) -> None:
    first = build(blobs_scores, tmp_path / "here")
    assert not build(blobs_scores, tmp_path / "here").created
    assert build(blobs_scores, tmp_path / "there").manifest == first.manifest


def test_the_hash_of_the_rows_tells_their_order(blobs_scores: Path, tmp_path: Path) -> None:
    results = [
        build(blobs_scores, tmp_path / "store", tag=tag, order=order).manifest
        for tag, order in (("v1", "source"), ("v2", "score"))
    ]
    plain, ordered = (m.result.rows_sha256 for m in results if m is not None)
    assert plain != ordered
    same_rows = {m.selection.kept_rows_sha256 for m in results if m is not None}
    assert len(same_rows) == 1


def test_a_manifest_from_before_there_were_orders_parents_and_licences_loads(
    blobs_scores: Path, tmp_path: Path
) -> None:
    result = build(blobs_scores, tmp_path / "store", order="source")
    assert result.folder is not None
    path = result.folder / "manifest.json"
    old = json.loads(path.read_text())
    del old["result"]["order"], old["parents"], old["source"]["license"]
    write_json(path, old)
    version = flow.load("d", "v1", store=tmp_path / "store")
    assert version.manifest == result.manifest
    assert not build(blobs_scores, tmp_path / "store", order="source").created


# --- how it is written


def open_below(folder: Path) -> list[str]:
    """Files below a folder that this process holds open, deleted ones too."""
    links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return [str(p.readlink()) for p in links if p.is_symlink() and str(folder) in str(p.readlink())]


def watched(source: Source, look: Callable[[], None]) -> Source:
    """A source that looks around after each batch."""

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in source.batches(names):
            yield batch
            look()

    return replace(source, batches=batches)


def test_however_many_shards_there_are_one_file_is_open_at_a_time(tmp_path: Path) -> None:
    seen: list[int] = []
    source = open_file(numbers(300), tmp_path / "numbers.parquet", row_group_size=20)
    spill = tmp_path / "spill"
    source = watched(source, lambda: seen.append(len(open_below(spill))))
    rows = np.random.default_rng(0).permutation(300)
    for batches in arranged(source, Arrangement(rows, 2), spill):
        assert sum(len(b) for b in batches) == 2
        seen.append(len(open_below(spill)))
    assert max(seen) <= 1
    assert list(spill.iterdir()) == []


def test_the_disk_is_given_back_shard_by_shard(tmp_path: Path) -> None:
    source = open_file(numbers(300), tmp_path / "numbers.parquet")
    left = []
    for _ in arranged(source, Arrangement(np.arange(300), 30), tmp_path / "spill"):
        left.append(len(list((tmp_path / "spill").iterdir())))
        assert open_below(tmp_path / "spill") == []
    assert left == list(range(9, -1, -1))


@pytest.mark.parametrize(("pieces", "chunks"), [(1 << 26, 1 << 30), (500, 1 << 30), (500, 900)])
def test_bounds_of_memory_change_no_row(
    pieces: int, chunks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_module, "_PIECE_BYTES", pieces)
    monkeypatch.setattr(order_module, "_CHUNK_BYTES", chunks)
    table = animals(60)
    source = open_file(table, tmp_path / "animals.parquet", row_group_size=7)
    rows = np.random.default_rng(1).permutation(60)[:41]
    batches = [b for s in arranged(source, Arrangement(rows, 15), tmp_path / "spill") for b in s]
    assert pa.Table.from_batches(batches).equals(table.take(rows))
    assert max(len(b) for b in batches) == (15 if pieces > 500 else max(map(len, batches)))


def test_dictionaries_that_differ_from_file_to_file_come_through(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    words = [f"w{i % 7}" for i in range(60)]
    for i in range(3):
        part = numbers(60).slice(i * 20, 20)
        coded = pa.array(words[i * 20 : i * 20 + 20]).dictionary_encode()
        pq.write_table(part.append_column("word", coded), folder / f"train-{i}.parquet")
    rows = np.random.default_rng(2).permutation(60)[:33].tolist()
    source = open_source(SourceRecipe(uri=str(folder)))
    table = pa.concat_tables(written(source, rows, 8, tmp_path / "data"))
    assert table.schema.field("word").type == pa.dictionary(pa.int32(), pa.string())
    assert table.column("word").to_pylist() == [words[row] for row in rows]


def test_nothing_but_shards_is_left_also_of_the_spilled_rows(tmp_path: Path) -> None:
    source = open_file(numbers(40), tmp_path / "numbers.parquet")
    written(source, list(range(39, -1, -1)), 16, tmp_path / "data")
    assert [p.name for p in sorted((tmp_path / "data").iterdir())] == [
        f"train-0000{i}-of-00003.parquet" for i in range(3)
    ]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("lengths", "has"), [((40,), "40"), ((60, 5), "more"), ((40, 30), "more"), ((), "0")]
)
def test_a_source_that_changes_while_it_is_read_is_told(
    ordered: Any, lengths: tuple[int, ...], has: str, tmp_path: Path
) -> None:
    table = numbers(70)
    source = open_file(table.slice(0, 60), tmp_path / "numbers.parquet")

    def batches(_: list[str] | None) -> Iterator[pa.RecordBatch]:
        for length in lengths:
            yield from table.slice(0, length).combine_chunks().to_batches()

    source = replace(source, batches=batches, file_batches=None)
    keep = np.ones(60, dtype=np.bool_)
    arrangement = Arrangement(np.arange(60), 16) if ordered else None
    with pytest.raises(AlignmentError, match=rf"60 rows.* has {has} now") as caught:
        write_shards(source, keep, tmp_path / "data", "train", arrangement)
    assert str(tmp_path / "numbers.parquet") in caught.value.message
    assert caught.value.hint is not None


def test_an_error_in_the_middle_leaves_no_version_no_spilled_row_and_no_open_file(
    blobs_scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    seen: list[list[str]] = []

    def broken(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        seen.append(sorted(p.name for p in store.rglob("*.arrows")))
        if len(seen) == 3:
            raise OSError(28, "No space left on device")
        yield from in_order(batches)

    in_order = order_module._in_order
    monkeypatch.setattr(order_module, "_in_order", broken)
    with pytest.raises(OSError, match="No space left"):
        build(blobs_scores, store)
    assert [len(names) for names in seen] == [14, 13, 12], "it broke before it had begun"
    assert [p.name for p in store.rglob("*") if p.is_file()] == [".lock"]
    assert open_below(store) == [] or all(p.endswith(".lock") for p in open_below(store))
    monkeypatch.undo()
    assert build(blobs_scores, store).created


def test_kept_rows_of_equal_rank_stand_by_their_place(blobs_scores: Path, tmp_path: Path) -> None:
    build(blobs_scores, tmp_path / "store", class_balance="equal", keep=9)
    version = flow.load("d", "v1", store=tmp_path / "store")
    rank = version.decisions()["rank"].to_numpy()[version.rows]
    assert rank.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all((np.diff(version.rows[i : i + 3]) > 0).all() for i in (0, 3, 6))
    assert kept_rows(version.decisions_table, "source").tolist() == sorted(version.rows)


def test_evaluation_trains_on_the_same_rows_whatever_their_order(
    tiny: Callable[..., Any], tmp_path: Path, one_thread: None
) -> None:
    scores = tiny().path
    for tag, order in (("v1", "source"), ("v2", "score")):
        flow.prune(scores, name="d", tag=tag, keep=0.4, order=order, store=tmp_path / "store")
    told = flow.evaluate("d", "v1", "v2", seeds=1, store=tmp_path / "store", work=tmp_path / "e")
    arms = {row["arm"]: row for row in told.rows}
    values = [arms[tag][told.metric_key] for tag in ("v1", "v2")]
    assert values[0] == values[1]
    trained = list((tmp_path / "e" / "units").iterdir())
    kinds = [row["kind"] for row in told.rows]
    assert len(trained) == len(set(kinds)) < len(kinds), "the two versions share their units"
