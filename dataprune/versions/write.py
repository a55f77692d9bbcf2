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
    in_shards: Iterable[Iterable[list[pa.RecordBatch]]] = (
        [_kept_pieces(source, keep)]
        if arrangement is None
        else (([batch] for batch in shard) for shard in arranged(source, arrangement, spill))
    )
    for pieces in in_shards:
        for piece in pieces:
            shards.add(piece)
            for batch in piece:
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
    batches = [batch for piece in _kept_pieces(source, keep) for batch in piece]
    return pa.Table.from_batches(batches, schema=source.schema)


def _kept_pieces(source: Source, keep: npt.NDArray[np.bool_]) -> Iterator[list[pa.RecordBatch]]:
    """The kept rows, piece by piece; pieces without one are left out."""
    row, piece = 0, list[pa.RecordBatch]()
    for batch, ends in _read_for(source, keep):
        num_rows = batch if isinstance(batch, int) else len(batch)
        mask = keep[row : row + num_rows]
        row += num_rows
        if row > len(keep):
            break
        if not isinstance(batch, int) and mask.any():
            piece.append(batch.filter(pa.array(mask)).cast(source.schema))
        if ends and piece:
            yield piece
            piece = []
    if row != len(keep):
        has = "more" if row > len(keep) else row
        raise AlignmentError(
            f"decisions are on {len(keep)} rows, and source {source.uri} has {has} now",
            hint="leave it alone while a version is made from it, then do the same again",
        )


def _read_for(
    source: Source, keep: npt.NDArray[np.bool_]
) -> Iterator[tuple[pa.RecordBatch | int, bool]]:
    """Batches of the files that hold a kept row; of the others, how many rows they have.

    With each, whether a piece ends there.
    """
    if source.file_batches is None:
        for batch in source.batches(None):
            yield batch, True
        return
    row = 0
    for i, entry in enumerate(source.files):
        rows, read = entry.rows or 0, 0
        if not keep[row : row + rows].any():
            yield rows, True
        else:
            for batch in source.file_batches(i):
                read += len(batch)
                whole = source.piece_rows is None or read % source.piece_rows == 0
                yield batch, whole or read >= rows
        row += rows


@dataclass
class _Shards:
    """Groups pieces into row groups and row groups into shards."""

    schema: pa.Schema
    folder: Path
    paths: list[Path] = field(default_factory=list)
    pending: list[pa.RecordBatch] = field(default_factory=list)
    pending_bytes: int = 0
    shard_bytes: int = 0
    writer: pq.ParquetWriter | None = None

    def add(self, piece: list[pa.RecordBatch]) -> None:
        """Take a piece, which no row group parts."""
        self.pending.extend(piece)
        self.pending_bytes += sum(batch.nbytes for batch in piece)
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
