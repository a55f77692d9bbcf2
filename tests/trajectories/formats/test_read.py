"""Trajectories out of files: the format is found or the reader stops; every row comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprune.core.errors import UsageError
from dataprune.trajectories.formats import FORMATS
from dataprune.trajectories.formats._detect import detect_format
from dataprune.trajectories.formats._objects import Item
from dataprune.trajectories.formats._read import _read, read_trajectories

Write = Callable[[str, bytes | str], Path]


@pytest.mark.parametrize("name", FORMATS.names())
def test_the_format_is_found_and_says_why(name: str, rows: dict[str, Any], write: Write) -> None:
    reading = read_trajectories([write("runs.json", json.dumps([rows[name]]))])
    assert reading.format == name
    assert reading.evidence
    first, again = list(reading.trajectories()), list(reading.trajectories())
    assert first == again
    assert all(t.problem is None and t.messages for t in first)
    assert [e.rows for e in reading.entries()] == [1]


def test_every_row_comes_out_however_it_is(rows: dict[str, Any], write: Write) -> None:
    good = json.dumps(rows["messages"])
    bad = '{"messages": [{"role": "nobody"}]}'
    deep = '{"messages": [{"role": "user", "content": "q", "x": ' + "[" * 980 + "]" * 980 + "}]}"
    path = write("runs.jsonl", f'{good}\n{{\n{bad}\n{deep}\n{{"messages": 3}}\n[]\n{good}')
    runs = list(read_trajectories([path], "messages").trajectories())
    assert [t.problem is None for t in runs] == [True, False, False, False, False, False, True]
    assert [t.where for t in runs] == [f"line {n} of runs.jsonl" for n in range(1, 8)]
    assert "messages[0] has no role" in (runs[2].problem or "")
    assert not runs[1].messages


def test_rows_of_different_formats_stop_the_reader(rows: dict[str, Any], write: Write) -> None:
    write("runs/a.json", json.dumps(rows["sharegpt"]))
    path = write("runs/b.json", json.dumps(rows["atif"]))
    with pytest.raises(UsageError, match=r"atif 1, sharegpt 1.*") as told:
        read_trajectories([path.parent])
    assert "--format" in (told.value.hint or "")


def test_rows_of_no_format_and_no_rows_stop_the_reader(write: Write) -> None:
    for text, says in (
        ('{"question": 1}', "no row shows"),
        ("{", "no row can be read"),
        ("", "no row"),
    ):
        with pytest.raises(UsageError, match=says):
            read_trajectories([write("a.jsonl", text + "\n")])


def test_a_format_is_not_found_by_most_rows_but_by_all(rows: dict[str, Any]) -> None:
    sample = [Item(rows["mint"], "a", "line 1")] * 99
    assert detect_format(sample).name == "mint"
    with pytest.raises(UsageError, match=r"mint 99.*see line 100"):
        detect_format([*sample, Item({"other": 1}, "b", "line 100")])


def test_an_unknown_format_names_the_nearest(write: Write) -> None:
    with pytest.raises(UsageError, match="mintt") as told:
        read_trajectories([write("a.jsonl", "{}")], "mintt")
    assert "mint" in (told.value.hint or "")


def test_the_query_is_named_by_a_field(rows: dict[str, Any], write: Write) -> None:
    path = write(
        "runs.jsonl", json.dumps(rows["mint"]) + "\n" + json.dumps({**rows["mint"], "task": {}})
    )
    runs = list(read_trajectories([path], "mint", "task.task_id").trajectories())
    assert runs[0].query_id == "3"
    assert "task.task_id" in (runs[1].problem or "")


def test_rows_of_equally_named_files_have_different_names(
    rows: dict[str, Any], write: Write
) -> None:
    for model in ("m1", "m2"):
        path = write(f"{model}/runs.jsonl", json.dumps(rows["mint"]))
    runs = list(read_trajectories([path.parent.parent]).trajectories())
    assert [t.traj_id for t in runs] == ["m1/runs:1", "m2/runs:1"]
    assert runs[0].query_id == runs[1].query_id


def test_ids_are_texts_that_every_table_can_hold(rows: dict[str, Any], write: Write) -> None:
    path = write("runs.json", json.dumps({"\ud800": rows["toolbench"]}))
    [run] = read_trajectories([path]).trajectories()
    assert (run.traj_id, run.query_id) == ("runs:\\ud800", "\\ud800")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at, *(path for key, one in inner for path in _paths(one, (*at, key)))]


@pytest.mark.parametrize("meta", ["", "{", "text"])
def test_a_curated_row_whose_meta_is_no_json_is_a_problem(rows: dict[str, Any], meta: str) -> None:
    row = json.loads(json.dumps(rows["dataprune"])) | {"meta": meta}
    (made,) = _read(Item(row, "a:1", "line 1 of a"), FORMATS.get("dataprune"), None)
    assert "meta is no JSON" in str(made.problem)
    json.loads(made.meta)


@pytest.mark.parametrize("name", FORMATS.names())
@given(data=st.data())
@settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # it copies the row
)
def test_any_value_anywhere_is_read_or_a_problem(
    name: str, rows: dict[str, Any], data: st.DataObject
) -> None:
    row = json.loads(json.dumps(rows[name]))
    path = data.draw(st.sampled_from(_paths(row)[1:]))
    target = row
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = data.draw(_JSON)
    FORMATS.get(name).evidence(row)
    made = list(_read(Item(row, "a:1", "line 1 of a"), FORMATS.get(name), None))
    assert made
    assert all(t.messages == () for t in made if t.problem)
    for run in made:
        json.loads(run.meta)
        run.traj_id.encode()
        run.query_id.encode()
