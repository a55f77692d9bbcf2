"""Arrow IPC sources: both formats, and files that are cut or damaged."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from tests.sources.tables import first_features, numbers, opened, refused

TABLE = pa.table(numbers(0, 100))


def put(path: Path, form: str = "stream", table: pa.Table = TABLE) -> Path:
    """Write a table in batches of 30 rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with getattr(pa.ipc, f"new_{form}")(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=30)
    return path


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("name", ["a.arrow", "a.feather"])
def test_both_formats_are_read_whatever_the_suffix(tmp_path: Path, form: str, name: str) -> None:
    source = opened(put(tmp_path / name, form))
    assert first_features(source) == list(range(100))
    assert source.paths == ()


@pytest.mark.parametrize("form", ["file", "stream"])
def test_both_formats_are_read_from_a_url(tmp_path: Path, form: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/ipc-{form}/a.arrow", put(tmp_path / "a.arrow", form).read_bytes())
    source = open_source(SourceRecipe(uri=f"memory://ipc-{form}"))
    assert first_features(source) == list(range(100))


@pytest.mark.parametrize("form", ["file", "stream"])
def test_columns_come_in_the_order_asked_for(tmp_path: Path, form: str) -> None:
    batch = next(opened(put(tmp_path / "a.arrow", form)).batches(["label", "features"]))
    assert batch.schema.names == ["label", "features"]
    assert batch.column("label").to_pylist()[:3] == [0, 1, 0]


def test_both_formats_may_lie_in_one_folder(tmp_path: Path) -> None:
    put(tmp_path / "a.arrow", "file")
    put(tmp_path / "b.arrow", "stream")
    assert opened(tmp_path).num_rows == 200


@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("cut", [1, 4, 8, 200, 1500])
def test_a_truncated_file_is_refused_and_named(tmp_path: Path, form: str, cut: int) -> None:
    path = put(tmp_path / "a.arrow", form)
    path.write_bytes(path.read_bytes()[:-cut])
    assert f"{path} " in refused(path)


def test_a_stream_that_is_cut_between_two_batches_is_no_shorter_stream(tmp_path: Path) -> None:
    whole = put(tmp_path / "whole.arrow").read_bytes()
    with pa.ipc.open_stream(whole) as reader:
        reader.read_next_batch()
    first = put(tmp_path / "first.arrow", "stream", TABLE.slice(0, 30)).read_bytes()
    path = tmp_path / "a.arrow"
    path.write_bytes(first[:-8])
    assert whole.startswith(first[:-8])
    assert "ends without the end mark of an Arrow stream" in refused(path)


def test_two_streams_in_one_file_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.arrow")
    path.write_bytes(path.read_bytes() * 2)
    assert "goes on after its Arrow stream ends" in refused(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"text,label\na,1\n", "cannot be read as Arrow"),
        (b"FEA1....", "version 1"),
    ],
    ids=["empty", "text", "feather 1"],
)
def test_a_file_that_is_not_what_its_suffix_says_is_refused(
    tmp_path: Path, data: bytes, says: str
) -> None:
    path = tmp_path / "a.arrow"
    path.write_bytes(data)
    assert f"{path} " in refused(path)
    assert says in refused(path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"caf\xe9"])
    text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    path = put(tmp_path / "a.arrow", "stream", pa.table({"text": text, "label": [0, 1]}))
    assert "cannot be read as Arrow" in refused(path)


def test_offsets_that_lead_out_of_the_file_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.arrow", "stream", pa.table({"text": ["a", "b"], "label": [0, 1]}))
    whole, offsets = path.read_bytes(), b"\0\0\0\0\1\0\0\0\2\0\0\0"
    assert whole.count(offsets) == 1
    path.write_bytes(whole.replace(offsets, b"\0\0\0\0\1\0\0\0\xff\xff\xff\x7f"))
    assert "cannot be read as Arrow" in refused(path)


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.arrow")
    put(tmp_path / "b.arrow", "file", TABLE.rename_columns(["features", "labels"]))
    assert "b.arrow has other columns than" in refused(tmp_path)
