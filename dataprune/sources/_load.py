"""Read a source's examples: decode inputs, settle labels, hash rows, fingerprint the whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.disk_array import Array, DiskArray
from dataprune.core.errors import SourceError
from dataprune.core.fingerprint import UInt64, source_fingerprint
from dataprune.core.recipe import Images
from dataprune.core.recipe_scores import TaskName
from dataprune.sources import Source
from dataprune.sources._columns import plain
from dataprune.sources._inputs import FeatureReader, ImageReader, InputReader, Reading, TextReader
from dataprune.sources._labels import Labels, no_labels, read_labels
from dataprune.sources._rows import refuse_rows
from dataprune.tables.examples import GROUP, examples_table
from dataprune.tables.manifest import HeldOutRef, SourceRef

_SHOWN = 20
_KEY_TYPES = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)


@dataclass(frozen=True)
class Loaded:
    """A source's examples.

    ref: the source, pinned.
    examples: table of row, content_hash, key, label (and group, once groups were sought).
    inputs: images uint8 (n, height, width, channels) or features (n, d), in memory or on disk;
        None for text.
    texts: strings (n,); None for the rest.
    labels: class indices int64 (n,), multi-hot uint8 (n, classes), numbers float64 (n, outputs),
        or (n, 0) where there are none.
    groups: the user's own group column, as found; None if none was named.
    embedding: vectors of the rows that the source itself has, float16 (n, D), by `read_embedding`;
        None if none were named, and where no scores are made.
    test: the held-out split, if there is one.
    """

    ref: SourceRef
    examples: pa.Table
    inputs: Array | None
    texts: pa.ChunkedArray | None
    labels: Labels
    groups: pa.ChunkedArray | None
    test: Loaded | None
    embedding: npt.NDArray[np.float16] | None = None

    @property
    def hashes(self) -> UInt64:
        """Content hashes, uint64 (n,)."""
        hashes: UInt64 = self.examples.column("content_hash").to_numpy()
        return hashes

    def with_groups(self, groups: npt.NDArray[np.int64]) -> Loaded:
        """The same examples with their groups of near-duplicates as a column, int64 (n,)."""
        table = self.examples
        if GROUP.name in table.schema.names:
            table = table.drop_columns([GROUP.name])
        return replace(self, examples=table.append_column(GROUP, pa.array(groups)))

    def discard(self) -> None:
        """Delete what was spooled to disk."""
        if isinstance(self.inputs, DiskArray):
            shutil.rmtree(self.inputs.path.parent, ignore_errors=True)


def load(
    source: Source,
    *,
    task: TaskName | None = "classification",
    images: Images | None = None,
    spool: Path | None = None,
) -> Loaded:
    """Read every example of a source, and of its test split.

    task: what the labels are; None reads none.
    images: how images of several sizes become one size.
    spool: a new folder; inputs are decoded into files there instead of into memory, until
        `discard`.

    Raises:
        SourceError: undecodable, missing or ragged inputs, missing or unknown labels, repeated
            keys: each counted, and the first rows named.
    """
    job = _Job(task, images or Images(), spool.resolve() if spool else None)
    try:
        train = _load_split(source, job, None)
        test = None if source.test is None else _load_split(source.test, job, train)
    except BaseException:
        if spool is not None:
            shutil.rmtree(spool, ignore_errors=True)
        raise
    if test is None:
        return train
    held_out = HeldOutRef(
        split=test.ref.split,
        num_rows=test.ref.num_rows,
        fingerprint=test.ref.fingerprint,
        files=test.ref.files,
    )
    return replace(train, ref=train.ref.model_copy(update={"test": held_out}), test=test)


def load_rows(source: Source, *, task: TaskName | None) -> Loaded:
    """What rows a source has: examples and labels without inputs, of the split alone.

    Raises:
        SourceError: as `load`.
    """
    return _load_split(source, _Job(task, Images(), None, hashes_only=True), None)


@dataclass(frozen=True)
class _Job:
    task: TaskName | None
    images: Images
    spool: Path | None
    hashes_only: bool = False


def _load_split(source: Source, job: _Job, train: Loaded | None) -> Loaded:
    """One split; `train` is the training split, whose shapes and classes a test split shares."""
    columns = source.columns
    where = f"{source.uri} ({source.split})"
    if job.task is None:
        columns = columns.model_copy(update={"label": None})
    elif columns.label is None:
        raise SourceError(
            f"no label column found in {source.uri}",
            hint="name it with --label (source.columns.label), or go without (--task none); "
            f"columns: {', '.join(source.schema.names)}",
        )
    reader = _reader(source, job, train, where)
    parts: dict[str, list[pa.Array]] = {name: [] for name in columns.all}
    for batch in source.batches(columns.all):
        if len(batch) == 0:
            continue
        reader.add([plain(batch.column(name)) for name in columns.inputs])
        for name in {columns.label, columns.key, columns.group} - {None}:
            parts[str(name)].append(plain(batch.column(name)))
    inputs, hashes = reader.finish()
    labels, class_names = no_labels(source.num_rows), list[str]()
    if job.task is not None and columns.label is not None:
        column, known = (
            pa.chunked_array(parts[columns.label]),
            train.ref.class_names if train else None,
        )
        outputs = train.labels.shape[1] if train and job.task == "regression" else None
        labels, class_names = read_labels(
            column, job.task, source.class_names, known, where, outputs=outputs
        )
    keys = _keys(parts[columns.key], columns.key, where) if columns.key else None
    groups = pa.chunked_array(parts[columns.group]) if columns.group else None
    ref = SourceRef(
        uri=source.uri,
        format=source.format,
        split=source.split,
        columns=columns,
        kind=source.kind,
        task=job.task,
        class_names=class_names,
        num_rows=source.num_rows,
        fingerprint=source_fingerprint(hashes, labels, class_names),
        files=list(source.files),
        license=source.license,
        private=source.private,
    )
    text = isinstance(inputs, pa.ChunkedArray)
    return Loaded(
        ref=ref,
        examples=examples_table(hashes, labels, keys),
        inputs=None if text else inputs,
        texts=inputs if text else None,
        labels=labels,
        groups=groups,
        test=None,
    )


def _reader(source: Source, job: _Job, train: Loaded | None, where: str) -> InputReader:
    shape = None if train is None or train.inputs is None else train.inputs.shape[1:]
    name = "train.bin" if train is None else "test.bin"
    spool = job.spool / name if job.spool else None
    reading = Reading(source.num_rows, where, spool, job.hashes_only)
    if source.kind == "text":
        return TextReader(reading)
    if source.kind == "image":
        return ImageReader(reading, job.images, shape)
    if job.images != Images():
        raise SourceError(
            f"source.image has no effect: the input of {where} is no image", hint="leave it out"
        )
    return FeatureReader(reading, shape[0] if shape else None)


def _keys(parts: Iterable[Any], name: str, where: str) -> pa.Array:
    raw = pa.chunked_array(list(parts))
    if not any(check(raw.type) for check in _KEY_TYPES):
        raise SourceError(
            f"key column {name} of {where} is {raw.type}", hint="a key is a string or an integer"
        )
    column = raw.cast(pa.string())
    refuse_rows(np.flatnonzero(column.is_null().to_numpy()), f"have no {name}", where)
    counts = pc.value_counts(column)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    rows = np.flatnonzero(pc.is_in(column, value_set=repeated).to_numpy())
    refuse_rows(rows, f"have a {name} that another row has too", where)
    return column.combine_chunks()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def describe(loaded: Loaded, names: Sequence[str] = ()) -> str:
    """One line: what was found, and which columns play which part.

    names: every column there is.
    """
    ref = loaded.ref
    alone = loaded.inputs is not None and len(ref.columns.inputs) == 1
    shape = (
        f" {'x'.join(map(str, loaded.inputs.shape[1:]))}"
        if alone and loaded.inputs is not None
        else ""
    )
    test = (
        f", {len(loaded.test.labels)} held out in {ref.test.split}"
        if loaded.test and ref.test
        else ""
    )
    key = f", key column {ref.columns.key}" if ref.columns.key else ""
    key += f", embedding column {ref.columns.embedding}" if ref.columns.embedding else ""
    inputs = ref.columns.inputs
    shown, unused = (
        _listed(inputs),
        [n for n in names if n not in {*ref.columns.all, ref.columns.embedding}],
    )
    rest = f"; not used: {_listed(unused)}" if unused else ""
    label = f"label column {ref.columns.label}" if ref.columns.label else "no labels"
    classes = f" with {len(ref.class_names)} classes" if ref.class_names else ""
    return (
        f"source {ref.uri}: {ref.num_rows} rows in {ref.split}{test}; {ref.kind} column"
        f"{'s' if len(inputs) > 1 else ''} {shown}{shape}, {label}{classes}{key}{rest}"
    )
