"""One way to write and read our Parquet tables: atomic, self-describing, deterministic bytes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import TableError, UsageError
from dataprune.core.files import atomic_path
from dataprune.core.fingerprint import canonical_json

METADATA_KEY = b"dataprune"
ROW_GROUP_ROWS = 1 << 20


def write_table(
    path: Path, table: pa.Table, meta: dict[str, Any], *, row_group_rows: int | None = None
) -> None:
    """Write a table with its JSON metadata; the same table gives the same bytes.

    meta: must hold `format` and `format_version`; ends up under the schema key `dataprune`.
    """
    described = table.replace_schema_metadata(_described(meta))
    with atomic_path(path) as temporary:
        pq.write_table(
            described,
            temporary,
            row_group_size=row_group_rows or ROW_GROUP_ROWS,
            **_encoding(table.schema),
        )


@contextlib.contextmanager
def table_writer(
    path: Path, schema: pa.Schema, meta: dict[str, Any]
) -> Iterator[Callable[[pa.Table], None]]:
    """Write a table in parts, each a row group; the same bytes as whole if all but the last are.

    Parts have `ROW_GROUP_ROWS` rows, the last one what is left. A failure leaves no file.
    """
    described = schema.with_metadata(_described(meta))
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, described, **_encoding(schema)) as writer,
    ):
        yield lambda part: writer.write_table(
            part.replace_schema_metadata(described.metadata), row_group_size=ROW_GROUP_ROWS
        )


def _described(meta: dict[str, Any]) -> dict[bytes, bytes]:
    assert {"format", "format_version"} <= meta.keys(), "a table must say what it is"
    return {METADATA_KEY: canonical_json(meta).encode()}


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    return {
        "compression": "zstd",
        "use_dictionary": [f.name for f in schema if pa.types.is_string(f.type)],
        "column_encoding": {
            f.name: "DELTA_BINARY_PACKED" for f in schema if f.name in {"row", "rank"}
        },
    }


def read_table(
    path: Path, *, format_name: str, format_version: int, columns: list[str] | None = None
) -> tuple[pa.Table, dict[str, Any]]:
    """Read one of our tables and its metadata.

    Raises:
        TableError: no such file, not Parquet, damaged, or not a table of this format and version.
    """
    with _opened(path, format_name, format_version) as (file, meta):
        missing = [c for c in columns or () if c not in file.schema_arrow.names]
        if missing:
            raise TableError(f"{path} has no column {missing[0]}")
        return file.read(columns=columns), meta


def read_meta(path: Path, *, format_name: str, format_version: int) -> dict[str, Any]:
    """The metadata of one of our tables, without its rows.

    Raises:
        TableError: as `read_table`.
    """
    with _opened(path, format_name, format_version) as (_, meta):
        return meta


@contextlib.contextmanager
def _opened(
    path: Path, format_name: str, format_version: int
) -> Iterator[tuple[pq.ParquetFile, dict[str, Any]]]:
    what = format_name.removeprefix("dataprune.")
    if not path.is_file():
        raise TableError(f"there is no {what} file at {path}")
    try:
        with pq.ParquetFile(path) as file:
            meta = _metadata(file.schema_arrow)
            found = meta.get("format")
            if found != format_name:
                raise TableError(
                    f"{path} is not a dataprune {what} table",
                    hint=f"it is a {str(found).removeprefix('dataprune.')} table"
                    if found
                    else None,
                )
            if meta.get("format_version") != format_version:
                raise TableError(
                    f"{path} has {what} format {meta.get('format_version')}, this dataprune reads "
                    f"{format_version}",
                    hint="use the dataprune version that wrote it",
                )
            yield file, meta
    except (pa.ArrowException, OSError, ValueError) as exc:
        problem = " ".join(str(exc).split())[:200]
        raise TableError(f"{path} cannot be read as Parquet: {problem}") from exc


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    """Our metadata; {} where there is none, or something else under our key."""
    raw = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    meta = json.loads(raw)
    return meta if isinstance(meta, dict) else {}


def check_target(path: str | Path, format_name: str) -> Path:
    """Where a table may be written: a name that fits, and nothing there that would be lost.

    Raises:
        UsageError: the name says that it is no Parquet, or a file of another kind is there.
    """
    path = Path(path)
    what = format_name.removeprefix("dataprune.")
    if path.suffix not in {"", ".parquet"}:
        raise UsageError(
            f"tables of {what} are Parquet, and the name is {path}",
            hint=f"name it {path.with_suffix('.parquet')}",
        )
    if path.is_file():
        try:
            found = _metadata(pq.read_schema(path)).get("format")
        except (pa.ArrowException, OSError, ValueError):
            found = None
        if found != format_name:
            holds = str(found).removeprefix("dataprune.") if found else "data of another kind"
            raise UsageError(
                f"{path} is there and holds {holds}, which {what} would replace",
                hint="name another file, or move that one away",
            )
    return path


def check_schema(table: pa.Table, expected: pa.Schema, *, what: str) -> None:
    """Assert that a table begins with the columns of its contract, names and types.

    Raises:
        TableError: the first column that differs.
    """
    for i, field in enumerate(expected):
        if i >= len(table.schema) or table.schema.field(i).name != field.name:
            found = table.schema.names[i] if i < len(table.schema) else "nothing"
            raise TableError(f"{what} should have column {i} called {field.name}, found {found}")
        if table.schema.field(i).type != field.type:
            raise TableError(
                f"{what} has column {field.name} of type {table.schema.field(i).type}, "
                f"should be {field.type}"
            )
