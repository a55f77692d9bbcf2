"""A dataset on the Hugging Face Hub: hf://datasets/ORG/NAME[@REVISION][/CONFIG].

The revision (a branch, a tag, a commit; default: main) is resolved once, and everything is read at
that commit, which is what the pinned uri names. What follows it is a configuration of the dataset's
card, a folder, or a path or glob of files. Public datasets and private ones (token from HF_TOKEN or
`hf auth login`) alike.

Files are fetched when they are read. Of large Parquet files the wanted columns alone travel, by
ranges; every other file goes whole into the Hub's usual cache, its hash compared with the Hub's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import SourceError
from dataprune.core.files import sha256_file
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources import csv as csv_files
from dataprune.sources import jsonl as jsonl_files
from dataprune.sources._assemble import FileFormat, open_splits
from dataprune.sources._files import DataFile
from dataprune.sources._hub import (
    RemoteFile,
    cached,
    fetch,
    is_offline,
    patiently,
    resolve,
    tree,
)
from dataprune.sources._hub_layout import (
    Address,
    format_in,
    name_them,
    parse_address,
    splits_of,
    try_converted,
)
from dataprune.sources._ranges import LARGE_BYTES, opened_by_ranges, wants_pieces
from dataprune.tables.manifest import FileEntry, SourceRef

__all__ = ["FORMAT", "open_hub", "parse_address"]

_BATCH_ROWS = 4096
_LOCAL_FORMATS = {"csv": csv_files.FILES, "jsonl": jsonl_files.FILES}


def open_hub(recipe: SourceRecipe, *, ref: SourceRef | None = None) -> Source:
    """Open a dataset at the commit that its revision leads to now.

    ref: what is known of it from before: footers of files that are still the same are not asked
        for, and offline nothing is, if what is wanted of it is in the cache.

    Raises:
        UsageError: not a legal uri.
        SourceError: no such configuration or split, or files of a format that is not read here.
        HubError: the dataset is not there, may not be read, or the Hub does not answer.
    """
    address = parse_address(recipe.uri)
    if ref is not None and is_offline():
        return _open_cached(recipe, address, ref)
    found = patiently(lambda: resolve(address.repo, address.revision))
    commit = found.commit
    pinned = replace(address, revision=commit)
    files = patiently(lambda: tree(address.repo, commit))
    splits = splits_of(recipe, address, found.card, sorted(files))
    known: dict[str, FileEntry] = {}
    if ref is not None and address.revision == commit:  # else it may be of another commit
        known = {e.path: e for e in (*ref.files, *(ref.test.files if ref.test else ()))}
    shelf = _Shelf(pinned, files, splits, known)
    asked = recipe.model_copy(update={"uri": pinned.uri, "format": None})
    source = open_splits(asked, *shelf.formatted())
    test = source.test and replace(source.test, format="hub")
    return replace(source, format="hub", license=found.license, private=found.private, test=test)


def _open_cached(recipe: SourceRecipe, address: Address, ref: SourceRef) -> Source:
    """A source as it is pinned, its files read from the cache; without its test split.

    Raises:
        HubError: none of its files is there.
    """
    known = {entry.path: entry for entry in ref.files}
    files = {e.path: RemoteFile(e.path, e.bytes, "", e.sha256) for e in ref.files}
    shelf = _Shelf(address, files, {ref.split: list(known)}, known)
    here = next((p for p in known if cached(address.repo, str(address.revision), p)), None)
    if here is not None and format_in(here) == "parquet":
        shelf.schemas[ref.split] = pq.read_schema(shelf._fetched(here))  # noqa: SLF001 - ours
    asked = recipe.model_copy(update={"format": None, "test_split": None})
    return replace(open_splits(asked, *shelf.formatted()), format="hub")


@dataclass(frozen=True)
class _Shelf:
    """The files of one commit, fetched when they are needed.

    splits: paths per split.
    known: files of which the rows are known; what the first of a split has, the others have too.
    schemas: of each split, once a file of it was looked into.
    """

    pinned: Address
    files: dict[str, RemoteFile]
    splits: dict[str, list[str]]
    known: dict[str, FileEntry]
    schemas: dict[str, pa.Schema] = field(default_factory=dict)

    def formatted(self) -> tuple[FileFormat, dict[str, list[DataFile]]]:
        """How the files are read, and the files by split."""
        first: dict[str | None, str] = {}
        for name in (name for names in self.splits.values() for name in names):
            first.setdefault(format_in(name), name)
        if None in first:
            raise SourceError(
                f"{self.pinned.uri} is of a format that is not read from the Hub: {first[None]}",
                hint=try_converted(self.pinned.repo),
            )
        if len(first) > 1:
            told = ", ".join(f"{form} ({name})" for form, name in first.items())
            raise SourceError(
                f"{self.pinned.uri} mixes formats: {told}",
                hint=name_them(self.pinned.repo),
            )
        local = _LOCAL_FORMATS.get(str(next(iter(first))))
        form = self._whole(local) if local else FileFormat("parquet", self._inspect, self._read)
        return form, {split: [self._file(n) for n in of] for split, of in self.splits.items()}

    def _file(self, name: str) -> DataFile:
        return DataFile(name, replace(self.pinned, inside=name).uri, (None, name))

    def _fetched(self, name: str) -> Path:
        at, file = self.pinned, self.files[name]
        assert at.revision is not None
        commit = at.revision
        return patiently(lambda: fetch(at.repo, commit, name, file.sha256, blob=file.blob))

    def _known(self, name: str) -> FileEntry | None:
        """What is known of a file: its path at a commit is proof, its hash another."""
        entry = self.known.get(name)
        return entry if entry and self.files[name].sha256 in {None, entry.sha256} else None

    def _whole(self, form: FileFormat) -> FileFormat:
        """A format of local files, over files that are fetched when they are read."""

        def inspect(file: DataFile, settled: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
            known = self._known(file.name)
            if known is not None and settled is not None:
                return settled, known
            return form.inspect(self._local(file.name), settled)

        def read(
            file: DataFile, schema: pa.Schema, names: list[str] | None
        ) -> Iterator[pa.RecordBatch]:
            return form.read(self._local(file.name), schema, names)

        return replace(form, inspect=inspect, read=read)

    def _local(self, name: str) -> DataFile:
        return DataFile(name, str(self._fetched(name)))

    def _inspect(self, file: DataFile, _: pa.Schema | None) -> tuple[pa.Schema, FileEntry]:
        known = self._known(file.name)
        split = next(split for split, names in self.splits.items() if file.name in names)
        if known is not None and split in self.schemas:
            return self.schemas[split], known
        remote = self.files[file.name]
        with file.reading("cannot be read as Parquet"), self._footer(remote) as found:
            schema, rows = found.schema_arrow, found.metadata.num_rows
        self.schemas[split] = schema
        sha256 = remote.sha256 or sha256_file(self._fetched(file.name))
        return schema, FileEntry(path=file.name, sha256=sha256, bytes=remote.size, rows=rows)

    def _read(
        self, file: DataFile, _: pa.Schema, names: list[str] | None
    ) -> Iterator[pa.RecordBatch]:
        with file.reading(), self._columns(self.files[file.name], names) as found:
            for group in range(found.num_row_groups):
                yield from found.iter_batches(
                    batch_size=_BATCH_ROWS, columns=names, row_groups=[group]
                )

    @contextlib.contextmanager
    def _footer(self, file: RemoteFile) -> Iterator[pq.ParquetFile]:
        """A file of which only the footer is read; where rows are known, few files are read."""
        if self._is_away(file, 0 if self.known else LARGE_BYTES):
            with self._by_ranges(file) as found:
                yield found
            return
        with pq.ParquetFile(self._fetched(file.path)) as found:
            yield found

    @contextlib.contextmanager
    def _columns(self, file: RemoteFile, names: list[str] | None) -> Iterator[pq.ParquetFile]:
        if names is not None and self._is_away(file, LARGE_BYTES):
            with self._by_ranges(file) as found:
                if wants_pieces(found, file, names):
                    yield found
                    return
        with pq.ParquetFile(self._fetched(file.path)) as found:
            yield found

    def _by_ranges(self, file: RemoteFile) -> contextlib.AbstractContextManager[pq.ParquetFile]:
        assert self.pinned.revision is not None
        return opened_by_ranges(self.pinned.repo, self.pinned.revision, file)

    def _is_away(self, file: RemoteFile, least_bytes: int) -> bool:
        """Whether a file is worth reading in pieces: kept by its hash, large, and not here yet."""
        assert self.pinned.revision is not None
        return (
            file.sha256 is not None
            and file.size >= least_bytes
            and cached(self.pinned.repo, self.pinned.revision, file.path) is None
        )


FORMAT = SourceFormat("hub", lambda uri: uri.startswith("hf://"), open_hub)
