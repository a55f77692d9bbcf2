"""Which columns play which part: found by type and usual names, or named, or asked for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError
from dataprune.core.recipe import Columns
from dataprune.sources._columns import class_names_of, features_of, resolve_columns
from tests.sources.tables import (
    FLOATS,
    IMAGE,
    class_label,
    numbers,
    refused,
    table,
    write,
)


def settled(schema: pa.Schema, **asked: str) -> tuple[str | None, str | None, str]:
    """Input, label and kind that a schema gives."""
    columns, kind = resolve_columns(schema, Columns(**asked), uri="here")
    return columns.input, columns.label, kind


def fields(**types: pa.DataType) -> pa.Schema:
    """A schema by names and types."""
    return pa.schema(list(types.items()))


@pytest.mark.parametrize("name", ["label", "labels", "target", "class", "y"])
def test_a_label_is_found_by_its_usual_names(name: str) -> None:
    assert settled(fields(features=FLOATS, **{name: pa.int64()}))[1] == name


def test_the_more_usual_label_name_wins() -> None:
    schema = fields(features=FLOATS, y=pa.int64(), label=pa.int64())
    assert settled(schema)[1] == "label"


def test_the_only_class_label_is_the_label_whatever_its_name() -> None:
    schema = table(
        {
            "x": pa.array([], FLOATS),
            "label": pa.array([], pa.int64()),
            "species": pa.array([], "int64"),
        },
        {"species": class_label("cat", "dog")},
    ).schema
    assert settled(schema)[1] == "species"


def test_of_several_class_labels_the_one_with_a_usual_name_is_the_label() -> None:
    empty = pa.array([], pa.int64())
    schema = table(
        {"x": pa.array([], FLOATS), "coarse": empty, "target": empty},
        {"coarse": class_label("a"), "target": class_label("b")},
    ).schema
    assert settled(schema)[1] == "target"


def test_a_label_that_cannot_be_found_stays_unsettled() -> None:
    assert settled(fields(features=FLOATS, species=pa.int64())) == ("features", None, "features")


@pytest.mark.parametrize(
    ("arrow_type", "kind"),
    [
        (IMAGE, "image"),
        (pa.struct([("bytes", pa.binary())]), "image"),
        (pa.binary(), "image"),
        (pa.large_binary(), "image"),
        (pa.list_(pa.float64()), "features"),
        (pa.list_(pa.int8()), "features"),
        (pa.large_list(pa.float32()), "features"),
        (pa.list_(pa.float32(), 4), "features"),
        (pa.string(), "text"),
        (pa.large_string(), "text"),
    ],
    ids=str,
)
def test_the_kind_of_input_follows_from_its_type(arrow_type: pa.DataType, kind: str) -> None:
    assert settled(fields(anything=arrow_type, label=pa.int64())) == ("anything", "label", kind)


@pytest.mark.parametrize(
    "arrow_type",
    [
        pa.list_(pa.string()),
        pa.list_(FLOATS),
        pa.struct([("x", pa.int8())]),
        pa.bool_(),
    ],
    ids=str,
)
def test_a_column_of_another_type_is_no_input(arrow_type: pa.DataType) -> None:
    schema = fields(anything=arrow_type, label=pa.int64())
    with pytest.raises(SourceError, match="no image, text or numeric column found"):
        settled(schema)
    with pytest.raises(
        SourceError, match=r"column anything of here is .*: no image, text or numbers"
    ):
        settled(schema, input="anything")


def test_an_image_is_taken_before_features_and_features_before_text() -> None:
    schema = fields(caption=pa.string(), vector=FLOATS, picture=IMAGE, label=pa.int64())
    assert settled(schema)[0] == "picture"
    assert settled(schema.remove(2))[0] == "vector"
    assert settled(schema.remove(2).remove(1))[0] == "caption"


@pytest.mark.parametrize(("usual", "other"), [("text", "title"), ("sentence", "id")])
def test_of_several_inputs_of_one_kind_the_one_with_a_usual_name_is_taken(
    usual: str, other: str
) -> None:
    schema = fields(**{other: pa.string(), usual: pa.string()}, label=pa.int64())
    assert settled(schema)[0] == usual


def test_several_inputs_of_one_kind_without_a_usual_name_are_listed() -> None:
    schema = fields(question=pa.string(), answer=pa.string(), label=pa.int64())
    with pytest.raises(SourceError, match="several text columns: question, answer") as caught:
        settled(schema)
    assert caught.value.hint == "name one as source.columns.input"


def test_the_label_and_the_key_are_never_inferred_as_the_input() -> None:
    schema = fields(id=pa.string(), label=pa.string(), words=pa.string())
    assert settled(schema, key="id") == ("words", "label", "text")


def test_the_input_and_the_key_are_never_inferred_as_the_label() -> None:
    schema = fields(label=pa.string(), target=pa.string(), y=pa.int64())
    assert settled(schema, input="label", key="target") == ("label", "y", "text")


def test_suggested_labels_of_a_version_play_a_part_only_if_they_are_named() -> None:
    schema = fields(a=pa.float32(), b=pa.float32(), label=pa.int64(), suggested_label=pa.int64())
    columns, _ = resolve_columns(schema, Columns(), uri="here")
    assert (columns.inputs, columns.label) == (("a", "b"), "label")
    named = Columns(input=("a", "b"), label="suggested_label")
    assert resolve_columns(schema, named, uri="here")[0].label == "suggested_label"


def test_named_columns_are_used_as_named() -> None:
    schema = fields(image=IMAGE, vector=FLOATS, label=pa.int64(), other=pa.int64())
    assert settled(schema, input="vector", label="other") == ("vector", "other", "features")


def test_a_column_cannot_be_both_input_and_label() -> None:
    with pytest.raises(SourceError):
        settled(fields(text=pa.string(), label=pa.string()), input="label", label="label")


@pytest.mark.parametrize("part", ["input", "label", "key"])
def test_a_named_column_there_is_not_names_the_nearest(part: str) -> None:
    with pytest.raises(SourceError, match="source here has no column labl") as caught:
        settled(fields(text=pa.string(), label=pa.string()), **{part: "labl"})
    assert str(caught.value.hint).startswith("did you mean label?")


def test_hugging_face_features_are_read_from_the_schema() -> None:
    features = {"label": class_label("été", "b"), "image": {"_type": "Image"}}
    schema = table({"label": [0], "image": [b""]}, features).schema
    assert features_of(schema) == features
    assert class_names_of(schema, "label") == ["été", "b"]
    assert class_names_of(schema, "image") is None


@pytest.mark.parametrize("metadata", [None, {"pandas": "{}"}, {"huggingface": "{}"}])
def test_a_schema_without_features_has_none(metadata: dict[str, str] | None) -> None:
    schema = pa.schema([("label", pa.int64())], metadata=metadata)
    assert features_of(schema) == {}
    assert class_names_of(schema, "label") is None


def test_damaged_feature_metadata_is_refused(tmp_path: Path) -> None:
    damaged = pa.table(numbers(0)).replace_schema_metadata({"huggingface": "{oops"})
    path = write(tmp_path / "a.parquet", damaged)
    assert "huggingface" in refused(path)


def test_a_text_column_of_another_name_beside_numbers_is_not_guessed_to_be_the_input() -> None:
    schema = pa.schema([("id", pa.string()), ("f0", pa.float64()), ("label", pa.int64())])
    with pytest.raises(SourceError, match="a text column id and numeric columns f0") as caught:
        resolve_columns(schema, Columns(), uri="d.csv")
    assert "--input" in (caught.value.hint or "")
    named, kind = resolve_columns(schema, Columns(input="f0"), uri="d.csv")
    assert (named.input, kind) == ("f0", "features")
    called_text = pa.schema([("text", pa.string()), ("idx", pa.int64()), ("label", pa.int64())])
    assert resolve_columns(called_text, Columns(), uri="d.csv")[0].input == "text"
