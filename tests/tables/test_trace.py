"""Traces: signals of every checkpoint, in source order, finite, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dataprune.core.errors import TableError
from dataprune.tables.decisions import SCHEMA as DECISIONS_SCHEMA
from dataprune.tables.decisions import write_decisions
from dataprune.tables.trace import SCHEMA, read_trace, write_trace

Signals = dict[int, dict[str, npt.NDArray[np.float32]]]

IN_SAMPLE = np.array([True, False, True, True])
LOSS = np.array([0.5, 1.5, 2.5, 3.5], np.float32)


@pytest.fixture
def signals() -> Signals:
    """Two signals at two epochs, the later epoch first."""
    return {10: {"loss": LOSS, "el2n": LOSS * 2}, 2: {"loss": LOSS + 1, "el2n": LOSS + 2}}


@pytest.fixture
def path(tmp_path: Path, signals: Signals) -> Path:
    """A trace on disk."""
    write_trace(tmp_path / "trace.parquet", IN_SAMPLE, signals, {"mode": "eval"})
    return tmp_path / "trace.parquet"


def test_a_trace_comes_back_with_every_signal_of_every_checkpoint(
    path: Path, signals: Signals
) -> None:
    trace = read_trace(path, ["el2n", "loss"])
    assert trace.in_sample.tolist() == IN_SAMPLE.tolist()
    assert {c: set(s) for c, s in trace.signals.items()} == {c: {"el2n", "loss"} for c in (2, 10)}
    for checkpoint, columns in signals.items():
        for name, values in columns.items():
            assert trace.signals[checkpoint][name].tolist() == values.tolist()
            assert trace.signals[checkpoint][name].dtype == np.float64


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 40),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sets(st.integers(1, 10_000), min_size=1, max_size=3),
)
def test_any_finite_values_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    values: npt.NDArray[np.float32],
    checkpoints: set[int],
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-trace.parquet"
    in_sample = np.arange(len(values)) % 2 == 0
    write_trace(path, in_sample, {c: {"loss": values} for c in checkpoints}, {})
    trace = read_trace(path, ["loss"])
    assert set(trace.signals) == checkpoints
    assert np.array_equal(trace.in_sample, in_sample)
    for checkpoint in checkpoints:
        assert np.array_equal(trace.signals[checkpoint]["loss"], values.astype(np.float64))


def test_checkpoints_are_stored_in_order_one_row_group_each(path: Path) -> None:
    with pq.ParquetFile(path) as file:
        found = [
            file.read_row_group(i).column("checkpoint").unique().to_pylist()
            for i in range(file.num_row_groups)
        ]
    assert found == [[2], [10]]


def test_rows_stand_in_source_order_within_a_checkpoint(path: Path) -> None:
    assert pq.read_table(path).column("row").to_pylist() == [0, 1, 2, 3] * 2


def test_columns_are_the_contracts_then_the_signals_by_name_none_nullable(path: Path) -> None:
    schema = pq.read_schema(path)
    assert schema.names == [*SCHEMA.names, "el2n", "loss"]
    assert not any(field.nullable for field in schema)
    assert str(schema.field("loss").type) == "float"


def test_the_same_observations_give_the_same_bytes_whatever_the_order_they_came_in(
    path: Path, tmp_path: Path, signals: Signals
) -> None:
    turned = {c: dict(reversed(signals[c].items())) for c in sorted(signals)}
    write_trace(tmp_path / "b.parquet", IN_SAMPLE.copy(), turned, {"mode": "eval"})
    assert (tmp_path / "b.parquet").read_bytes() == path.read_bytes()


def test_signals_not_asked_for_are_not_read(path: Path) -> None:
    assert set(read_trace(path, ["loss"]).signals[2]) == {"loss"}


def test_who_was_in_the_sample_can_be_read_without_signals(path: Path) -> None:
    assert read_trace(path, []).in_sample.tolist() == IN_SAMPLE.tolist()


def test_a_signal_that_was_not_recorded_is_named(path: Path) -> None:
    with pytest.raises(TableError, match="margin"):
        read_trace(path, ["loss", "margin"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_signal_that_is_not_finite_names_itself_its_epoch_and_its_row(
    tmp_path: Path, signals: Signals, value: float
) -> None:
    signals[10]["el2n"][2:] = value
    with pytest.raises(TableError, match=f"signal el2n at epoch 10 is {value} for row 2"):
        write_trace(tmp_path / "a.parquet", IN_SAMPLE, signals, {})
    assert not (tmp_path / "a.parquet").exists()


def test_another_table_is_no_trace(tmp_path: Path) -> None:
    write_decisions(tmp_path / "d.parquet", DECISIONS_SCHEMA.empty_table(), {})
    with pytest.raises(TableError, match="is not a dataprune trace table"):
        read_trace(tmp_path / "d.parquet", [])


def test_a_trace_cut_short_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        read_trace(path, ["loss"])
