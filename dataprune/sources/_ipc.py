"""Arrow IPC files, in the file and in the stream format: shared by `arrow` and `saved_dataset`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.sources._files import DataFile
from dataprune.tables.manifest import FileEntry

_FILE_MAGIC, _FEATHER_1_MAGIC = b"ARROW1", b"FEA1"
_CONTINUES = b"\xff\xff\xff\xff"
_STREAM_END = _CONTINUES + bytes(4)


def inspect_ipc(file: DataFile, _: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    """A file's schema and its entry. Every batch is checked: a damaged one must not reach Arrow.

    Raises:
        SourceError: it is empty, no Arrow file, damaged, or cut short.
    """
    rows = 0
    with file.reading("cannot be read as Arrow"), _opened(file) as handle:
        is_stream = _check_ends(file, handle)
        reader = _reader(handle, is_stream, None)
        for batch in _batches(reader):
            batch.validate(full=True)
            rows += len(batch)
        if is_stream and handle.tell() != handle.size():
            raise SourceError(f"{file.where} goes on after its Arrow stream ends")
        schema = reader.schema
    sha256, num_bytes = file.pin()
    return schema, FileEntry(path=file.name, sha256=sha256, bytes=num_bytes, rows=rows)


def read_ipc(
    file: DataFile, schema: pa.Schema, names: list[str] | None
) -> Iterator[pa.RecordBatch]:
    """A file's record batches; only the columns asked for are read."""
    with file.reading(), _opened(file) as handle:
        is_stream = _check_ends(file, handle)
        wanted = None if names is None else sorted(schema.get_field_index(n) for n in names)
        for batch in _batches(_reader(handle, is_stream, wanted)):
            yield batch if names is None else batch.select(names)


@contextlib.contextmanager
def _opened(file: DataFile) -> Iterator[Any]:
    if file.path is None:
        with file.open() as raw, pa.PythonFile(raw, mode="r") as handle:
            yield handle
        return
    if not file.path.stat().st_size:
        raise SourceError(f"{file.where} is empty")  # and nothing can be mapped
    with pa.memory_map(str(file.path)) as handle:
        yield handle


def _check_ends(file: DataFile, handle: Any) -> bool:
    """Whether it is a stream, and whether that is whole: Arrow takes a cut stream for a short one.

    A stream may by the specification end without its end mark; one that does is refused, since
    then nothing tells a whole one from a cut one.
    """
    first = handle.read(len(_FILE_MAGIC))
    if not first:
        raise SourceError(f"{file.where} is empty")
    if first.startswith(_FEATHER_1_MAGIC):
        raise SourceError(
            f"{file.where} is a Feather file of version 1", hint="write it again as version 2"
        )
    if first == _FILE_MAGIC:
        handle.seek(0)
        return False
    handle.seek(max(handle.size() - len(_STREAM_END), 0))
    last = handle.read(len(_STREAM_END))
    legacy = not first.startswith(_CONTINUES) and last.endswith(bytes(4))
    handle.seek(0)
    pa.ipc.read_schema(handle)  # no Arrow at all is told before a missing end
    if last != _STREAM_END and not legacy:
        raise SourceError(
            f"{file.where} ends without the end mark of an Arrow stream",
            hint="it was cut short while written or copied: write or fetch it again",
        )
    handle.seek(0)
    return True


def _reader(handle: Any, is_stream: bool, columns: list[int] | None) -> Any:  # noqa: FBT001
    options = pa.ipc.IpcReadOptions(included_fields=columns)
    opened = pa.ipc.open_stream if is_stream else pa.ipc.open_file
    return opened(handle, options=options)


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchStreamReader):
        yield from reader
        return
    for i in range(reader.num_record_batches):
        yield reader.get_batch(i)
