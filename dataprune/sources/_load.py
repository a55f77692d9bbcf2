"""Read a source's examples: decode inputs, settle labels, hash rows, fingerprint the whole."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.errors import SourceError
from dataprune.core.extras import require
from dataprune.core.fingerprint import UInt64, content_hashes, source_fingerprint, text_hashes
from dataprune.sources import Source
from dataprune.tables.examples import examples_table
from dataprune.tables.manifest import HeldOutRef, SourceRef

_KEY_TYPES = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
_MODES = {"L": 1, "RGB": 3}


@dataclass(frozen=True)
class Loaded:
    """A source's examples in memory.

    ref: the source, pinned.
    examples: table of row, content_hash, key, label.
    inputs: images uint8 (n, height, width, channels), features (n, d) as stored; None for text.
    labels: int64 (n,), indices into ref.class_names.
    test: the held-out split, if there is one.
    """

    ref: SourceRef
    examples: pa.Table
    inputs: npt.NDArray[Any] | None
    labels: npt.NDArray[np.int64]
    test: Loaded | None


def load(source: Source) -> Loaded:
    """Read every example of a source, and of its test split.

    Raises:
        SourceError: undecodable, missing or ragged inputs, missing or unknown labels, repeated
            keys: each counted, and the first rows named.
    """
    train = _load_split(source, None, None)
    if source.test is None:
        return train
    shape = None if train.inputs is None else train.inputs.shape[1:]
    test = _load_split(source.test, train.ref.class_names, shape)
    held_out = HeldOutRef(
        split=test.ref.split,
        num_rows=test.ref.num_rows,
        fingerprint=test.ref.fingerprint,
        files=test.ref.files,
    )
    ref = train.ref.model_copy(update={"test": held_out})
    return Loaded(ref, train.examples, train.inputs, train.labels, test)


def _load_split(source: Source, known: list[str] | None, shape: tuple[int, ...] | None) -> Loaded:
    columns = source.columns
    assert columns.input is not None
    assert columns.label is not None
    names = [c for c in (columns.input, columns.label, columns.key) if c is not None]
    where = f"{source.uri} ({source.split})"
    raw: list[Any] = []
    parts: dict[str, list[Any]] = {name: [] for name in names}
    decoder = _Decoder(source.num_rows, shape, where) if source.kind == "image" else None
    for batch in source.batches(names):
        if decoder is not None:
            decoder.add(batch.column(columns.input))
        else:
            raw.append(batch.column(columns.input))
        for name in names[1:]:
            parts[name].append(batch.column(name))
    inputs, hashes = _inputs_and_hashes(source, decoder, raw, shape, where)
    label_column = pa.chunked_array(parts[columns.label])
    labels, class_names = _labels(label_column, source.class_names, known, where)
    keys = _keys(parts[columns.key], columns.key, where) if columns.key else None
    ref = SourceRef(
        uri=source.uri,
        format=source.format,
        split=source.split,
        columns=columns,
        kind=source.kind,
        class_names=class_names,
        num_rows=source.num_rows,
        fingerprint=source_fingerprint(hashes, labels, class_names),
        files=list(source.files),
    )
    return Loaded(ref, examples_table(hashes, labels, keys), inputs, labels, None)


def _inputs_and_hashes(
    source: Source,
    decoder: _Decoder | None,
    raw: list[Any],
    shape: tuple[int, ...] | None,
    where: str,
) -> tuple[npt.NDArray[Any] | None, UInt64]:
    if decoder is not None:
        images = decoder.images()
        return images, content_hashes(images)
    chunked = pa.chunked_array(raw)
    _refuse_rows(np.flatnonzero(chunked.is_null().to_numpy()), "have no input", where)
    if source.kind == "text":
        return None, text_hashes((s.as_py() for s in chunked), source.num_rows)
    features = _features(chunked, shape, where)
    return features, content_hashes(features)


def _features(
    column: pa.ChunkedArray, shape: tuple[int, ...] | None, where: str
) -> npt.NDArray[Any]:
    lengths = np.asarray(pc.list_value_length(column).to_numpy())
    want = shape[0] if shape else int(lengths[0])
    if want == 0:
        raise SourceError(f"the features of {where} are empty lists")
    _refuse_rows(np.flatnonzero(lengths != want), f"do not have {want} features", where)
    flat = pc.list_flatten(column)
    _refuse_rows(np.flatnonzero(flat.is_null().to_numpy()) // want, "have a null feature", where)
    values: npt.NDArray[Any] = flat.to_numpy().reshape(len(column), want)
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        _refuse_rows(bad, "have a NaN or infinite feature", where)
    return values


class _Decoder:
    """Decodes images into one uint8 array (n, height, width, channels), allocated once."""

    def __init__(self, num_rows: int, shape: tuple[int, ...] | None, where: str) -> None:
        self.pillow = require("PIL.Image", extra="probe", why="decoding images")
        self.num_rows, self.shape, self.where = num_rows, shape, where
        self.array: npt.NDArray[np.uint8] | None = None
        self.next_row = 0
        self.problems: dict[str, list[int]] = {}

    def add(self, column: pa.Array) -> None:
        data = column.field("bytes") if pa.types.is_struct(column.type) else column
        for item in data:
            self._one(item.as_py())
            self.next_row += 1

    def _one(self, data: bytes | None) -> None:
        if data is None:
            self._problem("have no image bytes")
            return
        try:
            image = self.pillow.open(io.BytesIO(data))
            if image.mode == "P" and "transparency" not in image.info:
                image = image.convert("RGB")
            pixels = np.asarray(image)
        except (OSError, ValueError, SyntaxError, self.pillow.DecompressionBombError):
            self._problem("hold bytes that are no readable image")
            return
        if image.mode not in _MODES:
            self._problem(f"are images of mode {image.mode}, and only L and RGB are read")
            return
        pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], _MODES[image.mode])
        if self.shape is None:
            self.shape = pixels.shape
        if self.array is None:
            self.array = np.zeros((self.num_rows, *self.shape), dtype=np.uint8)
        if pixels.shape != self.shape:
            self._problem(
                f"have another size than {_size(self.shape)}, the first is {_size(pixels.shape)}"
            )
            return
        self.array[self.next_row] = pixels

    def _problem(self, what: str) -> None:
        self.problems.setdefault(what, []).append(self.next_row)

    def images(self) -> npt.NDArray[np.uint8]:
        for what, rows in self.problems.items():
            _refuse_rows(np.asarray(rows), what, self.where)
        assert self.array is not None
        return self.array


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} with {shape[2]} channel{'s' if shape[2] > 1 else ''}"


def _labels(
    column: pa.ChunkedArray, declared: list[str] | None, known: list[str] | None, where: str
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Class indices (n,) and class names: by index where the schema declares names, else by value.

    known: the training split's names, which a test split must share.
    """
    _refuse_rows(np.flatnonzero(column.is_null().to_numpy()), "have no label", where)
    is_number = pa.types.is_integer(column.type)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not (is_number or is_text or pa.types.is_boolean(column.type)):
        raise SourceError(
            f"labels of {where} are {column.type}",
            hint="classification wants integers, strings or booleans",
        )
    if declared is not None and is_number:
        if known is not None and known != declared:
            raise SourceError(f"{where} declares other class names than the training split")
        labels: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
        bad = np.flatnonzero((labels < 0) | (labels >= len(declared)))
        _refuse_rows(bad, f"have a label outside 0..{len(declared) - 1}", where)
        return labels, declared
    names = known or [str(v) for v in sorted(column.unique().to_pylist())]
    index = {name: i for i, name in enumerate(names)}
    values = [str(v) for v in column.to_pylist()]
    unknown = np.asarray([i for i, v in enumerate(values) if v not in index], dtype=np.int64)
    _refuse_rows(unknown, "have a label that the training split lacks", where)
    return np.asarray([index[v] for v in values], dtype=np.int64), names


def _keys(parts: Iterable[Any], name: str, where: str) -> pa.Array:
    raw = pa.chunked_array(list(parts))
    if not any(check(raw.type) for check in _KEY_TYPES):
        raise SourceError(
            f"key column {name} of {where} is {raw.type}", hint="a key is a string or an integer"
        )
    column = raw.cast(pa.string())
    _refuse_rows(np.flatnonzero(column.is_null().to_numpy()), f"have no {name}", where)
    counts = pc.value_counts(column)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    rows = np.flatnonzero(pc.is_in(column, value_set=repeated).to_numpy())
    _refuse_rows(rows, f"have a {name} that another row has too", where)
    return column.combine_chunks()


def _refuse_rows(rows: npt.NDArray[Any], what: str, where: str) -> None:
    if len(rows):
        shown = ", ".join(str(int(row)) for row in rows[:5])
        more = ", ..." if len(rows) > 5 else ""
        raise SourceError(
            f"{len(rows)} rows of {where} {what}: {shown}{more}",
            hint="mend or remove these rows; none is skipped silently",
        )
