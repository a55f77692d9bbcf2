"""JSON Lines sources: fields that are settled once, and lines that do not fit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataprune.sources import jsonl
from dataprune.sources._values import settle, to_array
from tests.sources.tables import loaded, opened, refused

ROWS = [{"text": f"text {i}", "label": i % 2} for i in range(20)]


def put(path: Path, rows: list[Any] | str | bytes) -> Path:
    """Write a file of rows, or of text as it is; gzipped if its name says so."""
    if isinstance(rows, list):
        rows = "".join(json.dumps(row) + "\n" for row in rows)
    data = rows.encode() if isinstance(rows, str) else rows
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Every row."""
    found: list[dict[str, Any]] = pa.Table.from_batches(opened(path).batches(None)).to_pylist()
    return found


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields are settled by the first five lines, so that a small file has later ones."""
    monkeypatch.setattr(jsonl, "_BATCH_ROWS", 5)


# --- what is read


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_rows_are_read_with_the_types_they_have(
    tmp_path: Path, small_batches: None, name: str
) -> None:
    rows = [
        {"text": "hé", "label": 1, "x": 1, "ok": True, "v": [1, 2.5], "o": {"a": []}, "n": None},
        {"text": None, "label": 0, "x": 0.5, "ok": False, "v": [], "o": None, "n": None},
    ] * 6
    assert read(put(tmp_path / name, rows)) == rows


def test_a_field_that_is_left_out_is_missing(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", [{"text": "a", "label": 1}, {"label": 0}])
    assert read(path)[1] == {"text": None, "label": 0}
    assert "have no input: 1" in refused(path)


def test_blank_lines_a_byte_order_mark_and_a_missing_last_line_end_do_no_harm(
    tmp_path: Path,
) -> None:
    text = b'\xef\xbb\xbf{"text":"a","label":1}\r\n\n  \n{"text":"b","label":0}'
    assert [row["text"] for row in read(put(tmp_path / "a.jsonl", text))] == ["a", "b"]


def test_lists_of_numbers_are_features(tmp_path: Path) -> None:
    rows = [{"features": [i, i / 2], "label": i % 2} for i in range(4)]
    found = loaded(put(tmp_path / "a.jsonl", rows)).inputs
    assert found is not None
    assert found[:].tolist() == [row["features"] for row in rows]


def test_text_that_looks_like_a_date_stays_text(tmp_path: Path) -> None:
    rows = [{"text": "2020-01-01T00:00:00", "label": 1}]
    assert read(put(tmp_path / "a.jsonl", rows)) == rows


# --- what is refused


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"text": 5, "label": 1}, "has 5 in text, which is string"),
        ({"text": "a", "label": "x"}, 'has "x" in label, which is int64'),
        ({"text": "a", "label": 1.5}, "has 1.5 in label, which is int64"),
        ({"text": "a", "label": True}, "has true in label, which is int64"),
        ({"text": "a", "label": 2**70}, "in label, which is int64"),
        ({"text": {"a": 1}, "label": 1}, "has an object in text, which is string"),
        ({"text": "a", "lable": 1}, "has a field lable that the first lines lack"),
        ([1], "holds a list, not an object"),
        (None, "holds null, not an object"),
    ],
    ids=["text", "number", "float", "bool", "big", "object", "new", "list", "null"],
)
def test_a_later_line_that_does_not_fit_is_named(
    tmp_path: Path, small_batches: None, line: Any, says: str
) -> None:
    text = "\n" + "".join(json.dumps(row) + "\n" for row in [*ROWS, line, *ROWS])
    told = refused(put(tmp_path / "a.jsonl", text))
    assert f"line 22 of {tmp_path / 'a.jsonl'} " in told
    assert says in told


def test_the_first_lines_must_agree_among_themselves(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", [*ROWS, {"text": 7, "label": 1}, *ROWS])
    assert f"line 21 of {path} has 7 in text, which has another kind of value" in refused(path)


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"text":"a","label":1}\n{"text":"\\ud83d","label":1}\n')
    assert f"line 2 of {path} has " in refused(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "a.jsonl is empty"),
        (b"\n \n", "split train of"),
        (b"null\n", "line 1 of"),
        (b'[{"text": "a"}]\n', "holds a list, not an object"),
        (b'{\n"text": "a"}\n', "line 1 of"),
        (b'{"text": "a", "label": 1}\n{"text": "b", "la', "line 2 of"),
        (b'{"text": "a", "label": 1} {"text": "b"}\n', "not valid JSON"),
        (b'{"text": "caf\xe9", "label": 1}\n', "line 1 of"),
        ('{"text": "a", "label": 1}\n'.encode("utf-16"), "it holds zero bytes"),
        (b"[" * 100_000, "not valid JSON"),
        (b"PAR1\x15\x00", "it holds zero bytes"),
    ],
    ids=["empty", "blank", "null", "array", "pretty", "cut", "two", "latin", "utf16", "deep", "pq"],
)
def test_a_file_that_holds_no_json_lines_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    assert says in refused(put(tmp_path / "a.jsonl", text))


def test_another_files_line_is_named_by_its_own_number(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", ROWS)
    put(tmp_path / "b.jsonl", [*ROWS[:2], {"text": "a", "label": "one"}])
    assert f"line 3 of {tmp_path / 'b.jsonl'} has " in refused(tmp_path)


def test_the_test_splits_fields_are_those_of_the_training_split(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", ROWS)
    put(tmp_path / "test.jsonl", [{"text": "a", "label": 1, "more": 1}])
    assert "test.jsonl has a field more that the first lines lack" in refused(tmp_path)


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl.gz", ROWS)
    path.write_bytes(path.read_bytes()[:-12])
    assert "a.jsonl.gz cannot be read: " in refused(path)


# --- types


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([], pa.string()),
        ([None], pa.string()),
        ([1, None], pa.int64()),
        ([1, 0.5], pa.float64()),
        ([True], pa.bool_()),
        ([[1], [None, 0.5]], pa.list_(pa.float64())),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([1, True], None),
        ([1, "a"], None),
        ([[1], 1], None),
        ([["a"], [1]], None),
        ([{"a": 1}, {"a": "x"}], None),
    ],
    ids=str,
)
def test_values_have_one_type_or_none(values: list[Any], want: pa.DataType | None) -> None:
    assert settle(values) == want
    if want is not None:
        made = to_array(values, want)
        assert made is not None
        assert made.type == want


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.0, pa.int64()),
        (True, pa.float64()),
        ([1.5], pa.list_(pa.int64())),
        ({"b": 1}, pa.struct([("a", pa.int64())])),
        (1, pa.list_(pa.int64())),
        (2**63, pa.int64()),
    ],
    ids=str,
)
def test_a_value_that_would_be_changed_does_not_fit(value: Any, wanted: pa.DataType) -> None:
    assert to_array([None, value], wanted) is None
