"""CSV and TSV sources: types that are settled once, and lines that do not fit."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from dataprune.sources import csv as csv_source
from tests.sources.tables import loaded, opened, refused


def put(path: Path, text: str | bytes) -> Path:
    """Write a file; gzipped if its name says so."""
    data = text if isinstance(text, bytes) else text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def columns(path: Path) -> dict[str, list[object]]:
    """Every column as Python values."""
    source = opened(path)
    found: dict[str, list[object]] = pa.Table.from_batches(source.batches(None)).to_pydict()
    return found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are settled by the first 64 bytes, so that a small file has later ones."""
    monkeypatch.setattr(csv_source, "_BLOCK_BYTES", 64)


# --- what is read


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.TSV.gz"])
def test_numbers_and_texts_are_told_apart(tmp_path: Path, name: str) -> None:
    text = "text,label,x,y,flag,day\nhé,1,1.5,7,true,2020-01-01\nb,0,2,8,false,2020-01-02\n"
    path = put(tmp_path / name, text.replace(",", "\t") if "tsv" in name.lower() else text)
    assert columns(path) == {
        "text": ["hé", "b"],
        "label": [1, 0],
        "x": [1.5, 2.0],
        "y": [7, 8],
        "flag": ["true", "false"],
        "day": ["2020-01-01", "2020-01-02"],
    }


def test_an_empty_cell_is_missing_and_na_is_missing_only_among_numbers(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'text,label,x\nNA,1,NA\n,0,2\n"",1,\nnull,1,3\n')
    assert columns(path) == {
        "text": ["NA", None, None, "null"],
        "label": [1, 0, 1, 1],
        "x": [None, 2, None, 3],
    }
    assert "2 rows of" in refused(path)
    assert "have no input: 1, 2" in refused(path)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", b"\xef\xbb\xbf" + b"text,label\na,1\n")
    assert opened(path).schema.names == ["text", "label"]


def test_a_value_may_hold_quotes_commas_and_line_breaks(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'text,label\r\n"a, ""b""\nc",1\r\n\r\n5" pipe,0\r\n')
    assert columns(path) == {"text": ['a, "b"\nc', '5" pipe'], "label": [1, 0]}


def test_several_columns_of_numbers_are_one_input(tmp_path: Path) -> None:
    found = loaded(put(tmp_path / "a.csv", "a,b,label\n1,2.5,x\n3,4.5,y\n"))
    assert found.ref.columns.input == ("a", "b")
    assert found.inputs is not None
    assert found.inputs[:].tolist() == [[1, 2.5], [3, 4.5]]


def test_a_compressed_file_has_the_fingerprint_of_the_plain_one(tmp_path: Path) -> None:
    text = "text,label\na,1\nb,0\n"
    plain, packed = (loaded(put(tmp_path / name, text)) for name in ("a.csv", "a.csv.gz"))
    assert plain.ref.fingerprint == packed.ref.fingerprint
    assert plain.ref.files[0].sha256 != packed.ref.files[0].sha256


def test_the_test_split_has_the_types_of_the_training_split(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", "text,label\na,one\nb,2\n")
    put(tmp_path / "test.csv", "text,label\na,2\nb,2\n")
    found = loaded(tmp_path)
    assert found.test is not None
    assert found.test.labels.tolist() == [0, 0]
    assert found.ref.class_names == ["2", "one"]


def test_a_file_with_no_row_settles_no_type(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\n")
    put(tmp_path / "b.csv", "text,label\na,1\nb,0\n")
    put(tmp_path / "c.csv", "text,label\n")
    source = opened(tmp_path)
    assert source.schema.field("label").type == pa.int64()
    assert [entry.rows for entry in source.files] == [0, 2, 0]


# --- what is refused


def test_a_later_value_that_does_not_fit_names_file_line_and_column(
    tmp_path: Path, small_blocks: None
) -> None:
    rows = '"a\nb",1\n' * 30
    path = put(tmp_path / "a.csv", f"text,label\n{rows}\n\nc,many\n{rows}")
    told = refused(path)
    assert f"line 64 of {path} has 'many' in column label, which is int64" in told
    assert path.read_text().splitlines()[63] == "c,many"


def test_a_value_that_does_not_fit_in_another_file_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\na,1\n")
    put(tmp_path / "b.csv", "text,label\na,1\nb,x\n")
    assert f"line 3 of {tmp_path / 'b.csv'} has 'x' in column label" in refused(tmp_path)


def test_a_row_with_another_number_of_cells_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text,label\na,1\nb,0,0\n")
    assert f"line 3 of {path} has 3 cells, and the header 2" in refused(path)


@pytest.mark.parametrize("rows_before", [0, 40])
def test_text_that_is_not_utf8_is_refused(
    tmp_path: Path, rows_before: int, small_blocks: None
) -> None:
    path = put(tmp_path / "a.csv", b"text,label\n" + b"a,1\n" * rows_before + b"caf\xe9,1\n")
    assert f"line {rows_before + 2} of {path} is no UTF-8" in refused(path)


def test_utf16_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "text,label\na,1\n".encode("utf-16"))
    assert "is no UTF-8 text: it holds zero bytes" in refused(path)


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'label,text\n1,a\n0,"b\n1,c\n1,d\n')
    assert f"line 3 of {path} opens a quote that is never closed" in refused(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a.csv is empty"),
        ("text,label", "has no row below its header"),
        ("text,label\n", "split train of .* has no rows"),
        ("text,text,label\na,b,1\n", "more than one column named text"),
    ],
    ids=["empty", "half a header", "header", "twice"],
)
def test_a_file_that_holds_no_table_is_refused(tmp_path: Path, text: str, says: str) -> None:
    import re

    assert re.search(says, refused(put(tmp_path / "a.csv", text)))


def test_a_row_that_no_block_holds_is_refused(tmp_path: Path, small_blocks: None) -> None:
    path = put(tmp_path / "a.csv", f"text,label\na,1\n{'x' * 500},1\n")
    assert "has a row longer than" in refused(path)


@pytest.mark.parametrize("keep", [30, -4], ids=["middle", "end"])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = put(tmp_path / "a.csv.gz", "".join(f"text {i},{i % 2}\n" for i in range(100)))
    path.write_bytes(path.read_bytes()[:keep])
    assert "a.csv.gz cannot be read: " in refused(path)


def test_a_file_that_is_not_what_its_suffix_says_is_refused(tmp_path: Path) -> None:
    plain = put(tmp_path / "a.csv", "text,label\na,1\n").rename(tmp_path / "a.csv.gz")
    assert "a.csv.gz cannot be read: Not a gzipped file" in refused(plain)


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\na,1\n")
    put(tmp_path / "b.csv", "text,label,more\na,1,2\n")
    assert "b.csv has other columns than" in refused(tmp_path)
    assert "more is new" in refused(tmp_path)


def test_the_test_splits_columns_are_those_of_the_training_split(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", "text,label\na,1\n")
    put(tmp_path / "test.csv", "label,text\n1,a\n")
    assert "has other columns than the training split: their order differs" in refused(tmp_path)


def test_reading_stops_cleanly_when_the_reader_has_enough(
    tmp_path: Path, small_blocks: None
) -> None:
    path = put(tmp_path / "a.csv", "text,label\n" + "a,1\n" * 500)
    reader = opened(path).batches(None)
    assert len(next(reader)) > 0
    reader.close()  # type: ignore[attr-defined]
    path.unlink()


@pytest.mark.slow
def test_a_process_that_ends_with_an_error_on_a_csv_file_ends_in_order(tmp_path: Path) -> None:
    """Arrow reads ahead in a thread, which must not be alive when the interpreter ends."""
    path = tmp_path / "d.csv"
    path.write_text("a,b,label\n" + "1,2,x\n" * 1000)
    code = f"""
from dataprune.core.recipe import Columns, SourceRecipe
from dataprune.sources import open_source
open_source(SourceRecipe(uri={str(path)!r}, columns=Columns(input="nowhere")))
"""
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert done.returncode == 1, done.stderr
