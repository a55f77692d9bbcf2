"""Known rows keep every score, new ones take the new; the table says whose units scored a row."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.recipe import Recipe, parse_recipe
from dataprune.scores._carry import all_carried, carry, num_carried, other_specs, why_not
from dataprune.tables.examples import examples_table
from dataprune.tables.manifest import SourceRef, portable_recipe
from dataprune.tables.scores import ScoreTable

DATA: dict[str, Any] = {
    "name": "carry",
    "source": {"uri": "x.parquet"},
    "probe": {"model": "mlp", "schedule_epochs": 4},
    "scores": {"names": ["el2n"], "at": [2, 4]},
    "seeds": 2,
}
NAMES = ("el2n@2", "el2n@4", "el2n")
Rows = list[tuple[int, int]]


def recipe_of(**changes: Any) -> Recipe:
    return parse_recipe({**copy.deepcopy(DATA), **changes}, where="tests")


def ref(rows: Rows, source: str) -> SourceRef:
    return SourceRef(
        uri="x.parquet", format="parquet", split="train", columns={"input": "x", "label": "y"},
        kind="features", class_names=["a", "b", "c"], num_rows=len(rows),
        fingerprint=source * 64, files=[],
    )  # fmt: skip


def examples(rows: Rows) -> pa.Table:
    hashes = np.asarray([h for h, _ in rows], dtype=np.uint64)
    return examples_table(hashes, np.asarray([c for _, c in rows], dtype=np.int64))


def scored(rows: Rows, source: str, values: float, **changes: Any) -> ScoreTable:
    """A table whose scores are `values` plus the row, with the units that made it."""
    table = examples(rows)
    for i, name in enumerate((*NAMES, "el2n_std")):
        column = pa.array(np.arange(len(rows), dtype=np.float32) + np.float32(values + 100 * i))
        table = table.append_column(pa.field(name, pa.float32(), nullable=False), column)
    specs = {name: {"score": "el2n", "epoch": 2 if name == "el2n@2" else 4} for name in NAMES}
    meta = {
        "status": "complete",
        "source": ref(rows, source).model_dump(mode="json"),
        "recipe": portable_recipe(recipe_of()),
        "scores": specs,
        "unit_ids": [f"{source}-unit"],
        "reliability": {"el2n": {"reliability": 0.5}},
        "seeds": [0, 1],
    }
    return ScoreTable(table, {**meta, **changes})


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=20)


@settings(max_examples=50)
@given(ROWS, ROWS, ROWS)
def test_three_revisions_are_told_apart_row_by_row(first: Rows, second: Rows, third: Rows) -> None:
    known: dict[tuple[int, int, int], tuple[float, str]] = {}
    carried = scored(first, "a", 0)
    for rows, start, source in ((first, 0, "a"), (second, 1000, "b"), (third, 2000, "c")):
        known = {
            key: known.get(key, (float(start + i), source)) for i, key in enumerate(keys(rows))
        }
        if rows is not first:
            carried = carry(scored(rows, source, start), carried)
    values = list(known.values())
    assert carried.table.column("el2n@2").to_pylist() == [v for v, _ in values]
    assert carried.table.column("el2n_std").to_pylist() == [v + 300 for v, _ in values]
    origins = ["c" * 64, *(entry["source"] for entry in carried.meta.get("carried", []))]
    if "carried" in carried.table.column_names:
        told = [origins[k] for k in carried.table.column("carried").to_pylist()]
        assert told == [source * 64 for _, source in values]
    counts = [entry["rows"] for entry in carried.meta.get("carried", [])]
    assert num_carried(carried) == sum(counts) == sum(s != "c" for _, s in values)
    assert all(counts)
    assert carried.meta["unit_ids"] == ["c-unit"]


def keys(rows: Rows) -> list[tuple[int, int, int]]:
    """Each row with how many equal ones stand before it."""
    return [(*row, rows[:i].count(row)) for i, row in enumerate(rows)]


def test_where_every_row_is_known_no_fresh_table_is_needed() -> None:
    old = scored([(1, 0), (2, 1), (3, 2)], "a", 0)
    rows = [(3, 2), (1, 0)]
    known = all_carried(examples(rows), ref(rows, "b"), recipe_of(), old)
    assert known is not None
    assert known.table.column("el2n").to_pylist() == [202.0, 200.0]
    assert known.table.column("carried").to_pylist() == [1, 1]
    assert known.meta["carried"] == [{"source": "a" * 64, "unit_ids": ["a-unit"], "rows": 2}]
    assert known.meta["unit_ids"] == []
    assert known.meta["source"]["fingerprint"] == "b" * 64
    assert known.meta["reliability"] == old.meta["reliability"]
    assert known.columns == list(NAMES)
    rows = [(3, 2), (3, 2)]
    assert all_carried(examples(rows), ref(rows, "b"), recipe_of(), old) is None


def test_features_are_of_the_rows_in_their_order_and_are_not_carried() -> None:
    rows = [(1, 0), (2, 1)]
    plain = scored(rows, "a", 0)
    old = ScoreTable(plain.table, {**plain.meta, "features": {"file": "scores.features.parquet"}})
    assert all_carried(examples(rows[::-1]), ref(rows[::-1], "b"), recipe_of(), old) is None
    assert all_carried(examples(rows), ref(rows, "a"), recipe_of(), old) is not None


def test_of_the_very_same_source_the_table_stays_as_it_is() -> None:
    rows = [(1, 0), (2, 1)]
    old = carry(scored(rows, "b", 1000), scored(rows[:1], "a", 0))
    same = all_carried(examples(rows), ref(rows, "b"), recipe_of(prune={"keep": 0.1}), old)
    assert same is not None
    assert same.table.equals(old.table)
    assert same.meta["carried"] == old.meta["carried"]
    assert same.meta["unit_ids"] == ["b-unit"]
    assert same.meta["recipe"]["prune"]["keep"] == 0.1


def test_flags_are_not_carried() -> None:
    old, fresh = scored([(1, 0)], "a", 0), scored([(1, 0)], "b", 9)
    flag = pa.field("label_issue", pa.float32(), nullable=False)
    old, fresh = (
        ScoreTable(
            t.table.append_column(flag, pa.array([value], pa.float32())),
            {**t.meta, "scores": t.meta["scores"] | {"label_issue": {"score": "label_issue"}},
             "flags": {"label_issue": {}}},
        )
        for t, value in ((old, 0.25), (fresh, 0.75))
    )  # fmt: skip
    assert other_specs(fresh, old) is None
    made = carry(fresh, old)
    assert made.table.column("label_issue").to_pylist() == [0.75]
    assert made.table.column("el2n").to_pylist() == [200.0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seeds": 3}, "seeds of the recipe changed"),
        ({"source": {"uri": "y.parquet"}}, None),
        ({"source": {"uri": "x.parquet", "groups": {"near": True}}}, "source.groups of the"),
        ({"seed": 1}, "seed of the recipe changed"),
        ({"probe": {"model": "mlp", "schedule_epochs": 5}}, "probe of the recipe changed"),
        ({"scores": {"names": ["el2n"], "at": [2, 4], "mode": "train"}}, "scores.mode of the"),
        ({"scores": {"names": ["el2n"], "at": [2]}}, "its el2n is of epoch 4"),
        ({"scores": {"names": ["el2n"], "at": [3, 4]}}, "it has no column el2n@3"),
        ({"scores": {"names": ["margin"], "at": [2, 4]}}, "it has no column margin"),
        ({"prune": {"keep": 0.1}, "publish": {"to": "a/b"}}, None),
    ],
)
def test_scores_that_would_mean_something_else_are_not_carried(
    changes: dict[str, Any], why: str | None
) -> None:
    old = scored([(1, 0)], "a", 0)
    found = why_not(old, recipe_of(**changes), ["a", "b", "c"])
    assert (found or "").startswith(why or "")
    assert (found is None) is (why is None)


def test_other_classes_are_another_task() -> None:
    old = scored([(1, 0)], "a", 0)
    assert why_not(old, recipe_of(), ["a", "b"]) == "the classes are others"


def test_another_spec_is_another_score() -> None:
    old, fresh = scored([(1, 0)], "a", 0), scored([(1, 0)], "b", 9)
    fresh.meta["scores"]["el2n"]["holdout"] = "none"
    assert "column el2n is another score" in str(other_specs(fresh, old))
