"""CSV and TSV files with a header line, also gzipped: a file, a glob, or a folder.

Columns are numbers (int64, else double) or text. The types are settled once, by the first 16 MiB of
the first file, and hold for every file and for the test split; a later value that does not fit is
an error that names file and line. An empty cell is a missing value; in a column of numbers NA, NaN
and null are, too. Text is UTF-8. Splits are found as for Parquet.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, open_files
from dataprune.sources._files import DataFile, one_line
from dataprune.sources._formats import format_of
from dataprune.sources._text import TextFile, text_file
from dataprune.tables.manifest import FileEntry

_BLOCK_BYTES = 16 << 20
_BUFFER_BYTES = 1 << 20
_SENTINEL = "\x1e"
_ROW = re.compile(r"Row #(?P<row>\d+): ")
_MISFIT = re.compile(r"CSV column #(?P<column>\d+): .*invalid value '(?P<value>.*)'", re.DOTALL)
_RAGGED = re.compile(r"Expected (?P<want>\d+) columns, got (?P<got>\d+)")


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FILES)


def _inspect(file: DataFile, settled: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    """A file's columns and its entry; reads and converts every row once."""
    found = _settle(file, settled)
    with text_file(file) as text:
        rows = sum(len(batch) for batch in _batches(text, found, None))
        entry = text.entry(rows)
        odd = text.num_quotes % 2
    if odd and (line := _open_quote(file)):
        raise SourceError(
            f"line {line} of {file.where} opens a quote that is never closed",
            hint="close it, or fetch the file again if it was cut short",
        )
    return found, entry


def _read(file: DataFile, schema: pa.Schema, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with text_file(file) as text:
        yield from _batches(text, schema, names)


def _settle(file: DataFile, settled: pa.Schema | None) -> pa.Schema:
    """The file's columns in its own order, with the types that are settled or that it shows."""
    with text_file(file) as text:
        # A little more than the block that types come from: Arrow reads ahead in a thread, which
        # must not be left inside a Python file when the reader is dropped.
        head = pa.BufferReader(text.read(_BLOCK_BYTES + _BUFFER_BYTES))
        found = _reader(text, None, None, head).schema
    known = {} if settled is None else {field.name: field.type for field in settled}
    return pa.schema([(f.name, known.get(f.name, _type(f.type))) for f in found])


def _type(found: pa.DataType) -> pa.DataType:
    is_number = pa.types.is_integer(found) or pa.types.is_floating(found)
    return found if is_number else pa.string()


def _batches(
    text: TextFile, schema: pa.Schema, names: list[str] | None
) -> Iterator[pa.RecordBatch]:
    reader = _reader(text, schema, names, text)
    try:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except pa.ArrowInvalid as exc:
                raise _sentence(text.file, schema, exc) from exc
            if len(batch):
                columns = [_missing(column) for column in batch.columns]
                yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    finally:
        reader.close()


def _missing(column: pa.Array) -> pa.Array:
    if not pa.types.is_string(column.type):
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)


def _reader(
    text: TextFile,
    schema: pa.Schema | None,
    names: list[str] | None,
    data: TextFile | pa.BufferReader,
) -> pacsv.CSVStreamingReader:
    name = text.file.name.lower().removesuffix(".gz")
    try:
        return pacsv.open_csv(
            data,
            # One thread: only then do errors name the row.
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter="\t" if name.endswith(".tsv") else ",", newlines_in_values=True
            ),
            convert_options=pacsv.ConvertOptions(column_types=schema, include_columns=names),
        )
    except pa.ArrowInvalid as exc:
        raise _sentence(text.file, schema, exc) from exc


def _sentence(file: DataFile, schema: pa.Schema | None, exc: pa.ArrowInvalid) -> SourceError:
    """Arrow's error on a row, as the line of the file that it is about."""
    told = str(exc)
    if "straddl" in told:
        size = f"{_BLOCK_BYTES >> 20} MiB"
        return SourceError(
            f"{file.where} has a row longer than {size}",
            hint="a quote that is never closed makes one, too",
        )
    if (row := _ROW.search(told)) is None:
        no_rows = "is empty" if told == "Empty CSV file" else "has no row below its header"
        problem = no_rows if "Empty CSV" in told else f"cannot be read as CSV: {one_line(exc)}"
        return SourceError(f"{file.where} {problem}")
    at = f"{_line_of(file, int(row['row']))} of {file.where}"
    if ragged := _RAGGED.search(told):
        return SourceError(
            f"{at} has {ragged['got']} cells, and the header {ragged['want']}",
            hint="mend the row; a quote that is never closed takes all that follows for one cell",
        )
    if "UTF8" in told:
        return SourceError(f"{at} is no UTF-8", hint="write the file again as UTF-8")
    if (misfit := _MISFIT.search(told)) and schema is not None:
        field = schema.field(int(misfit["column"]))
        return SourceError(
            f"{at} has {misfit['value'][:80]!r} in column {field.name}, which is {field.type}",
            hint="the first rows settle a column's type: mend the value, or write the column alike",
        )
    return SourceError(f"{at} cannot be read: {one_line(exc)}")


def _line_of(file: DataFile, row: int) -> str:
    """Where a row begins, in words; the header is row 1, and blank lines are none."""
    lines = (first_line for first_line, _ in _records(file))
    line = next(itertools.islice(lines, row - 1, None), None)
    return f"row {row}" if line is None else f"line {line}"  # None: quotes that Python reads apart


def _open_quote(file: DataFile) -> int | None:
    """The line of a quote that is never closed; Arrow takes the rest of the file for its value.

    A last line that is ours goes in after the file: an open quote swallows it.
    """
    *_, (first_line, record) = _records(file)
    return None if record == [_SENTINEL] else first_line


def _records(file: DataFile) -> Iterator[tuple[int, list[str]]]:
    """First line and cells of every record, and of a last one that is ours."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        with text_file(file) as text:
            lines = io.TextIOWrapper(io.BufferedReader(text), "utf-8", "replace", newline="")
            is_tsv = file.name.lower().removesuffix(".gz").endswith(".tsv")
            end = [f"{_SENTINEL}\n"]
            reader = csv.reader(itertools.chain(lines, end), delimiter="\t" if is_tsv else ",")
            line = 1
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
    finally:
        csv.field_size_limit(before)


FILES = FileFormat("csv", _inspect, _read, infers=True)
FORMAT = SourceFormat("csv", lambda uri: format_of(uri) == "csv", _open)
