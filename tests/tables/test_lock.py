"""The lock file: what was found stays found, and a file that is not right is never guessed at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataprune.core.errors import TableError
from dataprune.tables.lock import LockFile, Pin, read_pin, write_pin

RESTORE = "restore it from git, or delete it and load again to write a new one"


def pin(repo: str = "acme/animals", asked: str = "v1", **changes: str) -> Pin:
    """A pin of a version."""
    return Pin.model_validate(
        {
            "repo": repo,
            "asked": asked,
            "tag": "v1",
            "commit": "0" * 40,
            "manifest_sha256": "a" * 64,
            **changes,
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock file goes."""
    return tmp_path / "dataprune.lock"


def damaged(path: Path, data: Any) -> TableError:
    """The error of reading, which writing must give too, with the file left as it was."""
    text = data if isinstance(data, str) else json.dumps(data)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_pin(path, "acme/animals", "v1")
    with pytest.raises(TableError) as again:
        write_pin(path, pin())
    assert str(again.value) == str(caught.value)
    assert path.read_text(encoding="utf-8") == text
    assert str(path) in caught.value.message
    return caught.value


def test_what_was_written_is_read_by_repository_and_by_what_was_asked_for(path: Path) -> None:
    pins = [pin(), pin(asked="prod"), pin(repo="acme/other"), pin(asked="0" * 40)]
    for one in pins:
        write_pin(path, one)
    for one in pins:
        assert read_pin(path, one.repo, one.asked) == one
    assert read_pin(path, "acme/animals", "v2") is None
    assert read_pin(path, "acme/nothing", "v1") is None


def test_no_file_knows_nothing_and_looking_makes_none(path: Path) -> None:
    assert read_pin(path, "acme/animals", "v1") is None
    assert not path.exists()


def test_a_new_pin_takes_the_place_of_the_old_one_of_its_name_alone(path: Path) -> None:
    for one in (pin(), pin(asked="prod"), pin(repo="acme/other")):
        write_pin(path, one)
    moved = pin(asked="prod", tag="v2", commit="1" * 40)
    write_pin(path, moved)
    assert read_pin(path, "acme/animals", "prod") == moved
    assert read_pin(path, "acme/animals", "v1") == pin()
    assert read_pin(path, "acme/other", "v1") == pin(repo="acme/other")
    assert len(json.loads(path.read_text())["pins"]) == 3


def test_what_is_known_already_writes_nothing(path: Path) -> None:
    write_pin(path, pin())
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    write_pin(path, pin())
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before
    path.write_text(json.dumps(json.loads(path.read_text())), encoding="utf-8")  # by hand
    by_hand = path.read_text()
    write_pin(path, pin())
    assert path.read_text() == by_hand


@settings(max_examples=10, deadline=None)
@given(st.permutations(["v1", "v2", "prod", "a", "Z", "\u00e9"]))
def test_the_file_is_the_same_in_whatever_order_pins_came(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("lock") / "dataprune.lock"
    for name in names:
        write_pin(path, pin(asked=name))
    asked = [p["asked"] for p in json.loads(path.read_text())["pins"]]
    assert asked == sorted(names)


def test_the_file_is_for_people_and_for_git(path: Path) -> None:
    write_pin(path, pin())
    assert path.read_text() == (
        "{\n"
        '  "lock_version": 1,\n'
        '  "pins": [\n'
        "    {\n"
        '      "asked": "v1",\n'
        f'      "commit": "{"0" * 40}",\n'
        f'      "manifest_sha256": "{"a" * 64}",\n'
        '      "repo": "acme/animals",\n'
        '      "tag": "v1"\n'
        "    }\n"
        "  ]\n"
        "}\n"
    )
    assert [p.name for p in path.parent.iterdir()] == ["dataprune.lock"]


@pytest.mark.parametrize(
    "name", ["\u00e9t\u00e9", "\u4e16\u754c", "\U0001f43e", "a b", '"', "\u2028"]
)
def test_any_name_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.lock"
    write_pin(path, pin(asked=name))
    assert read_pin(path, "acme/animals", name) == pin(asked=name)


def test_the_folder_is_made(tmp_path: Path) -> None:
    write_pin(tmp_path / "new" / "x.lock", pin())
    assert read_pin(tmp_path / "new" / "x.lock", "acme/animals", "v1") == pin()


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"tag": "latest"}, "tag"),
        ({"commit": "main"}, "commit"),
        ({"commit": "0" * 7}, "commit"),
        ({"manifest_sha256": "A" * 64}, "manifest_sha256"),
    ],
)
def test_what_pins_nothing_is_no_pin(change: dict[str, str], where: str, path: Path) -> None:
    with pytest.raises(ValidationError, match=where):
        pin(**change)
    error = damaged(path, {"lock_version": 1, "pins": [{**pin().model_dump(), **change}]})
    assert error.message.startswith(f"{path} is not a lock file of dataprune: pins.0.{where}: ")
    assert error.hint == RESTORE


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"pins": [', "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> main\n", "\x00"],
)
def test_a_damaged_file_is_told_with_what_to_do(text: str, path: Path) -> None:
    error = damaged(path, text)
    assert error.message.startswith(f"{path} is not valid JSON")
    assert error.hint == RESTORE


def test_bytes_that_are_no_text_are_told_too(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="is not valid JSON") as caught:
        read_pin(path, "acme/animals", "v1")
    assert caught.value.hint == RESTORE


@pytest.mark.parametrize("data", [[], 3, None, "text"])
def test_json_that_is_no_lock_file_is_told(data: Any, path: Path) -> None:
    text = json.dumps(data)
    assert damaged(path, text).message.startswith(
        f"{path} is not a lock file of dataprune: the file: "
    )


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_of_the_file_is_told_as_that(version: Any, path: Path) -> None:
    error = damaged(path, {"lock_version": version, "pins": []})
    assert error.message == f"{path} has lock_version {version!r}, and this dataprune reads 1"
    assert "a newer dataprune" in (error.hint or "")


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"lock_version": 1, "pins": [], "note": "mine"}, "note"),
        ({"pins": [{**pin().model_dump(), "when": "now"}]}, "pins.0.when"),
        ({"pins": [{"repo": "acme/animals"}]}, "pins.0.asked"),
        ({"pins": {"acme/animals": "v1"}}, "pins"),
    ],
)
def test_keys_that_are_unknown_or_missing_are_named(data: Any, where: str, path: Path) -> None:
    error = damaged(path, data)
    assert error.message.startswith(f"{path} is not a lock file of dataprune: {where}: ")
    assert error.hint == RESTORE


def test_two_pins_of_one_name_as_a_merge_leaves_them_are_refused(path: Path) -> None:
    twice = [pin().model_dump(), pin(commit="1" * 40).model_dump()]
    error = damaged(path, {"lock_version": 1, "pins": twice})
    assert error.message == (
        f"{path} is not a lock file of dataprune: acme/animals@v1 stands in it 2 times"
    )


def test_an_empty_lock_file_is_a_lock_file(path: Path) -> None:
    path.write_text("{}")
    assert read_pin(path, "acme/animals", "v1") is None
    write_pin(path, pin())
    assert LockFile.model_validate_json(path.read_text()).pins == (pin(),)
