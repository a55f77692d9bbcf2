"""Arrow schema -> the features that a dataset card lists, as `datasets` itself would write them.

A card that names its features keeps class names and images where a table's own metadata was lost.
`datasets` is not needed here: a feature is handled as the JSON it stores under the schema's
`huggingface` key ({"_type": "ClassLabel", "names": [...]}), with what is at its default left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import types

from dataprune.core.errors import SourceError
from dataprune.sources._columns import features_of

Feature = dict[str, Any]

_FILE_TYPES: dict[str, dict[str, Any]] = {  # each a struct of bytes and path; fields and defaults
    "Image": {"mode": None, "decode": True},
    "Audio": {"sampling_rate": None, "decode": True, "num_channels": None, "stream_index": None},
    "Video": {
        "decode": True,
        "stream_index": None,
        "dimension_order": "NCHW",
        "num_ffmpeg_threads": 1,
        "device": "cpu",
        "seek_mode": "exact",
    },
    "Pdf": {"decode": True},
    "Nifti": {"decode": True},
    "Mesh": {"decode": True},
    "BioSequence": {"format": "fasta", "decode": True},
    "BioStructure": {"format": "pdb", "decode": True},
}
_NO_DEFAULT = object()
_FIELDS: dict[str, dict[str, Any]] = {
    **_FILE_TYPES,
    "Value": {"dtype": _NO_DEFAULT},
    "ClassLabel": {"names": _NO_DEFAULT},
    "Translation": {"languages": _NO_DEFAULT},
    "TranslationVariableLanguages": {"languages": None, "num_languages": None},
    "Json": {"decode": True},
    **{f"Array{n}D": {"shape": _NO_DEFAULT, "dtype": _NO_DEFAULT} for n in (2, 3, 4, 5)},
}
_ALIASES = {"float": "float32", "double": "float64"}
_SAME_TYPE = {"utf8": "string", "large_utf8": "large_string", "bool_": "bool"}
_STRING: Feature = {"_type": "Value", "dtype": "string"}
_STRINGS: Feature = {"_type": "List", "feature": _STRING}
_BYTES_AND_PATH: Feature = {"bytes": {"_type": "Value", "dtype": "binary"}, "path": _STRING}
_AS_STORED: dict[str | None, Callable[[Feature], Feature]] = {
    **dict.fromkeys(_FILE_TYPES, lambda _: _BYTES_AND_PATH),
    "ClassLabel": lambda _: {"_type": "Value", "dtype": "int64"},
    "Translation": lambda feature: dict.fromkeys(sorted(feature["languages"]), _STRING),
    "TranslationVariableLanguages": lambda _: {"language": _STRINGS, "translation": _STRINGS},
}
_PLAIN: dict[Callable[[Any], bool], str] = {
    types.is_null: "null",
    types.is_boolean: "bool",
    types.is_int8: "int8",
    types.is_int16: "int16",
    types.is_int32: "int32",
    types.is_int64: "int64",
    types.is_uint8: "uint8",
    types.is_uint16: "uint16",
    types.is_uint32: "uint32",
    types.is_uint64: "uint64",
    types.is_float16: "float16",
    types.is_float32: "float32",
    types.is_float64: "float64",
    types.is_date32: "date32",
    types.is_date64: "date64",
    types.is_binary: "binary",
    types.is_large_binary: "large_binary",
    types.is_binary_view: "binary_view",
    types.is_string: "string",
    types.is_large_string: "large_string",
    types.is_string_view: "string_view",
}
_EXTENSION = re.compile(r"datasets\.features\.features\.(Array[2-5]D)ExtensionType")


def features_yaml(schema: pa.Schema) -> list[dict[str, Any]]:
    """The value of `dataset_info.features`, an entry per column.

    A column's stored feature counts where it describes the column's Arrow type; else the type does.

    Raises:
        SourceError: the stored features are damaged, or a column has a type `datasets` lacks.
    """
    stored = features_of(schema)
    listed = []
    for field in schema:
        feature = _stored(stored.get(field.name))
        if feature is None or not _describes(feature, field):
            feature = _from_arrow(field, field.name)
        listed.append({"name": field.name, **_yaml(feature)})
    return listed


def _stored(raw: object) -> Feature | None:
    """A stored feature in its one form; None where it is no feature that is known."""
    try:
        return None if raw is None else _settled(raw)
    except (KeyError, TypeError, AttributeError, IndexError):
        return None


def _settled(raw: Any) -> Feature:
    """One form for all that versions of `datasets` have stored; KeyError for an unknown type."""
    if isinstance(raw, list):  # how older ones wrote a list
        return {"_type": "List", "feature": _settled(raw[0])}
    if not isinstance(raw.get("_type"), str):
        return {name: _settled(child) for name, child in raw.items()}
    kind = raw["_type"]
    if kind in {"List", "LargeList", "Sequence"}:
        return _settled_list(raw)
    settled = {"_type": kind}
    for name, default in {**_FIELDS[kind], "id": None}.items():
        value = raw[name] if default is _NO_DEFAULT else raw.get(name, default)
        if value != default:
            settled[name] = _ALIASES.get(value, value) if name == "dtype" else value
    if kind == "TranslationVariableLanguages" and settled.get("languages"):
        languages = sorted(set(settled["languages"]))
        settled |= {"languages": languages, "num_languages": len(languages)}
    return settled


def _settled_list(raw: Feature) -> Feature:
    """A list. A `Sequence` of a struct was a struct of lists, unless all of it were lists."""
    inner = _settled(raw["feature"])
    length = raw.get("length", -1)
    sized = {} if length == -1 or raw["_type"] == "LargeList" else {"length": length}
    if raw["_type"] == "Sequence" and "_type" not in inner:
        old = [name for name, child in raw["feature"].items() if isinstance(child, list)]
        if old or any(child.get("_type") != "List" for child in inner.values()):
            return {
                name: {"_type": "List", "feature": child, **sized} for name, child in inner.items()
            }
    kind = "LargeList" if raw["_type"] == "LargeList" else "List"
    return {"_type": kind, "feature": inner, **sized}


def _describes(feature: Feature, field: pa.Field) -> bool:
    """Whether a column of this feature has exactly this field's type; it is nullable throughout."""
    arrow, kind = field.type, feature.get("_type")
    if not field.nullable:
        return False
    if kind in _AS_STORED:
        return _describes(_AS_STORED[kind](feature), field)
    if kind is None:
        if not types.is_struct(arrow) or [f.name for f in arrow] != list(feature):
            return False
        return all(_describes(feature[child.name], child) for child in arrow)
    if kind == "List":
        length = feature.get("length", -1)
        is_it = types.is_list(arrow) if length == -1 else types.is_fixed_size_list(arrow)
        same_size = length in {-1, getattr(arrow, "list_size", -1)}
        return bool(is_it and same_size and _describes(feature["feature"], arrow.value_field))
    if kind == "LargeList":
        return types.is_large_list(arrow) and _describes(feature["feature"], arrow.value_field)
    if kind == "Json":
        return bool(arrow == pa.json_())
    if kind == "Value":
        dtype = _SAME_TYPE.get(feature["dtype"], feature["dtype"])
        return not types.is_dictionary(arrow) and _packed(_dtype(arrow)) == _packed(dtype)
    array = _array(field)
    return array is not None and array == {**feature, "shape": list(feature["shape"])}


def _packed(dtype: str | None) -> str | None:
    """A type's name without the spaces that may or may not be in it."""
    return None if dtype is None else dtype.replace(" ", "")


def _from_arrow(field: pa.Field, column: str) -> Feature:
    """The feature of an Arrow type that has none stored."""
    arrow = field.type
    if (array := _array(field)) is not None:
        return array
    if types.is_struct(arrow):
        return {child.name: _from_arrow(child, column) for child in arrow}
    if types.is_fixed_size_list(arrow):
        inner = _from_arrow(arrow.value_field, column)
        return {"_type": "List", "feature": inner, "length": arrow.list_size}
    if types.is_list(arrow) or types.is_large_list(arrow):
        kind = "List" if types.is_list(arrow) else "LargeList"
        return {"_type": kind, "feature": _from_arrow(arrow.value_field, column)}
    if isinstance(arrow, pa.JsonType):
        return {"_type": "Json"}
    dtype = _dtype(arrow)
    if dtype is None:
        raise SourceError(
            f"column {column} holds {arrow}, which Hugging Face datasets have no type for",
            hint="cast the column in the source, or publish a view",
        )
    return {"_type": "Value", "dtype": dtype}


def _array(field: pa.Field) -> Feature | None:
    """An array of two to five dimensions: an extension type, or its storage where it is unknown."""
    metadata = field.metadata or {}
    name, text = metadata.get(b"ARROW:extension:name"), metadata.get(b"ARROW:extension:metadata")
    if isinstance(field.type, pa.ExtensionType):
        name = field.type.extension_name.encode()
        text = field.type.__arrow_ext_serialize__()
    known = _EXTENSION.fullmatch((name or b"").decode())
    if known is None or text is None:
        return None
    shape, dtype = json.loads(text)
    return {"_type": known[1], "shape": shape, "dtype": dtype}


def _dtype(arrow: pa.DataType) -> str | None:
    """The name that `datasets` gives a plain type; None for types it has none for."""
    if types.is_dictionary(arrow):
        return _dtype(arrow.value_type)
    for is_it, name in _PLAIN.items():
        if is_it(arrow):
            return name
    if types.is_time(arrow) or types.is_duration(arrow) or types.is_decimal128(arrow):
        return str(arrow)
    if types.is_decimal256(arrow) or types.is_timestamp(arrow):
        return str(arrow)
    if types.is_fixed_size_binary(arrow):
        return f"fixed_size_binary[{arrow.byte_width}]"
    return None


def _yaml(feature: Feature) -> Feature:
    """A feature as cards write it, with their short forms for lists and class names."""
    kind = feature.get("_type")
    if kind is None:
        return {"struct": [{"name": n, **_yaml(child)} for n, child in feature.items()]}
    rest = {name: value for name, value in feature.items() if name not in {"_type", "feature"}}
    if kind in {"List", "LargeList"}:
        inner: Any = _yaml(feature["feature"])
        if list(inner) in (["dtype"], ["struct"]):
            inner = next(iter(inner.values()))
        return {_snake(kind): inner, **rest}
    if kind == "Value":
        return rest
    if kind == "ClassLabel":
        rest["names"] = {str(i): name for i, name in enumerate(rest["names"])}
    return {"dtype": {_snake(kind): rest} if rest else _snake(kind)}


def _snake(name: str) -> str:
    """Names of types as cards spell them: ClassLabel is class_label."""
    return re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name).lower()
