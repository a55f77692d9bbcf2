"""JSON Lines (.jsonl, .ndjson), also gzipped: one object a line; a file, a glob, or a folder.

The fields and their types are settled once, by the first lines of the first file, and hold for
every file and for the test split; a later value that does not fit, or a new field, is an error
that names file and line. A field that is left out or null is a missing value. Splits are found as
for Parquet.

Lines are parsed by Python's own json: Arrow's reader is three times as fast, and takes `null` for
a row, crashes on it in the first line, and does not know which line is wrong.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, open_files
from dataprune.sources._files import DataFile, one_line
from dataprune.sources._formats import format_of
from dataprune.sources._text import TextFile, text_file
from dataprune.sources._values import settle, to_array
from dataprune.tables.manifest import FileEntry

_BATCH_ROWS = 8192
_BATCH_BYTES = 16 << 20

Rows = list[tuple[int, dict[str, Any]]]  # each with its line in the file, from 1


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FILES)


def _inspect(file: DataFile, settled: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    """A file's fields and its entry; parses every line once."""
    schema, num_rows = settled, 0
    with text_file(file) as text:
        for rows in _rows(text):
            schema = schema or _settle(file, rows)
            num_rows += len(_batch(file, rows, schema))
        entry = text.entry(num_rows)
    if not entry.bytes:
        raise SourceError(f"{file.where} is empty")
    return schema or pa.schema([]), entry


def _read(file: DataFile, schema: pa.Schema, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with text_file(file) as text:
        for rows in _rows(text):
            batch = _batch(file, rows, schema)
            yield batch if names is None else batch.select(names)


def _rows(text: TextFile) -> Iterator[Rows]:
    """The file's objects in batches of bounded size; blank lines are none."""
    rows: Rows = []
    num_bytes = 0
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        rows.append((number, _object(text.file, number, line)))
        num_bytes += len(line)
        if len(rows) == _BATCH_ROWS or num_bytes >= _BATCH_BYTES:
            yield rows
            rows, num_bytes = [], 0
    if rows:
        yield rows


def _lines(text: TextFile) -> Iterator[bytes]:
    rest = b""
    while data := text.read(1 << 20):
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _object(file: DataFile, number: int, line: bytes) -> dict[str, Any]:
    at = f"line {number} of {file.where}"
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as exc:
        raise SourceError(f"{at} is no UTF-8", hint="write the file again as UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise SourceError(
            f"{at} is not valid JSON: {one_line(exc)}",
            hint="every line is one whole object; the file may have been cut short",
        ) from exc
    if not isinstance(value, dict):
        raise SourceError(
            f"{at} holds {_word(value)}, not an object", hint="every line is one whole object"
        )
    return value


def _settle(file: DataFile, rows: Rows) -> pa.Schema:
    """Fields in the order of their first appearance, with the types of the rows' values."""
    names = dict.fromkeys(name for _, row in rows for name in row)
    return pa.schema([(name, _settle_field(file, rows, name)) for name in names])


def _settle_field(file: DataFile, rows: Rows, name: str) -> pa.DataType:
    values = [row.get(name) for _, row in rows]
    settled = settle(values)
    if settled is not None:
        return settled
    first = bisect.bisect_left(range(1, len(rows)), True, key=lambda n: settle(values[:n]) is None)
    number, row = rows[first]
    raise SourceError(
        f"line {number} of {file.where} has {_word(row[name])} in {name}, which has another kind "
        "of value in the lines before",
        hint="write the values of one field alike",
    )


def _batch(file: DataFile, rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    known = set(schema.names)
    for number, row in rows:
        if not row.keys() <= known:
            new = next(name for name in row if name not in known)
            raise SourceError(
                f"line {number} of {file.where} has a field {new} that the first lines lack",
                hint="give it to a line at the start, or leave it out",
            )
    columns = [_column(file, rows, field) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(file: DataFile, rows: Rows, field: pa.Field) -> pa.Array:
    made = to_array([row.get(field.name) for _, row in rows], field.type)
    if made is not None:
        return made
    number, row = next(
        (number, row) for number, row in rows if to_array([row.get(field.name)], field.type) is None
    )
    raise SourceError(
        f"line {number} of {file.where} has {_word(row[field.name])} in {field.name}, which is "
        f"{field.type}",
        hint="the first lines settle a field's type: mend the value, or write the field alike",
    )


def _word(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)[:80]


FILES = FileFormat("jsonl", _inspect, _read, infers=True)
FORMAT = SourceFormat("jsonl", lambda uri: format_of(uri) == "jsonl", _open)
