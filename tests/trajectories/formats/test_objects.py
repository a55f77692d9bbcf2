"""Rows out of files: one at a time, none lost, and a bad one is no end."""

from __future__ import annotations

import datetime as dt
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprune.core.errors import SourceError
from dataprune.trajectories.formats import _json
from dataprune.trajectories.formats._files import find_files
from dataprune.trajectories.formats._json import Problem, Text
from dataprune.trajectories.formats._objects import Item, _elements, objects

Write = Callable[[str, bytes | str], Path]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _is_row(value: Any) -> bool:
    value = value[0] if isinstance(value, list) and value else value
    return isinstance(value, dict) and "role" in value


def _items(path: Path) -> list[Item]:
    [file] = find_files([path])
    return list(objects(file, _is_row))


def _chunks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


@given(
    st.lists(_VALUES, max_size=5),
    st.integers(1, 7),
    st.sampled_from([None, 1]),
    st.sampled_from(["ascii", "utf-8"]),
)
def test_elements_of_a_list_come_out_however_it_is_cut(
    values: list[Any], size: int, indent: int | None, encoding: str
) -> None:
    raw = json.dumps(values, indent=indent, ensure_ascii=encoding == "ascii").encode()
    text = Text(_chunks(raw, size), "a.json")
    assert text.peek() == "["
    text.skip()
    assert list(_elements(text)) == values


@given(st.binary(max_size=60), st.integers(1, 7))
def test_any_bytes_end_and_say_what_is_wrong(raw: bytes, size: int) -> None:
    text = Text(_chunks(b"[" + raw, size), "a.json")
    text.peek()
    text.skip()
    assert len(list(_elements(text))) <= 2 * len(raw) + 2


def test_a_wrong_element_is_one_problem_and_the_others_are_read(write: Write) -> None:
    text = b'[{"a": 1}, {"b": nope, "c": [1, "]"]}, {"d": "\xff"}, {"e": 2} {"f": 3}, 7, {"g": 4}]'
    items = _items(write("a.json", text))
    says = [i.value.says if isinstance(i.value, Problem) else i.value for i in items]
    assert says[0] == {"a": 1}
    assert "not valid JSON" in says[1]
    assert says[2] == "it is not UTF-8"
    assert says[3:] == [
        {"e": 2},
        "there is no comma before it",
        {"f": 3},
        "it is not an object",
        {"g": 4},
    ]
    assert items[1].where == "element 2 of a.json"
    assert items[1].name == "a:2"


def test_a_list_that_was_cut_short_ends_with_a_problem(write: Write) -> None:
    whole = json.dumps([{"a": 1}, {"b": [1, 2]}])
    for end in range(2, len(whole)):
        items = _items(write("a.json", whole[:end]))
        assert isinstance(items[-1].value, Problem)
        good = [i.value for i in items if not isinstance(i.value, Problem)]
        assert good == [{"a": 1}, {"b": [1, 2]}][: len(good)]


def test_lines_that_cannot_be_read_are_problems_with_their_place(write: Write) -> None:
    deep = b"[" * 100_000
    lines = [
        b'{"a": 1}',
        b"",
        b"{bad",
        b'{"b": "\xff"}',
        b'{"c": ' + deep,
        b"[1]",
        b"null",
        b'{"d": 1}',
    ]
    items = _items(write("a.jsonl", b"\r\n".join(lines)))
    told = [i.value.says if isinstance(i.value, Problem) else i.value for i in items]
    assert told[0] == {"a": 1}
    assert told[-1] == {"d": 1}
    assert [
        word for word in ("not valid JSON", "UTF-8", "deeply") if word in " ".join(map(str, told))
    ]
    assert told[4:6] == ["it is not an object"] * 2
    assert [i.where.split()[1] for i in items] == ["1", "3", "4", "5", "6", "7", "8"]


def test_a_deep_element_is_a_problem_and_the_next_is_read(write: Write) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    items = _items(write("a.json", f'[{{"b": 1}}, {deep}, {{"c": 1}}]'))
    assert items[1].value == Problem("it is nested too deeply")
    assert items[2].value == {"c": 1}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"role": "user"}', ["a"]),
        ('{"k1": {"x": 1}, "k2": {"id": "own"}}', ["a:k1", "a:k2"]),
        ('{"x": 1}\n{"x": 2}\n', ["a:1", "a:2"]),
        ('[{"role": "user"}, {"role": "assistant"}]', ["a"]),
        ('[{"x": 1}, {"x": 2}]', ["a:1", "a:2"]),
        ('[[{"role": "user"}], [{"role": "user"}]]', ["a:1", "a:2"]),
        ("[]", []),
    ],
)
def test_what_a_json_file_holds(text: str, names: list[str], write: Write) -> None:
    items = _items(write("a.json", text))
    assert [i.name for i in items] == names
    assert not [i for i in items if isinstance(i.value, Problem)]


def test_rows_by_their_ids_know_them(write: Write) -> None:
    items = _items(write("a.json", '{"k1": {"x": 1}, "k2": {"id": "own"}}'))
    assert [i.value["id"] for i in items] == ["k1", "own"]


def test_parquet_rows_are_plain_and_without_merged_keys(tmp_path: Path) -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"a": 1}}},
        {"function": {"name": "g", "arguments": {"b": "x"}}},
    ]
    table = pa.table(
        {
            "messages": [[{"role": "assistant", "tool_calls": calls}]] * 300,
            "when": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)] * 300,
            "raw": [b"\xff"] * 300,
            "none": pa.nulls(300),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=100)
    items = _items(path)
    assert len(items) == 300
    assert items[299].where == "row 300 of a.parquet"
    assert items[0].value["messages"][0]["tool_calls"] == calls
    json.dumps(items[0].value)


def test_a_file_that_is_no_parquet_is_refused(write: Write) -> None:
    with pytest.raises(SourceError, match="no Parquet"):
        _items(write("a.parquet", b"PAR1 and then nothing"))


def test_a_row_that_is_too_large_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json, "MOST_BYTES", 1 << 20)
    row = json.dumps({"a": "x" * (3 << 20)})
    for name, text in (("a.jsonl", row), ("b.json", f"[{row}]"), ("c.json", row)):
        with pytest.raises(SourceError, match="larger than 1 MiB"):
            _items(write(name, text))


@pytest.mark.parametrize("bait", ['x "\\ \n' * 2_000_000, "{[" * 4_000_000, '\\"' * 4_000_000])
def test_large_texts_full_of_marks_take_seconds(bait: str, write: Write) -> None:
    path = write("a.json", json.dumps([{"a": bait}, {"b": 1}]))
    started = time.monotonic()
    items = _items(path)
    assert [set(i.value) for i in items] == [{"a"}, {"b"}]
    assert time.monotonic() - started < 20


@pytest.mark.slow
@pytest.mark.parametrize("bait", ["}", ",", "x,", '{"a" ', "[}", '"'])
def test_nonsense_takes_seconds(bait: str, write: Write) -> None:
    started = time.monotonic()
    items = _items(write("a.json", "[" + bait * 100_000))
    assert all(isinstance(i.value, Problem) for i in items)
    assert time.monotonic() - started < 20


def test_what_stands_behind_the_list_is_told(write: Write) -> None:
    items = _items(write("a.json", '[{"x": 1}] {"y": 2}'))
    assert [isinstance(i.value, Problem) for i in items] == [False, True]


def test_lines_are_split_only_at_newlines() -> None:
    raw = '{"a": "\u2028\\n"}\n{"b": 1}'.encode()
    read = list(_json.lines(iter([raw[:5], raw[5:]]), "a.jsonl"))
    assert [value for _, value in read] == [{"a": "\u2028\n"}, {"b": 1}]
    assert io.BytesIO(raw).read() == raw
