"""Samples of a WebDataset as rows: the first one settles the columns, and all others keep to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.sources._images import IMAGE, IMAGE_FEATURE, features_metadata, is_image
from dataprune.sources._values import settle, to_array

_IMAGES = ("png", "jpg", "jpeg", "webp")
_KEY = "__key__"
_NOT_WHOLE = "every sample has the members and the fields of the first one"


@dataclass(frozen=True)
class Sample:
    """A sample's members by suffix, as bytes, in their order in the tar.

    where: the tar's path or URL.
    """

    where: str
    key: str
    members: dict[str, bytes]

    def at(self, suffix: str) -> str:
        """How messages call a member."""
        return f"member {self.key}.{suffix} of {self.where}"


def schema_of(sample: Sample) -> pa.Schema:
    """The columns that a source's first sample settles.

    Raises:
        SourceError: two members or fields give one column, or a member cannot be read.
    """
    fields = [(_KEY, pa.string())]
    for name, value in _cells(sample).items():
        kind = IMAGE if isinstance(value, dict) else pa.binary()
        if not isinstance(value, dict | bytes):
            kind = settle([value])
        fields.append((name, kind))
    has_image = any(kind == IMAGE for _, kind in fields)
    metadata = features_metadata({"image": IMAGE_FEATURE}) if has_image else None
    return pa.schema(fields, metadata=metadata)


def row_of(sample: Sample, schema: pa.Schema) -> dict[str, Any]:
    """A sample's values by column.

    Raises:
        SourceError: it lacks a column, has one more, or a value does not fit; names the member.
    """
    row = {_KEY: sample.key, **_cells(sample)}
    if row.keys() != set(schema.names):
        missing = [name for name in schema.names if name not in row]
        new = [name for name in row if name not in schema.names]
        told = f"has no {missing[0]}" if missing else f"has {new[0]}, which the first one lacks"
        raise SourceError(f"sample {sample.key} of {sample.where} {told}", hint=_NOT_WHOLE)
    for field in schema:
        value = row[field.name]
        if not isinstance(value, dict | bytes) and to_array([value], field.type) is None:
            suffix = field.name if field.name in sample.members else "json"
            raise SourceError(
                f"{sample.at(suffix)} has {json.dumps(value)[:80]} in {field.name}, which is "
                f"{field.type}",
                hint="the first sample settles a field's type: write the field alike",
            )
    return row


def to_batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as a record batch."""
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cells(sample: Sample) -> dict[str, Any]:
    """Columns and their values; an image is a dict of its struct, other members are bytes."""
    cells: dict[str, Any] = {}
    for suffix, data in sample.members.items():
        for name, value in _read(sample, suffix, data).items():
            if name in cells or name == _KEY:
                raise SourceError(f"sample {sample.key} of {sample.where} has two values of {name}")
            cells[name] = value
    return cells


def _read(sample: Sample, suffix: str, data: bytes) -> dict[str, Any]:
    if suffix in _IMAGES:
        if not is_image(data):
            raise SourceError(f"{sample.at(suffix)} is no PNG, JPEG or WebP")
        return {"image": {"bytes": data, "path": f"{sample.key}.{suffix}"}}
    if suffix not in {"cls", "txt", "json"}:
        return {suffix: data}
    try:
        text = data.decode()
        if suffix == "txt":
            return {"txt": text}
        if suffix == "cls":
            return {"cls": int(text.replace("_", "no number"))}  # int() takes 1_0 for 10
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        word = {"cls": "an integer", "txt": "UTF-8 text", "json": "valid JSON"}[suffix]
        raise SourceError(f"{sample.at(suffix)} is not {word}") from exc
    if not isinstance(value, dict):
        raise SourceError(f"{sample.at(suffix)} holds {type(value).__name__}, not an object")
    return {name: item for name, item in value.items() if not isinstance(item, dict | list)}
