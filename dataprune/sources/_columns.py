"""Which columns play which part: read from the schema, or named, or an error that lists them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from dataprune.core.errors import SourceError, nearest
from dataprune.core.recipe import Columns
from dataprune.sources import Kind
from dataprune.tables.flags import SUGGESTED

_LABEL_NAMES = ("label", "labels", "target", "class", "cls", "y")
_INPUT_NAMES = ("image", "img", "text", "txt", "sentence", "features", "x", "input")


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Hugging Face features from the schema's `huggingface` metadata; {} without it.

    Raises:
        SourceError: the metadata is there and damaged.
    """
    raw = (schema.metadata or {}).get(b"huggingface")
    if not raw:
        return {}
    try:
        features: dict[str, Any] = json.loads(raw).get("info", {}).get("features", {})
    except (ValueError, AttributeError) as exc:
        raise SourceError(
            "the schema's huggingface metadata is damaged: it is not the JSON that datasets writes",
            hint="write the file again, with its features or without that metadata key",
        ) from exc
    return features


def resolve_columns(schema: pa.Schema, asked: Columns, *, uri: str) -> tuple[Columns, Kind]:
    """Settle which columns play which part, and the kind of input.

    The label stays None where none is named and none is found: tasks that need it refuse then.

    Raises:
        SourceError: a named column is missing or of the wrong type, or no input can be inferred.
    """
    for name in asked.all:
        if name not in schema.names:
            raise SourceError(
                f"source {uri} has no column {name}", hint=nearest(name, schema.names)
            )
    if asked.label is not None and asked.label in asked.inputs:
        raise SourceError(f"column {asked.label} of {uri} cannot be both input and label")
    label = asked.label or _infer_label(schema, asked)
    others = {label, asked.key, asked.group, asked.embedding}
    inputs = asked.inputs or _infer_input(schema, others, uri)
    kind = _kind_of(schema, inputs, uri)
    settled: str | tuple[str, ...] = inputs[0] if len(inputs) == 1 else inputs
    return asked.model_copy(update={"input": settled, "label": label}), kind


def class_names_of(schema: pa.Schema, label: str | None) -> list[str] | None:
    """Class names of a ClassLabel column, or of a list of them; None if the schema names none."""
    feature = features_of(schema).get(label) if label is not None else None
    if isinstance(feature, list) and len(feature) == 1:  # how older datasets write a list
        feature = feature[0]
    if isinstance(feature, dict) and feature.get("_type") in {"Sequence", "List", "LargeList"}:
        feature = feature.get("feature")
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        return [str(name) for name in feature["names"]]
    return None


def _kind_of(schema: pa.Schema, inputs: tuple[str, ...], uri: str) -> Kind:
    if len(inputs) == 1:
        column = schema.field(inputs[0]).type
        kind = _kind(column) or ("features" if _is_number(column) else None)
        if kind is not None:
            return kind
        raise SourceError(
            f"column {inputs[0]} of {uri} is {column}: no image, text or numbers",
            hint="name another one as source.columns.input",
        )
    for name in inputs:
        if not _is_number(schema.field(name).type):
            raise SourceError(
                f"column {name} of {uri} is {schema.field(name).type}, and an input of several "
                "columns takes numbers only",
                hint="leave it out of source.columns.input",
            )
    return "features"


def _infer_label(schema: pa.Schema, asked: Columns) -> str | None:
    taken = {*asked.inputs, asked.key, asked.group, asked.embedding}
    free: list[str] = [n for n in schema.names if n not in {*taken, SUGGESTED}]
    class_labels = [n for n in free if class_names_of(schema, n) is not None]
    named = [n for n in _LABEL_NAMES if n in free]
    if len(class_labels) == 1:
        return class_labels[0]
    for candidates in ([n for n in named if n in class_labels], named):
        if candidates:
            return candidates[0]
    return None


def _infer_input(schema: pa.Schema, taken: set[str | None], uri: str) -> tuple[str, ...]:
    kinds: dict[str, Kind | None] = {
        n: _kind(schema.field(n).type) for n in schema.names if n not in {*taken, SUGGESTED}
    }
    for kind in ("image", "features", "text"):
        candidates = [n for n, k in kinds.items() if k == kind]
        if len(candidates) > 1:
            candidates = [n for n in _INPUT_NAMES if n in candidates][:1] or candidates
        if len(candidates) == 1:
            _refuse_doubt(kind, candidates[0], kinds, schema, uri)
            return (candidates[0],)
        if candidates:
            raise SourceError(
                f"{uri} has several {kind} columns: {', '.join(candidates)}",
                hint="name one as source.columns.input",
            )
    numbers = tuple(n for n in kinds if _is_number(schema.field(n).type))
    if numbers:
        return numbers
    raise SourceError(
        f"no image, text or numeric column found in {uri}",
        hint=f"name it as source.columns.input; columns: {', '.join(schema.names)}",
    )


def _refuse_doubt(
    kind: Kind, name: str, columns: Iterable[str], schema: pa.Schema, uri: str
) -> None:
    """A text column that is not called like one, beside numbers, may be an id or hold a typo.

    Raises:
        SourceError: the text column and the numeric ones.
    """
    numbers = [n for n in columns if _is_number(schema.field(n).type)]
    if kind == "text" and name not in _INPUT_NAMES and numbers:
        shown = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
        raise SourceError(
            f"{uri} has a text column {name} and numeric columns {shown}: either could be input",
            hint="name it with --input (source.columns.input); if column "
            f"{name} should be numbers, a value in it is none",
        )


def plain(column: pa.Array) -> pa.Array:
    """A dictionary-encoded column (a pandas categorical) as the values it stands for."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _is_number(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type))


def _kind(arrow_type: pa.DataType) -> Kind | None:
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if pa.types.is_struct(arrow_type):
        names = {arrow_type.field(i).name for i in range(arrow_type.num_fields)}
        return "image" if "bytes" in names else None
    if pa.types.is_binary(arrow_type) or pa.types.is_large_binary(arrow_type):
        return "image"
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        return "text"
    return "features" if is_number_list(arrow_type) else None


def is_number_list(arrow_type: pa.DataType) -> bool:
    """Whether a column holds a list of numbers for each row."""
    is_list = (
        pa.types.is_list(arrow_type)
        or pa.types.is_large_list(arrow_type)
        or pa.types.is_fixed_size_list(arrow_type)
    )
    return bool(is_list and _is_number(arrow_type.value_type))
