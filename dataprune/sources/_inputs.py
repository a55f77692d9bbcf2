"""Inputs of a source: decoded, checked and hashed batch by batch, into memory or onto disk."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprune.core.disk_array import Array, DiskArray
from dataprune.core.extras import require
from dataprune.core.fingerprint import UInt64, row_hash, text_hashes
from dataprune.core.recipe import Images
from dataprune.sources._rows import refuse_problems

_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_MODES = {channels: mode for mode, channels in _CHANNELS.items()}


class InputReader(Protocol):
    """Takes a source's batches in order, and gives its inputs and content hashes at the end."""

    def add(self, columns: list[pa.Array]) -> None:
        """One batch: the input's columns."""

    def finish(self) -> tuple[Array | pa.ChunkedArray | None, UInt64]:
        """What was read.

        Raises:
            SourceError: rows that do not fit, each kind of problem counted and named.
        """


class _Sink:
    """Rows of one shape, into one array allocated once, or appended to a file."""

    def __init__(self, num_rows: int, path: Path | None) -> None:
        self.num_rows, self.path = num_rows, path
        self.array: npt.NDArray[Any] | None = None
        self.file: BinaryIO | None = None
        self.kind: tuple[str, tuple[int, ...]] | None = None

    def put(self, row: int, values: npt.NDArray[Any]) -> None:
        """Rows (k, ...) from `row` on; they come in order."""
        if self.kind is None:
            little = values.dtype.newbyteorder("<")
            self.kind = (little.str, values.shape[1:])
            if self.path is None:
                self.array = np.zeros((self.num_rows, *values.shape[1:]), values.dtype)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.file = self.path.open("wb")
        if self.array is not None:
            self.array[row : row + len(values)] = values
        else:
            assert self.file is not None
            self.file.write(np.ascontiguousarray(values, self.kind[0]).tobytes())

    def finish(self) -> Array | None:
        if self.kind is None:
            return None
        if self.file is None:
            assert self.array is not None
            return self.array
        assert self.path is not None
        self.file.close()
        return DiskArray(self.path, self.kind[0], (self.num_rows, *self.kind[1]))

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


@dataclass(frozen=True)
class Reading:
    """What is read of a split, and where it goes.

    where: the split, for messages. spool: a file to write inputs to, instead of to memory.
    hashes_only: the rows need only be told apart, so no input is kept and sizes may differ.
    """

    num_rows: int
    where: str
    spool: Path | None = None
    hashes_only: bool = False


class _Progress:
    """How far a reader is, what did not fit, and where rows go."""

    def __init__(self, reading: Reading) -> None:
        self.where, self.hashes_only = reading.where, reading.hashes_only
        self.sink = _Sink(reading.num_rows, reading.spool)
        num_rows = reading.num_rows
        self.hashes = np.empty(num_rows, dtype=np.uint64)
        self.row = 0
        self.problems: dict[str, list[int]] = {}
        self.names: dict[int, str] = {}

    def problem(self, what: str, *rows: int) -> None:
        self.problems.setdefault(what, []).extend(rows)

    def refuse(self) -> None:
        try:
            refuse_problems(self.problems, self.where, self.names)
        finally:
            self.sink.close()


def fitted(image: Any, policy: Images) -> Any:
    """A Pillow image converted and resized as a policy says."""
    if policy.channels is not None:
        image = image.convert(_MODES[policy.channels])
    if policy.height_width is None:
        return image
    height, width = policy.height_width
    if image.size == (width, height):
        return image
    ops = require("PIL.ImageOps", extra="probe", why="resizing images")
    smooth = require("PIL.Image", extra="probe", why="resizing images").Resampling.BILINEAR
    if policy.fit == "crop":
        return ops.fit(image, (width, height), smooth)
    if policy.fit == "pad":
        return ops.pad(image, (width, height), smooth)
    return image.resize((width, height), smooth)


class ImageReader:
    """Encoded images -> uint8 (n, height, width, channels).

    The content hash is of the pixels as stored, before any conversion or resizing.
    shape: (height, width, channels) that a training split has.
    """

    def __init__(self, reading: Reading, policy: Images, shape: tuple[int, ...] | None) -> None:
        self.at = _Progress(reading)
        self.pillow = require("PIL.Image", extra="probe", why="decoding images")
        self.policy, self.shape = policy, shape
        self.odd: str | None = None

    def add(self, columns: list[pa.Array]) -> None:
        """One batch of structs with `bytes`, or of plain binary."""
        (column,) = columns
        is_struct = pa.types.is_struct(column.type)
        data = column.field("bytes") if is_struct else column
        paths = is_struct and column.type.get_field_index("path") >= 0
        for i, item in enumerate(data):
            if not self._one(item.as_py()) and paths and (path := column[i]["path"].as_py()):
                self.at.names[self.at.row] = path
            self.at.row += 1

    def finish(self) -> tuple[Array | None, UInt64]:
        """uint8 (n, height, width, channels), and hashes."""
        self.at.refuse()
        return self.at.sink.finish(), self.at.hashes

    def _one(self, data: bytes | None) -> bool:
        """Take one image; False if it cannot be read like the others."""
        if data is None:
            self.at.problem("have no image bytes", self.at.row)
            return False
        try:
            image = self.pillow.open(io.BytesIO(data))
            if image.mode in {"P", "1"}:
                see_through = "transparency" in image.info
                wanted = "L" if image.mode == "1" else "RGBA" if see_through else "RGB"
                image = image.convert(wanted)
            image.load()
        except (OSError, ValueError, SyntaxError, self.pillow.DecompressionBombError):
            self.at.problem("hold bytes that are no readable image", self.at.row)
            return False
        if image.mode not in _CHANNELS:
            what = f"are images of mode {image.mode}, and only {', '.join(_CHANNELS)} are read"
            self.at.problem(what, self.at.row)
            return False
        self.at.hashes[self.at.row] = row_hash(_pixels(image))
        if self.at.hashes_only:
            return True
        pixels = _pixels(fitted(image, self.policy))
        self.shape = self.shape or pixels.shape
        if pixels.shape != self.shape:
            self.odd = self.odd or _size(pixels.shape)
            self.at.problem(
                f"are not {_size(self.shape)} like the rest (one is {self.odd}): "
                "set source.image.size and source.image.channels, or mend the images",
                self.at.row,
            )
            return False
        self.at.sink.put(self.at.row, pixels[None])
        return True


def _pixels(image: Any) -> npt.NDArray[np.uint8]:
    """uint8 (height, width, channels)."""
    return np.asarray(image).reshape(image.size[1], image.size[0], _CHANNELS[image.mode])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} with {shape[2]} channel{'s' if shape[2] > 1 else ''}"


class FeatureReader:
    """Lists of numbers, or several numeric columns -> (n, d), the dtype as stored.

    width: the number of features that a training split has.
    """

    def __init__(self, reading: Reading, width: int | None) -> None:
        self.at = _Progress(reading)
        self.width = width

    def add(self, columns: list[pa.Array]) -> None:
        """One batch: a column of lists, or scalar columns."""
        missing = np.zeros(len(columns[0]), dtype=np.bool_)
        for column in columns:
            missing |= column.is_null().to_numpy(zero_copy_only=False)
        values = None
        if missing.any():
            one = len(columns) == 1
            self._bad(missing, "have no input" if one else "have a null feature")
        elif pa.types.is_nested(columns[0].type):
            values = self._lists(columns[0])
        else:
            values = np.stack([column.to_numpy() for column in columns], axis=1)
        if values is not None:
            finite = np.isfinite(values).all(axis=1) if values.dtype.kind == "f" else None
            if finite is not None and not finite.all():
                self._bad(~finite, "have a NaN or infinite feature")
            here = slice(self.at.row, self.at.row + len(values))
            self.at.hashes[here] = [row_hash(row) for row in values]
            if not self.at.hashes_only:
                self.at.sink.put(self.at.row, values)
        self.at.row += len(columns[0])

    def finish(self) -> tuple[Array | None, UInt64]:
        """(n, d), and hashes."""
        self.at.refuse()
        return self.at.sink.finish(), self.at.hashes

    def _lists(self, column: pa.Array) -> npt.NDArray[Any] | None:
        if self.width is None and len(first := column[0]):
            self.width = len(first)
        return stacked(column, self.width, self._bad)

    def _bad(self, which: npt.NDArray[np.bool_], what: str) -> None:
        self.at.problem(what, *(self.at.row + np.flatnonzero(which)).tolist())


def stacked(
    column: pa.Array, width: int | None, bad: Callable[[npt.NDArray[np.bool_], str], None]
) -> npt.NDArray[Any] | None:
    """A batch of lists of one length as (k, d), the dtype as stored; None if some are not.

    width: the length; by default the first one's. bad: takes the rows that do not fit, bool (k,),
    and what is wrong with them.
    """
    lengths = np.asarray(pc.list_value_length(column).to_numpy(zero_copy_only=False))
    if (lengths == 0).any():
        bad(lengths == 0, "have an empty list")
        return None
    width = int(lengths[0]) if width is None else width
    if (lengths != width).any():
        bad(lengths != width, f"do not have {width} features")
        return None
    flat = pc.list_flatten(column)
    nulls = flat.is_null().to_numpy(zero_copy_only=False).reshape(-1, width).any(axis=1)
    if nulls.any():
        bad(nulls, "have a null feature")
        return None
    values: npt.NDArray[Any] = flat.to_numpy().reshape(len(column), width)
    return values


class TextReader:
    """Texts, as they are."""

    def __init__(self, reading: Reading) -> None:
        self.at = _Progress(reading)
        self.parts: list[pa.Array] = []

    def add(self, columns: list[pa.Array]) -> None:
        """One batch of strings."""
        (column,) = columns
        missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        if len(missing):
            self.at.problem("have no input", *(self.at.row + missing).tolist())
        else:
            here = slice(self.at.row, self.at.row + len(column))
            self.at.hashes[here] = text_hashes((s.as_py() for s in column), len(column))
        self.parts.append(column.cast(pa.large_string()))
        self.at.row += len(column)

    def finish(self) -> tuple[pa.ChunkedArray, UInt64]:
        """The texts, and hashes."""
        self.at.refuse()
        return pa.chunked_array(self.parts, pa.large_string()), self.at.hashes
