"""FLAGS.parquet: what is written is read back, and what contradicts itself is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import TableError
from dataprune.tables.flags import DESCRIPTIONS, METADATA, OPTIONAL, SCHEMA, read_flags, write_flags

REPO = Path(__file__).resolve().parents[2]
META: dict[str, Any] = dict.fromkeys(METADATA)
BESIDE: dict[str, Any] = {
    "aum": np.array([2.0, -1, -3], np.float32),
    "el2n": np.array([1.2, 0.5, 0], np.float32),
    "content_hash": np.array([3, 1, 2], np.uint64),
}


def columns(**changes: Any) -> dict[str, Any]:
    """Three rows, one of each tier."""
    q = np.array([0.9, 0.6, 0.1], np.float32)
    return {
        "row": np.arange(3),
        "given": np.array([0, 1, 1], np.int32),
        "suggested": np.array([1, 0, 1], np.int32),
        "label_q": q,
        "label_score": 1 - q,
        "oof_margin": np.array([-3, -0.5, 4], np.float32),
        "oof_vote_frac": np.array([1, 0.5, 0], np.float32),
        "n_votes": np.array([2, 2, 2], np.int32),
        "tier": np.array(["likely", "suspect", "ok"]),
        "is_label_issue": np.array([True, False, False]),
        **changes,
    }


def test_flags_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    write_flags(tmp_path / "F.parquet", columns(), {**META, "class_names": ["a", "b"]})
    found = read_flags(tmp_path / "F.parquet")
    for name, values in columns().items():
        assert np.array_equal(found.column(name), values), name
    assert found.meta["class_names"] == ["a", "b"]


def test_the_same_flags_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_flags(tmp_path / name, columns(), META)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_schema_lists_the_columns_and_keys_that_are_written(tmp_path: Path) -> None:
    write_flags(tmp_path / "F.parquet", columns(**BESIDE), META)
    document = json.loads((REPO / "schemas" / "flags.v1.json").read_text())
    found = pq.read_schema(tmp_path / "F.parquet")
    listed = [(c["name"], c["type"], c["nullable"]) for c in document["columns"]]
    assert listed == [(f.name, str(f.type), f.nullable) for f in found]
    assert set(document["metadata"]["keys"]) == set(read_flags(tmp_path / "F.parquet").meta)
    assert list(DESCRIPTIONS) == [*SCHEMA.names, *OPTIONAL.names]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("row", np.array([0, 2, 1]), "row 2 at row 1"),
        ("label_q", np.array([0.9, np.nan, 0.1], np.float32), "label_q nan at row 1"),
        ("label_score", np.array([0.1, 0.4, 1.5], np.float32), "label_score 1.5 at row 2"),
        ("oof_margin", np.array([-np.inf, 0, 0], np.float32), "oof_margin -inf at row 0"),
        ("n_votes", np.array([2, 0, 2], np.int32), "n_votes 0 at row 1"),
        ("tier", np.array(["likely", "perhaps", "ok"]), "tier perhaps at row 1"),
        ("is_label_issue", np.array([True, True, False]), "is_label_issue True at row 1"),
    ],
)
def test_flags_that_contradict_themselves_are_refused(
    tmp_path: Path, name: str, values: Any, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        write_flags(tmp_path / "F.parquet", columns(**{name: values}), META)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_no_flags(tmp_path: Path) -> None:
    empty = {name: values[:0] for name, values in columns().items()}
    with pytest.raises(TableError, match="no rows"):
        write_flags(tmp_path / "F.parquet", empty, META)


def test_another_table_is_refused(tiny_scores: Path) -> None:
    with pytest.raises(TableError, match="is not a dataprune flags table"):
        read_flags(tiny_scores)
