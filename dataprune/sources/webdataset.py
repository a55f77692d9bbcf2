"""WebDataset shards: tar files whose members are grouped into samples; a file, a glob, a folder.

A sample is members in a row that have one key: the name up to the first dot of its last part. What
follows the dot says what a member is:

- png, jpg, jpeg, webp: the column `image`
- cls: an integer in text, the column `cls`
- txt: UTF-8 text, the column `txt`
- json: an object; each of its top-level fields that is text, a number or a boolean is a column, and
  lists and objects are left out
- anything else: its bytes, in a column of that name

and `__key__` is the key. The first sample settles columns and types; one that differs is an error
that names tar and member. Hidden members (a dot first) are ignored. Splits are found as for
Parquet; only tars that are not compressed are read, in one pass.
"""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, open_files
from dataprune.sources._files import DataFile, HashedFile, one_line
from dataprune.sources._formats import format_of
from dataprune.sources._images import in_batches
from dataprune.sources._samples import Sample, row_of, schema_of, to_batch
from dataprune.tables.manifest import FileEntry

_BLOCK_BYTES = tarfile.BLOCKSIZE


def _open(recipe: SourceRecipe) -> Source:
    return open_files(recipe, FileFormat("webdataset", _inspect, _read, infers=True))


def _inspect(file: DataFile, settled: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
    """A tar's columns and its entry; reads it once, from end to end."""
    schema, num_rows = settled, 0
    with file.reading(), file.open() as raw:
        hashed = HashedFile(raw)
        for sample in _samples(file, hashed):
            if schema is None:
                schema = schema_of(sample)
            row_of(sample, schema)
            num_rows += 1
        hashed.drain()
    entry = FileEntry(path=file.name, sha256=hashed.sha256, bytes=hashed.num_bytes, rows=num_rows)
    return schema or pa.schema([]), entry


def _read(file: DataFile, schema: pa.Schema, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    with file.reading(), file.open() as raw:
        sized = (
            (sum(map(len, sample.members.values())), row_of(sample, schema))
            for sample in _samples(file, HashedFile(raw))
        )
        for rows in in_batches(sized):
            batch = to_batch(rows, schema)
            yield batch if names is None else batch.select(names)


def _samples(file: DataFile, hashed: HashedFile) -> Iterator[Sample]:
    """A tar's samples, in order; at its end, that it has ended as a tar does."""
    seen: set[str] = set()
    sample: Sample | None = None
    with _tar(file, hashed) as tar:
        for key, suffix, data in _members(file, tar):
            if sample is None or sample.key != key:
                if sample is not None:
                    yield sample
                if key in seen:
                    raise SourceError(
                        f"{file.where} has members of {key} in two places",
                        hint="a sample's members lie one after the other",
                    )
                seen.add(key)
                sample = Sample(file.where, key, {})
            if suffix in sample.members:
                raise SourceError(f"{file.where} has two members {key}.{suffix}")
            sample.members[suffix] = data
        hashed.drain()
        _check_end(file, tar.offset, hashed)
    if sample is not None:
        yield sample


@contextlib.contextmanager
def _tar(file: DataFile, hashed: HashedFile) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=hashed, mode="r|") as tar:
            yield tar
    except tarfile.TarError as exc:
        raise SourceError(
            f"{file.where} cannot be read as a tar: {one_line(exc)}",
            hint="it may have been cut short, or be compressed: write or fetch it again",
        ) from exc


def _members(file: DataFile, tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes]]:
    """Key, suffix and bytes of every member that is data."""
    for member in tar:
        folder, _, base = member.name.rpartition("/")
        if member.isdir() or base.startswith("."):
            continue
        stem, dot, suffix = base.partition(".")
        if not dot:
            raise SourceError(
                f"member {member.name} of {file.where} has no suffix that says what it is"
            )
        opened = tar.extractfile(member) if member.isreg() else None
        if opened is None:
            raise SourceError(f"member {member.name} of {file.where} is a link, not a file")
        yield f"{folder}/{stem}" if folder else stem, suffix.lower(), opened.read()


def _check_end(file: DataFile, offset: int, hashed: HashedFile) -> None:
    """Refuse a tar that is cut short or goes on: the standard library takes both for an end.

    offset: where the archive ended, and a block of zeros has to lie.
    """
    if hashed.end > offset:
        raise SourceError(
            f"{file.where} is damaged or has another tar after it, from byte {offset} on",
            hint="fetch it again, or give every tar a file of its own",
        )
    if hashed.num_bytes < offset + _BLOCK_BYTES:
        raise SourceError(
            f"{file.where} ends without the end mark of a tar: it was cut short",
            hint="write or fetch it again",
        )


FORMAT = SourceFormat("webdataset", lambda uri: format_of(uri) == "webdataset", _open)
