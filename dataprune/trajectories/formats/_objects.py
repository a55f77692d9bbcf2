"""JSON objects out of files: JSON, JSON Lines, Parquet, and the first two packed.

A row that cannot be read is no end: it comes out as a `Problem`, and the next one is read. What
makes a whole file useless (it is cut short, empty, a trap) is an error.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import SourceError
from dataprune.trajectories.formats._files import RowsFile, chunks_of, reading
from dataprune.trajectories.formats._json import MOST_BYTES, Problem, Text, lines

_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a file. value: an object, a list that is a row, or the problem with it.

    name: unique in the input: the file's stem, a colon and the position, from 1; of a file that is
    one row, the stem alone. where: for people, "line 3 of runs.jsonl".
    """

    value: Any
    name: str
    where: str


def objects(file: RowsFile, is_row: Callable[[Any], bool]) -> Generator[Item]:
    """Rows of a file, in order, in bounded memory.

    is_row: whether a value is one row. It decides whether a JSON file that holds one list or one
        object is a row or holds rows: a list is one row if a list of its first element alone is.

    Raises:
        SourceError: the file cannot be read, is empty, is cut short where it is packed, unpacks to
            far more than its size, or has a row above 256 MiB.
    """
    read = {"json": _of_json, "lines": _of_lines, "parquet": _of_parquet}[file.kind]
    yield from read(file, is_row)


def _of_lines(file: RowsFile, is_row: Callable[[Any], bool]) -> Iterator[Item]:
    with chunks_of(file) as chunks:
        for number, value in lines(chunks, file.label):
            yield _item(file, value, number, "line", is_row)


def _item(
    file: RowsFile, value: Any, place: int | str, unit: str, is_row: Callable[[Any], bool]
) -> Item:
    if not isinstance(value, dict | Problem) and not (isinstance(value, list) and is_row(value)):
        value = Problem("it is not an object")
    return Item(value, f"{file.stem}:{place}", f"{unit} {place} of {file.label}")


def _of_json(file: RowsFile, is_row: Callable[[Any], bool]) -> Iterator[Item]:
    with chunks_of(file) as chunks:
        text = Text(chunks, file.label)
        if text.peek() == "[":
            yield from _of_list(file, text, is_row)
        else:
            yield from _of_values(file, text, is_row)


def _of_list(file: RowsFile, text: Text, is_row: Callable[[Any], bool]) -> Iterator[Item]:
    text.skip()
    values = _elements(text)
    first = next(values, None)
    if first is not None and is_row([first]):
        whole = [first, *values]
        wrong = next((value for value in whole if isinstance(value, Problem)), None)
        yield Item(wrong or whole, file.stem, file.label)
        return
    rest = values if first is None else _chain(first, values)
    for number, value in enumerate(rest, start=1):
        yield _item(file, value, number, "element", is_row)


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _elements(text: Text) -> Iterator[Any]:
    """Elements of a list behind its opening bracket."""
    while (mark := text.peek()) not in ("]", ""):
        yield text.value()
        mark = text.peek()
        if mark == ",":
            text.skip()
        elif mark not in ("]", ""):
            yield Problem("there is no comma before it")
    if mark == "":
        yield Problem("the file ends inside the list: it was cut short")
        return
    text.skip()
    if text.peek():
        yield Problem("something stands behind the end of the list; the rest was not read")


def _of_values(file: RowsFile, text: Text, is_row: Callable[[Any], bool]) -> Iterator[Item]:
    """A file with one object: a row, or rows by their ids; or with several, as JSON Lines has."""
    first = text.value()
    if text.peek() == "":
        if isinstance(first, dict) and not is_row(first) and _holds_rows(first):
            for key, value in first.items():
                row = value if "id" in value else {"id": key, **value}
                where = f"entry {key[:80]!a} of {file.label}"
                yield Item(row, f"{file.stem}:{key}", where)
            return
        fits = isinstance(first, dict | Problem)
        yield Item(first if fits else Problem("it is not an object"), file.stem, file.label)
        return
    yield _item(file, first, 1, "value", is_row)
    number = 1
    while text.peek():
        number += 1
        yield _item(file, text.value(), number, "value", is_row)


def _holds_rows(value: dict[str, Any]) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value.values())


def _of_parquet(file: RowsFile, is_row: Callable[[Any], bool]) -> Iterator[Item]:
    number = 0
    with reading(file):
        try:
            table = pq.ParquetFile(file.path)
        except pa.ArrowInvalid as exc:
            raise SourceError(
                f"{file.label} is no Parquet file", hint="it may be cut short: write it again"
            ) from exc
        with table:
            for batch in table.iter_batches(_BATCH_ROWS):
                for at in range(batch.num_rows):
                    number += 1
                    row = _row(batch.slice(at, 1))
                    yield _item(file, row, number, "row", is_row)
    if not number:
        raise SourceError(f"{file.label} has no rows", hint="leave it out or write it again")


def _row(batch: pa.RecordBatch) -> Any:
    if batch.nbytes > MOST_BYTES:
        return Problem(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        [row] = batch.to_pylist(maps_as_pydicts="lossy")
        return {key: _plain(value) for key, value in row.items()}
    except UnicodeDecodeError:
        return Problem("it is not UTF-8")


def _plain(value: Any) -> Any:
    """A value as JSON has it. Keys without a value go: Arrow gives each struct the keys of all."""
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | dt.timedelta):
        return str(value)
    return value
