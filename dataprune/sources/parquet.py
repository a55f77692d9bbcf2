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

_BATCH_ROWS = 4096


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FILES)


def _inspect(file: DataFile, _: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    with file.reading("cannot be read as Parquet"), _opened(file) as opened:
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    sha256, num_bytes = file.pin()
    return schema, FileEntry(path=file.name, sha256=sha256, bytes=num_bytes, rows=rows)


def _read(file: DataFile, _: pa.Schema, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with file.reading(), _opened(file) as opened:
        yield from opened.iter_batches(batch_size=_BATCH_ROWS, columns=names)


@contextlib.contextmanager
def _opened(file: DataFile) -> Iterator[pq.ParquetFile]:
    """The file, by its path where it has one: Arrow reads that without Python in between."""
    if file.path is not None:
        with pq.ParquetFile(file.path) as opened:
            yield opened
        return
    with file.open() as handle, pq.ParquetFile(handle) as opened:
        yield opened


FILES = FileFormat("parquet", _inspect, _read, parquet=True)
FORMAT = SourceFormat("parquet", lambda uri: format_of(uri) == "parquet", _open)
