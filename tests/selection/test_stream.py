"""Selection in parts: the same decisions as in memory, but for the rank."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import TableError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.selection import _cuts, _stream
from dataprune.selection._choice import Choice, Step
from dataprune.selection._decided import decide_from_scores
from dataprune.selection._stream import decide_in_parts, stream_decisions, streams
from dataprune.tables.decisions import NOT_RANKED, read_decisions
from dataprune.tables.examples import examples_table
from dataprune.tables.flags import in_score_table, read_flags
from dataprune.tables.parquet import write_table
from dataprune.tables.scores import read_scores
from tests.tables.flagged import put_flags

NAMES = ["a", "b", "c"]
RECIPE = parse_recipe({"name": "r", "source": {"uri": "x"}}, where="here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream")


def write(
    folder: Path, scores: Any, labels: Any, likely: Any = None, *, higher_is: str = "harder"
) -> Path:
    """A score table in row groups of seven rows."""
    labels = np.asarray(labels, dtype=np.int64)
    table = examples_table(np.arange(len(labels), dtype=np.uint64), labels)
    table = table.append_column("el2n", pa.array(np.asarray(scores, dtype=np.float32)))
    if likely is not None:
        path = put_flags(folder / "flags.parquet", labels, np.asarray(likely))
        columns = in_score_table(read_flags(path).table)
        for field in columns.schema:
            table = table.append_column(field, columns.column(field.name))
    spec = {"higher_is": higher_is}
    meta = {
        "format": "dataprune.scores", "format_version": 1, "hash_version": 1,
        "scores": {"el2n": spec, "label_issue": spec} if likely is not None else {"el2n": spec},
        "flags": {"label_issue": {"warnings": []}},
        "source": {"class_names": NAMES}, "status": "complete",
    }  # fmt: skip
    path = folder / "scores.parquet"
    write_table(path, table, meta, row_group_rows=7)
    return path


tied = st.sampled_from([-2.0, -0.0, 0.0, 0.5, 0.5000001, 3.0])
rows = st.tuples(
    st.one_of(tied, st.floats(-(2.0**90), 2.0**90, width=32)), st.integers(0, 2), st.booleans()
)
skips = st.one_of(st.integers(0, 12), st.sampled_from([0.0, 0.1, 0.34, 0.8]), st.just(-1))
strategies = st.one_of(
    st.sampled_from([("hardest", {}), ("easiest", {}), ("random", {})]),
    st.tuples(
        st.just("window"),
        st.one_of(
            st.builds(lambda skip: {"offset": skip}, skips),
            st.builds(lambda skip: {"skip_hardest": skip}, skips),
        ),
    ),
)


def sentence(exc: UsageError) -> str:
    """What an error says; in parts, what was dropped before is not told apart."""
    why = r"(likely label issues|rows that \w+ drops)( and those that \w+ drops)*"
    return re.sub(why, "rows that are flagged or filtered", str(exc))


@settings(max_examples=150, deadline=None)
@given(
    world=st.lists(rows, min_size=1, max_size=40),
    strategy=strategies,
    balance=st.sampled_from(["none", "proportional", "equal"]),
    floor=st.sampled_from([0, 0, 1, 3]),
    how=st.sampled_from(["plain", "likely", "flagged", "threshold", "all"]),
    higher_is=st.sampled_from(["harder", "easier"]),
    most=st.sampled_from([0, 2, 1 << 20]),
    counters=st.sampled_from([1, 3, 12]),
    data=st.data(),
)
def test_decisions_in_parts_are_those_of_all_rows_at_once(
    folder: Path,
    world: list[tuple[float, int, bool]],
    strategy: tuple[str, dict[str, Any]],
    balance: str,
    floor: int,
    how: str,
    higher_is: str,
    most: int,
    counters: int,
    data: st.DataObject,
) -> None:
    scores, labels, likely = zip(*world, strict=True)
    path = write(folder, scores, labels, likely, higher_is=higher_is)
    before = {
        "flagged": (Step("flagged"),),
        "threshold": (Step("threshold", {"above": 0.5, "by": "el2n"}),),
        "all": (Step("threshold", {"below": -1}), Step("flagged", {"tier": "suspect"})),
    }.get(how, ())
    keep = data.draw(st.one_of(st.integers(1, len(world)), st.floats(0.1, 1)), label="keep")
    if how != "plain" and data.draw(st.booleans(), label="keep all"):
        keep = None
    choice = Choice(
        *(strategy[0], keep, strategy[1], balance, floor),
        seed=3,
        drop_likely=how == "likely",
        before=before,
    )
    table = read_scores(path)
    out = folder / "decisions.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cuts, "_COUNTERS", counters)
        try:
            wanted = decide_from_scores(table, RECIPE, choice, None)
        except UsageError as exc:
            told_at_once = sentence(exc)
            with pytest.raises(UsageError) as caught:
                stream_decisions(path, out, RECIPE, choice, most=most)
            assert sentence(caught.value) == told_at_once
            return
        told = stream_decisions(path, out, RECIPE, choice, most=most)
    found = read_decisions(out)
    assert decide_in_parts(table, choice, "el2n", most=most).equals(found)
    assert set(found.column("rank").to_pylist()) == {NOT_RANKED}
    assert found.drop_columns(["rank"]).equals(wanted.table.drop_columns(["rank"]))
    assert told.rows_out == wanted.rows_out
    assert told.classes == wanted.classes
    assert told.reasons == wanted.reasons
    assert told.waterfall == wanted.waterfall


@pytest.mark.parametrize(
    ("strategy", "params"),
    [("hardest", {}), ("random", {}), ("window", {"offset": 0.3}), ("window", {"skip_hardest": 9})],
)
def test_many_ties_in_many_classes_are_cut_exactly(
    folder: Path, strategy: str, params: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 3, 5000) / 2, rng.integers(0, 3, 5000)
    path = write(folder, scores, labels)
    choice = Choice(strategy, 0.3, params, "proportional", seed=1)
    stream_decisions(path, folder / "d.parquet", RECIPE, choice, most=10)
    wanted = decide_from_scores(read_scores(path), RECIPE, choice, None).table
    assert read_decisions(folder / "d.parquet").column("keep").equals(wanted.column("keep"))


def test_a_large_table_is_decided_in_parts_where_nothing_needs_its_ranks(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_scores(write(folder, np.arange(40), np.arange(40) % 3))
    choice = Choice("hardest", 0.5, {}, "equal")
    ranked = decide_from_scores(table, RECIPE, choice, None)
    assert not streams(table, choice, "source")
    monkeypatch.setattr(_stream, "IN_PARTS_ABOVE", 39)
    in_parts = decide_from_scores(table, RECIPE, choice, None)
    assert set(in_parts.table.column("rank").to_pylist()) == {NOT_RANKED}
    assert in_parts.table.drop_columns(["rank"]).equals(ranked.table.drop_columns(["rank"]))
    assert in_parts.warnings == ranked.warnings
    best_first = decide_from_scores(table, RECIPE, choice, None, order="score")
    assert best_first.table.equals(ranked.table)
    assert not streams(table, Choice("ccs", 5, {}), "source")


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        (Choice("gumbel", 5, {"temperature": 1}), "gumbel"),
        (Choice("ccs", 5, {}), "ccs"),
        (Choice("hardest", 5, {}, before=(Step("duplicates"),)), "duplicates"),
        (Choice("hardest", 5, {}, max_per_group=1), "max_per_group"),
    ],
)
def test_what_needs_all_rows_at_once_is_refused(folder: Path, choice: Choice, named: str) -> None:
    path = write(folder, np.arange(10), np.zeros(10))
    with pytest.raises(UsageError, match=f"{named} needs all rows at once") as caught:
        stream_decisions(path, folder / "d.parquet", RECIPE, choice)
    assert "easiest, hardest, random, window" in (caught.value.hint or "")


def test_a_score_that_is_no_number_or_a_row_elsewhere_leaves_no_decisions(tmp_path: Path) -> None:
    values = np.arange(20.0)
    values[13] = np.nan
    path, out = write(tmp_path, values, np.zeros(20)), tmp_path / "d.parquet"
    with pytest.raises(TableError, match="score el2n is nan for row 13"):
        stream_decisions(path, out, RECIPE, Choice("hardest", 5, {}))
    path = write(tmp_path, np.arange(20.0), np.zeros(20))
    whole = pq.read_table(path)
    order = [*range(9), 10, 9, *range(11, 20)]
    pq.write_table(whole.take(pa.array(order)), path)
    with pytest.raises(TableError, match="row 10 at position 9"):
        stream_decisions(path, out, RECIPE, Choice("hardest", 5, {}))
    assert not out.exists()
