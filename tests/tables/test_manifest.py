"""The manifest: strict, one text form, and names that a store can hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataprune.core.errors import TableError, UsageError
from dataprune.core.recipe import parse_recipe
from dataprune.tables.manifest import (
    Manifest,
    check_name,
    check_tag,
    portable_recipe,
    read_manifest,
    render_manifest,
)

SHA = "ab" * 32
FILE = {"path": "data/train.parquet", "sha256": SHA, "bytes": 12, "rows": 2}
DATA: dict[str, Any] = {
    "name": "tiny",
    "version": "v1",
    "kind": "materialized",
    "fingerprint": SHA,
    "source": {
        "uri": "/data/été",
        "format": "parquet",
        "split": "train",
        "columns": {"input": "image", "label": "label"},
        "kind": "image",
        "class_names": ["chat", "naïve"],
        "num_rows": 4,
        "fingerprint": SHA,
        "files": [FILE],
    },
    "recipe": {"name": "tiny"},
    "scores": {
        "file": FILE,
        "column": "el2n",
        "spec": {"epoch": 2},
        "status": "complete",
        "unit_ids": ["u1"],
        "reliability": {"el2n": None},
    },
    "selection": {
        "strategy": "hardest",
        "by": "el2n",
        "params": {},
        "keep": 0.5,
        "class_balance": "none",
        "min_per_class": 0,
        "seed": 0,
        "tie_break": "mix64",
        "rows_in": 4,
        "rows_out": 2,
        "kept_rows_sha256": SHA,
    },
    "classes": {"chat": {"source": 4, "kept": 2, "dropped": 2}},
    "reasons": {"within_budget": 2, "too_easy": 2},
    "result": {
        "features": None,
        "splits": {"train": {"rows": 2, "files": [FILE]}},
        "rows_sha256": SHA,
    },
    "decisions": FILE,
    "producer": {"dataprune": "0.1.0", "packages": {"pyarrow": "21"}},
}


@pytest.fixture
def data() -> dict[str, Any]:
    """A manifest's data, to change."""
    return dict(json.loads(json.dumps(DATA)))


def stored(folder: Path, data: dict[str, Any]) -> Path:
    """Write data where a manifest would be."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_manifest_comes_back_from_its_text(tmp_path: Path, data: dict[str, Any]) -> None:
    manifest = Manifest.model_validate(data)
    (tmp_path / "manifest.json").write_text(render_manifest(manifest), encoding="utf-8")
    assert read_manifest(tmp_path / "manifest.json") == manifest


def test_a_manifest_has_one_text_whatever_order_its_data_came_in(data: dict[str, Any]) -> None:
    turned = dict(reversed(data.items()))
    turned["reasons"] = dict(reversed(data["reasons"].items()))
    one, other = (render_manifest(Manifest.model_validate(d)) for d in (data, turned))
    assert one == other


def test_a_manifest_is_readable_by_people(data: dict[str, Any]) -> None:
    text = render_manifest(Manifest.model_validate(data))
    assert "naïve" in text
    assert text.endswith("}\n")
    assert "\n  " in text


def test_a_manifest_cannot_be_changed(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Manifest.model_validate(data).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fingerprint", "AB" * 32),
        ("fingerprint", SHA[:-1]),
        ("version", "1"),
        ("name", "a/b"),
        ("kind", "copy"),
        ("manifest_version", 2),
        ("source.num_rows", 0),
        ("source.kind", "audio"),
        ("scores.status", "done"),
        ("decisions.bytes", -1),
        ("decisions.sha256", "zz" * 32),
        ("selection.seed", "none"),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_place(
    tmp_path: Path, data: dict[str, Any], path: str, value: Any
) -> None:
    *sections, key = path.split(".")
    place = data
    for section in sections:
        place = place[section]
    place[key] = value
    with pytest.raises(TableError, match=rf"manifest\.json is not a manifest: {path}: "):
        read_manifest(stored(tmp_path, data))


@pytest.mark.parametrize("key", [k for k in DATA if k != "control_of"])
def test_a_missing_part_is_named(tmp_path: Path, data: dict[str, Any], key: str) -> None:
    del data[key]
    with pytest.raises(TableError, match=f"is not a manifest: {key}: Field required"):
        read_manifest(stored(tmp_path, data))


@pytest.mark.parametrize("place", ["result.order", "parents", "source.license"])
def test_what_manifests_did_not_always_say_has_its_old_meaning(
    tmp_path: Path, data: dict[str, Any], place: str
) -> None:
    old = read_manifest(stored(tmp_path, data))
    assert (old.result.order, old.parents, old.source.license) == ("source", [], None)
    text = json.loads(render_manifest(old))
    *sections, key = place.split(".")
    part = text
    for section in sections:
        part = part[section]
    assert key in part, "it is written out from now on"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"relation": "stolen"}, "relation: Input should be 'rollback', 'retracted' or"),
        ({"version": "latest"}, "version: String should match"),
        ({"manifest_sha256": "AB" * 32}, "manifest_sha256: String should match"),
        ({"commit": "abc"}, "commit: Extra inputs"),
    ],
)
def test_a_wrong_parent_is_told_with_its_place(
    tmp_path: Path, data: dict[str, Any], change: dict[str, str], says: str
) -> None:
    parent = {"version": "v1", "manifest_sha256": SHA, "relation": "retracted"}
    manifest = read_manifest(stored(tmp_path, {**data, "parents": [parent]}))
    assert manifest.parents[0].model_dump() == parent
    with pytest.raises(TableError, match=rf"parents\.0\.{says}"):
        read_manifest(stored(tmp_path, {**data, "parents": [{**parent, **change}]}))


def test_an_order_that_is_none_is_told(tmp_path: Path, data: dict[str, Any]) -> None:
    data["result"]["order"] = "best"
    with pytest.raises(TableError, match=r"result\.order: Input should be 'source' or 'score'"):
        read_manifest(stored(tmp_path, data))


@pytest.mark.parametrize("keep", [0.5, 1.0, 250, "all"])
def test_a_budget_is_a_number_or_all(data: dict[str, Any], keep: float | str) -> None:
    data["selection"]["keep"] = keep
    found = Manifest.model_validate(data).selection.keep
    assert (found, type(found)) == (keep, type(keep))


@pytest.mark.parametrize("keep", ["half", "All", "", None])
def test_another_budget_is_refused(tmp_path: Path, data: dict[str, Any], keep: Any) -> None:
    data["selection"]["keep"] = keep
    with pytest.raises(TableError, match=r"selection\.keep"):
        read_manifest(stored(tmp_path, data))


def test_an_unknown_part_is_refused(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(TableError, match="is not a manifest: created_at"):
        read_manifest(stored(tmp_path, {**data, "created_at": "now"}))


@pytest.mark.parametrize("text", ["", '{"name": ', "[]", "3"])
def test_a_damaged_file_is_no_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(TableError, match=r"manifest\.json is not"):
        read_manifest(tmp_path / "manifest.json")


# --- tags and names


@pytest.mark.parametrize(
    "tag", ["v1", "v0", "v12.3", "v1.2.3", "v2-el2n-keep0.5", "v1-a", "v" + "1" * 62]
)
def test_a_tag_of_the_right_form_passes(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    ["", "1", "V1", "v", "v1.2.3.4", "v1-", "v1_a", "v1-A", "v1-a..b", "v1 ", "v1\n", "latest",
     "../v1", "v1/x", "v" + "1" * 63, "v\u0661"],
)  # fmt: skip
def test_a_tag_of_another_form_is_refused_with_the_form(tag: str) -> None:
    with pytest.raises(UsageError, match="is not a version tag") as caught:
        check_tag(tag)
    assert "v1, v2-el2n-keep0.5" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("tag", "like"),
    [
        ("V1", "v1"),
        ("1", "v1"),
        ("v2_el2n", "v2-el2n"),
        ("v2 el2n  keep0.5 ", "v2-el2n-keep0.5"),
        ("V2-EL2N-Keep0.5", "v2-el2n-keep0.5"),
        ("v1.2.3.4", "v1.2.3-4"),
        ("v1--a", "v1-a"),
        ("v1-a..b", "v1-a-b"),
        ("v1-a.", "v1-a"),
        ("v.3", "v3"),
        ("v3.lock", "v3-lock"),
        ("v3-a.lock", "v3-a"),
        ("v4/x", "v4-x"),
        ("latest", "v1-latest"),
        ("", "v1"),
        ("\u00fc", "v1"),
        ("v1-" + "a" * 61, "v1-" + "a" * 60),
        ("v1-" + "a" * 59 + "-b", "v1-" + "a" * 59),
    ],
)
def test_a_mistyped_tag_is_answered_with_the_nearest_legal_one(tag: str, like: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_tag(tag)
    assert (caught.value.hint or "").startswith(f"did you mean {like}? ")


@settings(deadline=None)
@given(st.one_of(st.text(), st.text("vV01.-_ ax\n/lock", max_size=80)))
def test_whatever_is_typed_what_is_suggested_is_legal(tag: str) -> None:
    try:
        check_tag(tag)
    except UsageError as exc:
        found = re.match(r"did you mean (\S+)\? tags are ", exc.hint or "")
        assert found is not None
        assert check_tag(found[1]) == found[1]
        assert accepted(version=found[1])


@pytest.mark.parametrize("name", ["digits", "a", "A.b_c-1", "9lives", "n" * 64])
def test_a_plain_name_passes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a b", "été", "a\n", "n" * 65, "a\\b", "a@v1"]
)
def test_a_name_a_folder_should_not_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a version name"):
        check_name(name)


@pytest.mark.parametrize("name", ["me/digits", "../digits", "/digits"])
def test_a_name_with_a_slash_is_said_to_be_a_hub_repository(name: str) -> None:
    with pytest.raises(UsageError, match="names a Hub repository"):
        check_name(name)


def accepted(**change: Any) -> bool:
    """Whether the manifest's model takes a change."""
    try:
        Manifest.model_validate({**DATA, **change})
    except ValidationError:
        return False
    return True


@settings(deadline=None)
@given(st.text("v01.-ax\n", max_size=8))
def test_a_tag_that_passes_is_one_the_manifest_takes_and_no_other(tag: str) -> None:
    try:
        check_tag(tag)
    except UsageError:
        assert not accepted(version=tag)
    else:
        assert accepted(version=tag)


# --- the recipe inside


def test_where_a_recipe_ran_is_not_part_of_it_and_threads_and_device_are(
    recipe_data: dict[str, Any],
) -> None:
    here = parse_recipe({**recipe_data, "run": {"num_cpus": 2}}, where="tests")
    elsewhere = {"runner": "ray", "address": "auto", "max_retries": 7, "num_cpus": 2}
    there = parse_recipe({**recipe_data, "run": elsewhere}, where="tests")
    assert portable_recipe(here) == portable_recipe(there)
    assert portable_recipe(here)["run"] == {"num_cpus": 2, "num_gpus": 0}


def test_what_can_change_a_result_is(recipe_data: dict[str, Any]) -> None:
    here = parse_recipe(recipe_data, where="tests")
    there = parse_recipe({**recipe_data, "seed": 1}, where="tests")
    assert portable_recipe(here) != portable_recipe(there)
    assert parse_recipe(portable_recipe(here), where="tests") == here
