"""Traces in shards: what one file would say, or an error; never a hole."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.core.errors import TableError
from dataprune.tables.trace import (
    read_trace,
    read_unit_trace,
    trace_names,
    write_trace,
    write_trace_shards,
)

N = 10
META = {"mode": "eval"}
IN_SAMPLE = np.arange(N) % 3 > 0
SIGNALS = {
    epoch: {name: np.arange(N, dtype=np.float32) * k + epoch for k, name in enumerate(["a", "b"])}
    for epoch in (2, 11)
}


@dataclass(frozen=True)
class Unit:
    """A finished unit, as far as its files go."""

    folder: Path

    @property
    def files(self) -> dict[str, str]:
        """Everything in the folder."""
        return {path.name: "" for path in self.folder.iterdir()}

    def path(self, name: str) -> Path:
        """Where one is."""
        return self.folder / name


def write_shards(folder: Path, edges: list[int]) -> Unit:
    folder.mkdir(exist_ok=True)
    for start, stop in itertools.pairwise(edges):
        here = slice(start, stop)
        parts = {e: {n: v[here] for n, v in columns.items()} for e, columns in SIGNALS.items()}
        write_trace_shards(folder, range(start, stop), N, IN_SAMPLE[here], parts, META)
    return Unit(folder)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """Ten rows of which three workers observed four, none and six."""
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "heldout.parquet").write_bytes(b"another table")
    return write_shards(tmp_path / "unit", [0, 4, 4, 10])


@settings(max_examples=20, deadline=None)
@given(inner=st.lists(st.integers(0, N), max_size=5))
def test_shards_read_as_the_one_file(
    tmp_path_factory: pytest.TempPathFactory, inner: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("unit")
    sharded = write_shards(folder / "shards", [0, *sorted(inner), N])
    write_trace(folder / "trace.parquet", IN_SAMPLE, SIGNALS, META)
    for at in (None, [2], [11, 2]):
        ours = read_unit_trace(sharded, ["b", "a"], at)
        theirs = read_trace(folder / "trace.parquet", ["b", "a"], at)
        assert np.array_equal(ours.in_sample, theirs.in_sample)
        assert list(ours.signals) == list(theirs.signals)
        for epoch, columns in theirs.signals.items():
            assert np.array_equal(ours.in_sample_at(epoch), theirs.in_sample_at(epoch))
            for name, values in columns.items():
                assert np.array_equal(ours.signals[epoch][name], values)


def test_a_units_trace_is_the_one_file_or_its_shards(unit: Unit) -> None:
    shards = sorted(f"trace-e{epoch}-r{row}.parquet" for epoch in (2, 11) for row in (0, 4))
    assert trace_names(unit.files) == shards
    assert trace_names(["unit.json", "trace.parquet", "heldout.parquet"]) == ["trace.parquet"]
    assert trace_names(["trace-eval.parquet", "xtrace-e1-r0.parquet"]) == []


def first_lost(unit: Unit) -> None:
    unit.path("trace-e2-r0.parquet").unlink()


def last_lost(unit: Unit) -> None:
    unit.path("trace-e11-r4.parquet").unlink()


def a_whole_epoch_lost(unit: Unit) -> None:
    for row in (0, 4):
        unit.path(f"trace-e11-r{row}.parquet").unlink()


def one_stored_twice(unit: Unit) -> None:
    write_trace_shards(
        unit.folder, range(2, 4), N, IN_SAMPLE[2:4], {2: {"a": np.zeros(2, np.float32)}}, META
    )


def one_of_another_unit(unit: Unit) -> None:
    write_trace_shards(unit.folder, range(1), 1, IN_SAMPLE[:1], {2: {"a": np.ones(1, "f4")}}, META)


def one_under_anothers_name(unit: Unit) -> None:
    first, second = (unit.path(f"trace-e2-r{row}.parquet") for row in (0, 4))
    second.write_bytes(first.read_bytes())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (first_lost, "row 0 at epoch 2 is in no shard"),
        (last_lost, "row 4 at epoch 11 is in no shard"),
        (a_whole_epoch_lost, "row 0 at epoch 11 is in no shard"),
        (one_stored_twice, "not of one trace"),
        (one_of_another_unit, "not of one trace"),
        (one_under_anothers_name, "row 0 at epoch 2 is in two shards"),
    ],
)
@pytest.mark.parametrize("at", [None, [2], [11]])
def test_a_trace_with_a_hole_or_a_row_too_many_is_refused(
    unit: Unit, damage: Callable[[Unit], None], told: str, at: list[int] | None
) -> None:
    damage(unit)
    with pytest.raises(TableError, match=told):
        read_unit_trace(unit, ["a"], at)


def test_one_shard_does_not_pass_for_a_trace(unit: Unit) -> None:
    with pytest.raises(TableError, match="row 4 at epoch 2 is in no shard"):
        read_trace(unit.path("trace-e2-r0.parquet"), ["a"])


def test_a_unit_without_a_trace_and_an_epoch_that_is_not_there_are_told(
    unit: Unit, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match="no epoch 3"):
        read_unit_trace(unit, ["a"], [3])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match="no trace file"):
        read_unit_trace(Unit(tmp_path / "empty"), ["a"])


def test_a_value_that_is_not_finite_names_the_row_of_the_source(tmp_path: Path) -> None:
    values = np.array([0, np.nan, 0], np.float32)
    with pytest.raises(TableError, match="signal a at epoch 2 is nan for row 8"):
        write_trace_shards(tmp_path, range(7, 10), N, IN_SAMPLE[7:], {2: {"a": values}}, META)
