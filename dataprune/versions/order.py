"""The order of a version's rows: the source's, or the strategy's, best to keep first.

In the strategy's order the rows of "keep the best 40 %" are the first rows of "keep the best 50 %".
Cut into shards of a fixed number of rows, all but the last of its shards are the same bytes, and a
content-addressed store takes them once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprune.core.errors import AlignmentError, UsageError, nearest
from dataprune.sources import Source
from dataprune.tables.manifest import RowOrder, SourceRef

Rows = npt.NDArray[np.int64]
_SHARDS = 32  # of the whole source, so that a tenth less kept leaves most shards as they were
_SHARD_BYTES = 500 << 20
_PLACE = "__dataprune_place"  # a column beside the source's own
_BATCH_ROWS = 4096
_PIECE_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 30


def check_order(order: str, *, view: bool) -> RowOrder:
    """Return the order if there is one of that name, and the kind of version can have it.

    Raises:
        UsageError: neither "source" nor "score", or an order for a view.
    """
    if order not in get_args(RowOrder):
        raise UsageError(f"there is no order {order}", hint=nearest(order, get_args(RowOrder)))
    if view and order != "source":
        raise UsageError(
            f"order {order} has no effect on a view, which reads its rows from the source",
            hint="leave --view out, or set --order source",
        )
    return cast("RowOrder", order)


def kept_rows(decisions: pa.Table, order: RowOrder) -> Rows:
    """Source rows that are kept, int64, in the order that the version holds them."""
    rows = np.flatnonzero(decisions.column("keep").to_numpy(zero_copy_only=False))
    if order == "source":
        return rows
    rank = decisions.column("rank").to_numpy()[rows]
    return rows[np.lexsort((rows, rank))]


def rows_per_shard(ref: SourceRef) -> int:
    """Rows of a shard in the strategy's order: a thirty-second of the source, or less.

    It depends on the source alone, not on how much is kept.
    """
    source_bytes = sum(file.bytes for file in ref.files)
    return math.ceil(ref.num_rows / max(_SHARDS, math.ceil(source_bytes / _SHARD_BYTES)))


@dataclass(frozen=True)
class Arrangement:
    """Rows to read from a source, in the order to write them, and how many make a shard.

    rows: int64, positions in the source that is read.
    """

    rows: Rows
    shard_rows: int


def arranged(
    source: Source, wanted: Arrangement, spill: Path
) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches of each shard in turn.

    The source is read once: rows go to one file a shard under `spill`, and each of these is put in
    order by itself, so that memory holds one shard. One file is open at a time.

    Raises:
        AlignmentError: the source has not the number of rows it had when it was opened.
    """
    spill.mkdir(parents=True)
    count = math.ceil(len(wanted.rows) / wanted.shard_rows)
    paths = [spill / f"{i}.arrows" for i in range(count)]
    for shard, rows in _scattered(source, wanted):
        with paths[shard].open("ab") as file, pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows)
    for path in paths:
        in_order = _in_order(_spilled(path))
        path.unlink()
        yield in_order


def _scattered(source: Source, wanted: Arrangement) -> Iterator[tuple[int, pa.Table]]:
    """Pieces of the source by shard, each row with its place in the version."""
    place = np.full(source.num_rows, -1, dtype=np.int64)
    place[wanted.rows] = np.arange(len(wanted.rows))
    row = 0
    for table in _gathered(source):
        places = place[row : row + len(table)]
        row += len(table)
        if row > source.num_rows:
            break
        rows = np.flatnonzero(places >= 0)
        shard = places[rows] // wanted.shard_rows
        by_shard = np.argsort(shard, kind="stable")
        chosen = table.append_column(_PLACE, pa.array(places)).take(pa.array(rows[by_shard]))
        found, counts = np.unique(shard, return_counts=True)
        ends = np.cumsum(counts)
        for i, end, count in zip(found.tolist(), ends.tolist(), counts.tolist(), strict=True):
            yield i, chosen.slice(end - count, count)
    if row != source.num_rows:
        raise AlignmentError(
            f"source {source.uri} had {source.num_rows} rows when it was opened, and has "
            f"{'more' if row > source.num_rows else row} now",
            hint="leave it alone while a version is built from it, then do the same again",
        )


def _gathered(source: Source) -> Iterator[pa.Table]:
    """The source in tables of some batches, so that no file is opened to write only a little."""
    pending, num_bytes = list[pa.RecordBatch](), 0
    for batch in source.batches(None):
        if pending and num_bytes + batch.nbytes > _PIECE_BYTES:
            yield pa.Table.from_batches(pending, schema=source.schema)
            pending, num_bytes = [], 0
        pending.append(batch.cast(source.schema))
        num_bytes += batch.nbytes
    yield pa.Table.from_batches(pending, schema=source.schema)


def _spilled(path: Path) -> list[pa.RecordBatch]:
    """Every batch of a file of streams, one after another."""
    batches: list[pa.RecordBatch] = []
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            batches.extend(pa.ipc.open_stream(file))
    return batches


def _in_order(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows by their places, in batches of bounded size.

    Arrow gathers from one array at a time, whose 32-bit offsets end at 2 GiB: so rows are gathered
    from chunks below that.
    """
    chunks = _chunks(batches)
    del batches  # memory holds a shard, and two only while it is put together
    order = np.argsort(np.concatenate([chunk.column(_PLACE).to_numpy() for chunk in chunks]))
    starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
    row_bytes = sum(chunk.nbytes for chunk in chunks) // len(order) + 1
    step = max(1, min(_BATCH_ROWS, _PIECE_BYTES // row_bytes))
    chunks = [chunk.drop_columns([_PLACE]) for chunk in chunks]
    for begin in range(0, len(order), step):
        rows = order[begin : begin + step]
        chunk_of = np.searchsorted(starts, rows, side="right") - 1
        parts = [
            chunks[i].take(pa.array(rows[chunk_of == i] - starts[i])) for i in np.unique(chunk_of)
        ]
        piece = parts[0]
        if len(parts) > 1:
            by_chunk = np.argsort(chunk_of, kind="stable")
            piece = pa.concat_tables(parts).combine_chunks().take(pa.array(np.argsort(by_chunk)))
        yield from piece.to_batches()


def _chunks(batches: list[pa.RecordBatch]) -> list[pa.Table]:
    """Batches put together to tables of one chunk each."""
    chunks, pending, num_bytes = [], list[pa.RecordBatch](), 0
    for batch in batches:
        if pending and num_bytes + batch.nbytes > _CHUNK_BYTES:
            chunks.append(pa.Table.from_batches(pending).combine_chunks())
            pending, num_bytes = [], 0
        pending.append(batch)
        num_bytes += batch.nbytes
    return [*chunks, pa.Table.from_batches(pending).combine_chunks()]
