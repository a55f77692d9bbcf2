"""`dataprune versions` on a local store: listed, verified, given rows of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dataprune import flow
from dataprune.core.recipe import parse_recipe
from dataprune.versions.store import LocalStore
from tests.cli.conftest import features_table

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.parquet, scores.parquet, and a store of d@v1, its control, and d@v2, a view."""
    folder = tmp_path_factory.mktemp("versions")
    pq.write_table(features_table(), folder / "data.parquet")
    recipe = {
        "name": "random",
        "source": {"uri": str(folder / "data.parquet")},
        "scores": {"names": ["random"]},
        "seeds": 1,
    }
    parsed = parse_recipe(recipe, where="tests")
    scores = flow.score(parsed, work=folder / "work", out=folder / "scores.parquet").path
    store = folder / "store"
    flow.prune(scores, name="d", tag="v1", keep=0.5, order="score", store=store, control=True)
    flow.prune(scores, name="d", tag="v2", keep=0.2, view=True, store=store)
    return folder


@pytest.fixture
def ground(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store to spoil, in the working folder; the view's source stays where it is."""
    shutil.copytree(built / "store", tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_error(done: Any, code: int) -> str:
    """The one sentence of an error, with its hint; nothing on stdout, no traceback."""
    assert done.code == code
    assert done.out == ""
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    return str(done.err)


def test_bare_it_lists_and_so_does_list(built: Path, cli: Cli) -> None:
    bare = cli("versions", "--store", built / "store")
    assert bare.code == 0
    assert bare.out == cli("versions", "list", "--store", built / "store").out
    rows = [line for line in bare.out.splitlines() if " d " in line]
    assert len(rows) == 3
    for word, row in zip(("v1", "v1-control", "v2"), rows, strict=True):
        assert word in row
    assert "view" in rows[2]
    assert bare.err == ""


def test_the_listing_for_programs(built: Path, cli: Cli) -> None:
    told = cli("versions", "--store", built / "store", "--json").json
    assert [(v["name"], v["tag"], v["kind"], v["rows"], v["of"]) for v in told] == [
        ("d", "v1", "materialized", 30, 60),
        ("d", "v1-control", "materialized", 30, 60),
        ("d", "v2", "view", 12, 60),
    ]
    assert [v["control_of"] for v in told] == [None, "v1", None]
    assert told == cli("versions", "list", "--store", built / "store", "--json").json


def test_the_default_store_is_listed_from_the_working_folder(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("versions")
    assert (done.code, done.out) == (0, "")
    assert done.err == "store .dataprune/store holds no version; dataprune prune makes one\n"
    assert cli("versions", "--json").json == []
    assert list(tmp_path.iterdir()) == [], "looking made a folder"


def test_a_damaged_version_is_warned_of_and_the_others_are_listed(ground: Path, cli: Cli) -> None:
    (ground / "store" / "d" / "v1" / "manifest.json").write_text("{}")
    (ground / "store" / "d" / "v1 copy").mkdir()
    (ground / "store" / "d" / "v1 copy" / "manifest.json").write_text("{}")
    shutil.copytree(ground / "store" / "d", ground / "store" / "my d")
    done = cli("versions", "--store", "store", "--json")
    assert done.code == 0
    assert [v["tag"] for v in done.json] == ["v1-control", "v2"]
    warnings = done.err.splitlines()
    assert len(warnings) == 4
    said = "Warning: d@v1 is no version that can be used: store/d/v1/manifest.json is not"
    assert warnings[0].startswith(said)
    assert "my d@v2 is no version that can be used: 'my d' is not a version name" in warnings[3]


@pytest.mark.parametrize("args", [["d"], ["lst"], ["--store", "s", "verify", "d", "v1"]])
def test_what_is_no_subcommand_and_no_repository_is_refused(args: list[str], cli: Cli) -> None:
    one_error(cli("versions", *args), 2)


@pytest.mark.parametrize("name", ["d", "a/b/c", "../d"])
def test_a_name_that_is_no_repository_is_refused_without_asking_the_hub(
    name: str, cli: Cli
) -> None:
    told = one_error(cli("versions", "list", name), 2)
    assert f"'{name}' is not the name of a Hub dataset" in told
    assert "ORG/REPO" in told


# --- verify


def test_verify_says_that_every_file_is_right(ground: Path, cli: Cli) -> None:
    done = cli("versions", "verify", "d", "v1", "--store", "store")
    assert (done.code, done.err) == (0, "")
    assert done.out == "d@v1: every file is as the manifest says\n"
    view = cli("versions", "verify", "d", "v2", "--store", "store")
    assert view.out == (
        "d@v2: every file is as the manifest says and its source is the one that was scored\n"
    )


def test_verify_for_programs(built: Path, cli: Cli) -> None:
    done = cli("versions", "verify", "d", "v2", "--store", built / "store", "--json")
    assert done.json == {"name": "d", "tag": "v2", "kind": "view", "whole": True}


def test_a_changed_byte_is_found(ground: Path, cli: Cli) -> None:
    path = ground / "store" / "d" / "v1" / "scores.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for flags in ([], ["--json"]):
        told = one_error(cli("versions", "verify", "d", "v1", "--store", "store", *flags), 1)
        assert "scores.parquet has other content than the manifest says" in told
        assert "Hint: restore the file" in told


def test_a_view_is_verified_with_its_source_wherever_that_is(
    built: Path, tmp_path: Path, cli: Cli
) -> None:
    args = ("versions", "verify", "d", "v2", "--store", built / "store", "--source")
    moved = tmp_path / "moved.parquet"
    shutil.copy(built / "data.parquet", moved)
    assert cli(*args, moved).code == 0
    table = pq.read_table(moved)
    pq.write_table(table.take([1, 0, *range(2, 60)]), moved)
    assert "row 0 of source" in one_error(cli(*args, moved), 1)
    gone = one_error(cli(*args, tmp_path / "gone.parquet"), 1)
    assert str(tmp_path / "gone.parquet") in gone


@pytest.mark.parametrize(
    ("name", "tag", "code", "says", "hint"),
    [
        ("d", "v9", 1, "d has no version v9", "tags: v1, v1-control, v2"),
        ("x", "v1", 1, "has nothing named x", "known: d"),
        ("d", "V1", 1, "d has no version V1", "tags: v1, v1-control, v2"),
        ("a b", "v1", 2, "'a b' is not a version name", "letters"),
    ],
)
def test_a_version_that_is_not_there_is_told_with_what_is(
    name: str, tag: str, code: int, says: str, hint: str, built: Path, cli: Cli
) -> None:
    for command in ("verify", "materialize"):
        told = one_error(cli("versions", command, name, tag, "--store", built / "store"), code)
        assert says in told
        assert hint in told


# --- materialize


def test_a_view_gets_a_version_with_rows_of_its_own(ground: Path, cli: Cli) -> None:
    args = ("versions", "materialize", "d", "v2", "--store", "store")
    done = cli(*args)
    assert (done.code, done.out) == (0, "store/d/v3\n")
    assert "d@v3 built" in done.err
    again = cli(*args)
    assert (again.code, again.out) == (0, "store/d/v3\n")
    assert "d@v3 was there already" in again.err
    own = flow.load("d", "v3", store=ground / "store")
    view = flow.load("d", "v2", store=ground / "store")
    assert own.arrow().to_table().equals(view.arrow().to_table())


def test_its_tag_can_be_chosen_and_it_answers_programs(ground: Path, cli: Cli) -> None:
    args = ["versions", "materialize", "d", "v2", "--store", "store", "--json"]
    wanted = {"name": "d", "tag": "v3-own", "created": True, "folder": "store/d/v3-own"}
    assert cli(*args, "--tag", "v{n}-own").json == wanted
    assert cli(*args, "--tag", "v3-own").json == {**wanted, "created": False}
    listed = cli("versions", "--store", "store", "--json").json
    assert [(v["tag"], v["kind"]) for v in listed][-1] == ("v3-own", "materialized")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["d", "v1"], 2, "d@v1 has its own rows already: it is no view"),
        (["d", "v2", "--tag", "{n}"], 2, "does not begin with v{n}"),
        (["d", "v2", "--tag", "v{n}0"], 2, "has a digit after {n}"),
        (["d", "v2", "--tag", "V3"], 2, "did you mean v3?"),
        (["d", "v2", "--tag", "v1"], 1, "d@v1 exists with "),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_made(
    options: list[str], code: int, says: str, built: Path, cli: Cli
) -> None:
    told = one_error(cli("versions", "materialize", *options, "--store", built / "store"), code)
    assert says in told
    assert LocalStore(built / "store").tags("d") == ["v1", "v1-control", "v2"]


def test_a_source_that_is_gone_is_one_error_that_says_how_to_go_on(
    tmp_path: Path, built: Path, cli: Cli
) -> None:
    data = tmp_path / "here.parquet"
    shutil.copy(built / "data.parquet", data)
    recipe = {"name": "r", "source": {"uri": str(data)}, "scores": {"names": ["random"]}}
    scores = flow.score(parse_recipe(recipe, where="tests"), work=tmp_path / "w").path
    flow.prune(scores, name="d", tag="v1", keep=0.2, view=True, store=tmp_path / "store")
    data.rename(tmp_path / "there.parquet")
    args = ("versions", "materialize", "d", "v1", "--store", tmp_path / "store")
    told = one_error(cli(*args), 1)
    assert f"the source that was scored, {data}, is not there" in told
    assert "--source" in told
    assert cli(*args, "--source", tmp_path / "there.parquet", "--json").json["tag"] == "v2"


# --- prune --tag auto, --order score


def test_prune_numbers_versions_and_says_which(built: Path, tmp_path: Path, cli: Cli) -> None:
    args = ["prune", built / "scores.parquet", "--name", "d", "--tag", "auto"]
    args += ["--store", tmp_path / "s", "--source", built / "data.parquet"]
    first = cli(*args, "--keep", "0.5", "--order", "score", "--control")
    assert first.code == 0
    assert first.out.splitlines()[-1] == str(tmp_path / "s" / "d" / "v1")
    assert "d@v1: hardest by random" in first.out
    assert "d@v1 built" in first.err
    assert "control: v1-control" in first.err
    same = cli(*args, "--keep", "0.5", "--order", "score", "--json").json
    assert (same["tag"], same["created"]) == ("v1", False)
    other = cli(*args, "--keep", "0.5", "--json").json
    assert (other["tag"], other["created"]) == ("v2", True), "another order is another version"
    manifest = json.loads((tmp_path / "s" / "d" / "v1" / "manifest.json").read_text())
    assert manifest["result"]["order"] == "score"


def test_prune_refuses_an_order_of_a_view(built: Path, tmp_path: Path, cli: Cli) -> None:
    args = ["prune", built / "scores.parquet", "--name", "d", "--tag", "auto", "--keep", "0.5"]
    told = one_error(cli(*args, "--store", tmp_path / "s", "--order", "score", "--view"), 2)
    assert "order score has no effect on a view" in told
    assert "--order" in told
    assert not (tmp_path / "s").exists()
