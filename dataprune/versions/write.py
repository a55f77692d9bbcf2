"""Write the kept rows of a source as Parquet shards: every column, order and features as found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprune.core.errors import AlignmentError, VersionError
from dataprune.core.files import sha256_file
from dataprune.sources import Source
from dataprune.tables.manifest import FileEntry
from dataprune.versions.order import Arrangement, arranged

_SHARD_BYTES = 500 << 20
_ROW_GROUP_BYTES = 64 << 20
_ROWS = ("rows",)  # a key that no label can be
# The Hub's own settings: chunk borders that survive deleted rows, so that stores deduplicate.
_CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}


def write_shards(
    source: Source,
    keep: npt.NDArray[np.bool_],
    folder: Path,
    split: str,
    arrangement: Arrangement | None = None,
    *,
    suggested: str | None = None,
) -> list[FileEntry]:
    """Write `folder/SPLIT-00000-of-0000N.parquet`; rows are recounted from the written files.

    keep: bool (num_rows,), which rows of the source to write. Memory is bounded by a row group.
    arrangement: the order to write them in, if not the source's; memory then holds a shard.
    suggested: a second column of labels, recounted as the first is.

    Raises:
        AlignmentError: the source does not have as many rows as there are decisions.
        VersionError: the files hold other rows or labels than were kept.
    """
    folder.mkdir(parents=True)
    shards = _Shards(source.schema, folder)
    labels = [name for name in (source.columns.label, suggested) if name is not None]
    wanted: dict[Any, int] = {}
    spill = folder / ".spill"
    in_shards: Iterable[Iterable[pa.RecordBatch]] = (
        [_kept_batches(source, keep)]
        if arrangement is None
        else arranged(source, arrangement, spill)
    )
    for batches in in_shards:
        for batch in batches:
            shards.add(batch)
            _count(batch, labels, wanted)
        if arrangement is not None:
            shards.end()
    if spill.exists():
        spill.rmdir()
    paths = shards.close()
    _recount(paths, labels, wanted)
    entries = []
    for i, path in enumerate(paths):
        final = path.with_name(f"{split}-{i:05d}-of-{len(paths):05d}.parquet")
        path.rename(final)
        entries.append(
            FileEntry(
                path=f"{folder.name}/{final.name}",
                sha256=sha256_file(final),
                bytes=final.stat().st_size,
                rows=pq.read_metadata(final).num_rows,
            )
        )
    return entries


def kept_table(source: Source, keep: npt.NDArray[np.bool_]) -> pa.Table:
    """The kept rows in memory, with the source's schema."""
    return pa.Table.from_batches(list(_kept_batches(source, keep)), schema=source.schema)


def _kept_batches(source: Source, keep: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch]:
    row = 0
    for batch in _batches_with(source, keep):
        if isinstance(batch, int):
            row += batch
            continue
        mask = keep[row : row + len(batch)]
        row += len(batch)
        if row > len(keep):
            break
        if mask.any():
            yield batch.filter(pa.array(mask)).cast(source.schema)
    if row != len(keep):
        has = "more" if row > len(keep) else row
        raise AlignmentError(
            f"decisions are on {len(keep)} rows, and source {source.uri} has {has} now",
            hint="leave it alone while a version is made from it, then do the same again",
        )


def _batches_with(source: Source, keep: npt.NDArray[np.bool_]) -> Iterator[pa.RecordBatch | int]:
    """Batches of the files that hold a kept row; of the others, how many rows they have."""
    if source.file_batches is None:
        yield from source.batches(None)
        return
    row = 0
    for i, entry in enumerate(source.files):
        rows = entry.rows or 0
        if keep[row : row + rows].any():
            yield from source.file_batches(i)
        else:
            yield rows
        row += rows


@dataclass
class _Shards:
    """Groups batches into row groups and row groups into shards."""

    schema: pa.Schema
    folder: Path
    paths: list[Path] = field(default_factory=list)
    pending: list[pa.RecordBatch] = field(default_factory=list)
    pending_bytes: int = 0
    shard_bytes: int = 0
    writer: pq.ParquetWriter | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self.pending.append(batch)
        self.pending_bytes += batch.nbytes
        if self.pending_bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def end(self) -> None:
        """End a shard here, whatever its size."""
        self._flush()
        self._end_shard()

    def close(self) -> list[Path]:
        self.end()
        return self.paths

    def _flush(self) -> None:
        if not self.pending:
            return
        if self.writer is None:
            path = self.folder / f"part-{len(self.paths)}"
            self.paths.append(path)
            self.writer = pq.ParquetWriter(path, self.schema, **writer_options(self.schema))
        table = pa.Table.from_batches(self.pending, schema=self.schema)
        self.writer.write_table(table, row_group_size=len(table))
        self.shard_bytes += self.pending_bytes
        self.pending, self.pending_bytes = [], 0
        if self.shard_bytes >= _SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer, self.shard_bytes = None, 0


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Parquet settings: bytes of media plain and uncompressed, the rest snappy and dictionary."""
    leaves = [path for f in schema for path in _leaves(f.name, f.type)]
    media = {path for path, kind in leaves if _is_bytes(kind)}
    return {
        "compression": {path: "none" if path in media else "snappy" for path, _ in leaves},
        "use_dictionary": [path for path, _ in leaves if path not in media],
        "write_page_index": True,
        "use_content_defined_chunking": _CHUNKING,
    }


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Parquet's dotted paths of a column's leaf values."""
    if pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from _leaves(f"{path}.{kind.field(i).name}", kind.field(i).type)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", kind.key_type)
        yield from _leaves(f"{path}.key_value.value", kind.item_type)
    else:
        yield path, kind


def _count(batch: pa.RecordBatch, labels: list[str], into: dict[Any, int]) -> None:
    """Count rows by each column of labels; of labels that are lists, the labels in them."""
    into[_ROWS] = into.get(_ROWS, 0) + len(batch)
    for name in labels:
        column = batch.column(name)
        if pa.types.is_nested(column.type):
            column = pc.list_flatten(column)
        for entry in pc.value_counts(column).to_pylist():
            key = (name, entry["values"])
            into[key] = into.get(key, 0) + entry["counts"]


def _recount(paths: list[Path], labels: list[str], wanted: dict[Any, int]) -> None:
    written: dict[Any, int] = {}
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=labels or None):
                _count(batch, labels, written)
    if written != wanted:
        raise VersionError(
            f"written files hold {written.get(_ROWS, 0)} rows, {wanted.get(_ROWS, 0)} were kept, "
            "or their labels differ",
            hint="the disk may be failing; nothing was published",
        )
