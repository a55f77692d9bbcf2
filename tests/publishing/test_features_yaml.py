"""Features as a card lists them: the same as `datasets` writes, which is not imported to do so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import (
    Array2D,
    Array3D,
    Audio,
    ClassLabel,
    Features,
    Image,
    LargeList,
    List,
    Sequence,
    Translation,
    TranslationVariableLanguages,
    Value,
    Video,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprune.core.errors import SourceError
from dataprune.publishing.features_yaml import features_yaml

NAMES = ["a", "0", "1e3", "null", "a: b", 'say "x"', "it's", "|", "\u732b", "\U0001f600", "", " x "]
PLAIN = [
    pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
    pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.time32("s"),
    pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns"),
    pa.timestamp("us", tz="UTC"), pa.timestamp("ms", tz="America/New_York"),
    pa.timestamp("s", tz="+02:00"), pa.date32(), pa.date64(), pa.duration("s"), pa.duration("ns"),
    pa.decimal128(10, 2), pa.decimal128(4, -2), pa.decimal256(40, 6), pa.binary(),
    pa.large_binary(), pa.binary_view(), pa.string(), pa.large_string(), pa.string_view(),
    pa.binary(16), pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64()),
    pa.json_(),
]  # fmt: skip
FEATURES: dict[str, Any] = {
    "value": Value("int32"),
    "value_with_id": Value("string", id="x"),
    "alias": Value("float"),
    "utf8": Value("utf8"),
    "stamp": Value("timestamp[us, tz=UTC]"),
    "decimal": Value("decimal128(10, 2)"),
    "class": ClassLabel(names=NAMES),
    "numbered": ClassLabel(num_classes=3),
    "image": Image(),
    "image_undecoded": Image(mode="RGB", decode=False),
    "audio": Audio(),
    "audio_16k": Audio(sampling_rate=16_000),
    "video": Video(),
    "list": List(Value("int64")),
    "list_with_id": List(Value("int64"), id="x"),
    "fixed": List(Value("float32"), length=4),
    "large": LargeList(Value("string")),
    "lists": List(LargeList(List(Value("int8"), length=2))),
    "classes": List(ClassLabel(names=["x", "y"])),
    "images": List(Image()),
    "sequence": Sequence(Value("int32")),
    "sequence_of_struct": Sequence({"a": Value("int32"), "b": Image()}),
    "sequence_of_lists": Sequence({"a": List(Value("int32"))}),
    "struct": {"a": Value("int32"), "b": {"c": ClassLabel(names=["x"]), "d": List(Image())}},
    "list_of_struct": List({"a": Value("int32"), "b": List(Value("string"))}),
    "fixed_struct": List({"a": Value("int32")}, length=2),
    "array2d": Array2D(shape=(2, 3), dtype="uint8"),
    "array2d_ragged": Array2D(shape=(None, 3), dtype="float32"),
    "array3d": Array3D(shape=(2, 3, 4), dtype="int64"),
    "translation": Translation(languages=["fr", "en"]),
    "translations": TranslationVariableLanguages(languages=["fr", "en"]),
    "translations_any": TranslationVariableLanguages(),
    "pdf": datasets.Pdf(),
    "nifti": datasets.Nifti(),
    "json": datasets.Json(),
    "jsons": List(datasets.Json(decode=False)),
}


def theirs(schema: pa.Schema) -> list[dict[str, Any]]:
    wanted: list[dict[str, Any]] = Features.from_arrow_schema(schema)._to_yaml_list()
    return wanted


@pytest.mark.parametrize("arrow", PLAIN[1:], ids=str)
@pytest.mark.parametrize("nullable", [True, False])
def test_plain_types_alone_and_in_lists(arrow: pa.DataType, *, nullable: bool) -> None:
    kinds = [arrow, pa.list_(arrow), pa.large_list(arrow), pa.list_(arrow, 3)]
    kinds.append(pa.struct([("a", arrow), ("b", pa.list_(pa.struct([("c", arrow)])))]))
    schema = pa.schema([pa.field(f"f{i}", k, nullable) for i, k in enumerate(kinds)])
    assert features_yaml(schema) == theirs(schema)


@pytest.mark.parametrize("name", FEATURES)
def test_features_with_their_key(name: str) -> None:
    schema = Features({name: FEATURES[name]}).arrow_schema
    assert features_yaml(schema) == theirs(schema)


@pytest.mark.parametrize("name", FEATURES)
def test_features_without_their_key(name: str) -> None:
    schema = Features({name: FEATURES[name]}).arrow_schema.remove_metadata()
    assert features_yaml(schema) == theirs(schema)


def test_all_together_survive_yaml_as_features() -> None:
    features = Features(FEATURES)
    listed = yaml.safe_load(yaml.safe_dump(features_yaml(features.arrow_schema), sort_keys=False))
    assert listed == features._to_yaml_list()
    assert list(Features._from_yaml_list(listed)) == list(features)


@pytest.mark.parametrize(
    "other",
    [
        pa.field("c", pa.int64(), nullable=False),
        pa.field("c", pa.int32()),
        pa.field("c", pa.string()),
        pa.field("c", pa.large_list(pa.int64())),
        pa.field("c", pa.list_(pa.field("item", pa.int64(), nullable=False))),
        pa.field("c", pa.list_(pa.field("element", pa.int64()))),
        pa.field("c", pa.list_(pa.int64(), 2)),
        pa.field("c", pa.struct([("path", pa.string()), ("bytes", pa.binary())])),
        pa.field("c", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("c", pa.struct([("bytes", pa.large_binary()), ("path", pa.large_string())])),
        pa.field("c", pa.struct([pa.field("bytes", pa.binary(), nullable=False)])),
        pa.field("c", pa.struct([])),
        pa.field("c", pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "feature",
    [ClassLabel(names=["x"]), Image(), Value("string"), List(ClassLabel(names=["x"])),
     List(Value("int64"), length=3), {}, Array2D(shape=(1, 1), dtype="int8")],
    ids=str,
)  # fmt: skip
def test_a_feature_that_is_not_the_columns_gives_way(feature: Any, other: pa.Field) -> None:
    stored = Features({"c": feature}).arrow_schema.metadata
    schema = pa.schema([other], metadata=stored)
    assert features_yaml(schema) == theirs(schema)


OLD: list[dict[str, Any]] = [
    {"c": [{"dtype": "int32", "id": None, "_type": "Value"}]},
    {"c": {"feature": {"dtype": "int32", "_type": "Value"}, "length": -1, "_type": "Sequence"}},
    {"c": {"feature": {"dtype": "int32", "_type": "Value"}, "length": 3, "_type": "Sequence"}},
    {"c": {"feature": {"a": {"dtype": "int32", "_type": "Value"}}, "_type": "Sequence"}},
    {"c": {"feature": {"a": [{"dtype": "int32", "_type": "Value"}]}, "_type": "Sequence"}},
    {"c": {"mode": None, "decode": True, "id": None, "_type": "Image"}},
    {"c": {"num_classes": 2, "names": ["x", "y"], "names_file": None, "_type": "ClassLabel"}},
    {"c": {"dtype": "double", "id": None, "_type": "Value"}},
]


@pytest.mark.parametrize("raw", OLD, ids=str)
def test_forms_that_older_datasets_stored(raw: dict[str, Any]) -> None:
    key = {"huggingface": json.dumps({"info": {"features": raw}})}
    schema = pa.schema(Features.from_dict(raw).type).with_metadata(key)
    assert features_yaml(schema) == theirs(schema)


def test_a_stored_feature_of_an_unknown_type_gives_way() -> None:
    for raw in ({"_type": "Hologram"}, {"_type": "ClassLabel"}, "x", 3, [], {"a": 1}):
        key = {"huggingface": json.dumps({"info": {"features": {"c": raw}}})}
        schema = pa.schema([("c", pa.int64())], metadata=key)
        assert features_yaml(schema) == [{"name": "c", "dtype": "int64"}]


@pytest.mark.parametrize("arrow", [pa.map_(pa.string(), pa.int8()), pa.uuid()], ids=str)
def test_a_type_that_datasets_lack_is_an_error(arrow: pa.DataType) -> None:
    schema = pa.schema([("c", pa.list_(arrow))])
    with pytest.raises(ValueError, match="does not have a datasets dtype"):
        theirs(schema)
    with pytest.raises(SourceError, match="column c holds"):
        features_yaml(schema)


def test_damaged_metadata_is_an_error() -> None:
    with pytest.raises(SourceError, match="damaged"):
        features_yaml(pa.schema([("c", pa.int8())], metadata={"huggingface": "{"}))


def test_arrays_are_known_without_datasets(tmp_path: Path) -> None:
    features = Features({"a": FEATURES["array2d"], "label": ClassLabel(names=["x", "y"])})
    table = datasets.Dataset.from_dict({"a": [[[1, 2, 3]] * 2], "label": [1]}, features=features)
    table.to_parquet(str(tmp_path / "a.parquet"))
    code = (
        "import sys, json, pyarrow.parquet as pq\n"
        "from dataprune.publishing.features_yaml import features_yaml\n"
        "print(json.dumps(features_yaml(pq.read_schema(sys.argv[1]))))\n"
        "assert 'datasets' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.parquet")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == theirs(pq.read_schema(tmp_path / "a.parquet"))


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
leaves = st.one_of(
    st.sampled_from([p for p in PLAIN if not isinstance(p, pa.JsonType)]).map(
        lambda arrow: Features.from_arrow_schema(pa.schema([("c", arrow)]))["c"]
    ),
    st.lists(texts, min_size=1, max_size=4, unique=True).map(lambda names: ClassLabel(names=names)),
    st.sampled_from([Image(), Audio(sampling_rate=8000), Image(decode=False), datasets.Json()]),
    st.just(Array2D(shape=(2, 2), dtype="float32")),
)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(List),
        inner.map(LargeList),
        st.builds(lambda f, n: List(f, length=n), inner, st.integers(1, 4)),
        st.dictionaries(texts.filter(lambda t: t != "_type"), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abc"), nested, min_size=1), st.booleans(), st.booleans())
def test_any_nested_features(raw: dict[str, Any], with_key: bool, reread: bool) -> None:  # noqa: FBT001
    schema = Features(raw).arrow_schema
    schema = schema if with_key else schema.remove_metadata()
    if reread:
        schema = pa.ipc.read_schema(pa.py_buffer(schema.serialize()))
    assert features_yaml(schema) == theirs(schema)
