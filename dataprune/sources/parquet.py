"""Parquet files: one file, a glob, or a folder, also one laid out like a Hub dataset.

On this machine or behind an fsspec URL (`s3://`, `gs://`, `https://` ...).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, open_files
from dataprune.sources._files import DataFile
from dataprune.sources._formats import format_of
from dataprune.tables.manifest import FileEntry

_PIECE_ROWS = 4096
# Small batches, and pages read through a buffer, go into memory that was used before: fresh memory
# costs more than reading, and reading ahead (pre_buffer) held a whole shard.
_BATCH_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FILES)


def _inspect(file: DataFile, _: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    with file.reading("cannot be read as Parquet"), _opened(file) as opened:
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    sha256, num_bytes = file.pin()
    return schema, FileEntry(path=file.name, sha256=sha256, bytes=num_bytes, rows=rows)


def _read(file: DataFile, _: pa.Schema, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with file.reading(), _opened(file) as opened:
        rows = _batch_rows(opened.metadata)
        yield from opened.iter_batches(batch_size=rows, columns=names)


def _batch_rows(about: pq.FileMetaData) -> int:
    """Rows of a batch: a piece, or the largest half, quarter ... of it that is no more bytes."""
    num_bytes = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    rows = _PIECE_ROWS
    while rows > 1 and rows * num_bytes > _BATCH_BYTES * about.num_rows:
        rows //= 2
    return rows


@contextlib.contextmanager
def _opened(file: DataFile) -> Iterator[pq.ParquetFile]:
    """The file, by its path where it has one: Arrow reads that without Python in between."""
    if file.path is not None:
        with pq.ParquetFile(file.path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as opened:
            yield opened
        return
    with file.open() as handle, pq.ParquetFile(handle) as opened:
        yield opened


FILES = FileFormat("parquet", _inspect, _read, parquet=True, piece_rows=_PIECE_ROWS)
FORMAT = SourceFormat("parquet", lambda uri: format_of(uri) == "parquet", _open)
