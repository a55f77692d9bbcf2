"""WebDataset shards: how members become samples and columns, and tars that are not whole."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataprune.core.recipe import Columns
from tests.conftest import png
from tests.sources.cases import tar_of
from tests.sources.tables import PIXELS, loaded, opened, refused

Members = list[tuple[str, bytes]]


def texts(first: int = 0, num_rows: int = 3) -> Members:
    """Samples of a text and a class."""
    rows = range(first, first + num_rows)
    return [m for i in rows for m in ((f"{i}.txt", b"t%d" % i), (f"{i}.cls", b"%d" % (i % 2)))]


def put(path: Path, members: Members) -> Path:
    """Write a tar."""
    return tar_of(path, members)


def rows(path: Path) -> list[dict[str, Any]]:
    """Every row."""
    source = opened(path, columns=Columns(input="txt"))
    found: list[dict[str, Any]] = pa.Table.from_batches(source.batches(None)).to_pylist()
    return found


def told(path: Path) -> str:
    """The error that loading gives."""
    return refused(path, columns=Columns(input="txt"))


# --- what is read


def test_members_of_one_key_are_one_row_in_the_order_of_the_tar(tmp_path: Path) -> None:
    members = [("d/b.txt", b"x"), ("d/b.cls", b" 1\n"), ("d/a.CLS", b"0"), ("d/a.txt", b"\xc3\xa9")]
    assert rows(put(tmp_path / "a.tar", members)) == [
        {"__key__": "d/b", "txt": "x", "cls": 1},
        {"__key__": "d/a", "txt": "é", "cls": 0},
    ]


def test_the_key_ends_at_the_first_dot_of_the_last_part(tmp_path: Path) -> None:
    members = [("v1.0/a.txt", b"x"), ("v1.0/a.seg.bin", b"\x00"), ("v1.0/a.cls", b"1")]
    assert rows(put(tmp_path / "a.tar", members)) == [
        {"__key__": "v1.0/a", "txt": "x", "seg.bin": b"\x00", "cls": 1}
    ]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp"])
def test_an_image_member_is_the_image_column(tmp_path: Path, suffix: str) -> None:
    members = [
        member
        for i in range(4)
        for member in ((f"{i}.{suffix}", png(PIXELS[i])), (f"{i}.cls", b"%d" % (i % 2)))
    ]
    found = loaded(put(tmp_path / "a.tar", members))
    assert found.inputs is not None
    assert (found.inputs[:] == PIXELS).all()
    assert found.labels.tolist() == [0, 1, 0, 1]
    image = next(opened(tmp_path / "a.tar").batches(["image"])).column(0)[1].as_py()
    assert image == {"bytes": png(PIXELS[1]), "path": f"1.{suffix}"}


def test_the_scalar_fields_of_json_are_columns(tmp_path: Path) -> None:
    fields = {"label": "é", "w": 0.5, "n": 3, "ok": True, "none": None, "list": [1], "o": {"a": 1}}
    members = [("a.txt", b"x"), ("a.json", json.dumps(fields).encode())]
    source = opened(put(tmp_path / "a.tar", members), columns=Columns(input="txt"))
    assert source.schema.names == ["__key__", "txt", "label", "w", "n", "ok", "none"]
    assert [str(t) for t in source.schema.types[2:]] == [
        "string", "double", "int64", "bool", "string",
    ]  # fmt: skip


def test_shards_named_like_splits_are_splits(tmp_path: Path) -> None:
    put(tmp_path / "set-train-000000.tar", texts(0))
    put(tmp_path / "set-train-000001.tar", texts(3))
    put(tmp_path / "set-test-000000.tar", texts(6))
    source = opened(tmp_path, columns=Columns(input="txt"))
    assert source.num_rows == 6
    assert source.test is not None
    assert source.test.num_rows == 3


def test_hidden_members_and_folders_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in [("d/._a.txt", b"\x00"), ("d/a.txt", b"x"), ("d/a.cls", b"1")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert rows(path) == [{"__key__": "d/a", "txt": "x", "cls": 1}]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_unicode_names_are_read(tmp_path: Path, form: int) -> None:
    key = f"{'long/' * 40}数{'é' * 90}"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        for name, data in [(f"{key}.txt", b"x"), (f"{key}.cls", b"1")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert rows(tmp_path / "a.tar")[0]["__key__"] == key


# --- what is refused


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([("9.txt", b"x")], "sample 9 of .*a.tar has no cls"),
        ([("9.txt", b"x"), ("9.cls", b"1"), ("9.npy", b"1")], "sample 9 .* has npy, which the fir"),
        ([("9.txt", b"x"), ("9.cls", b"one")], r"member 9.cls of .*a.tar is not an integer"),
        ([("9.txt", b"x"), ("9.cls", b"1_0")], r"member 9.cls of .*a.tar is not an integer"),
        ([("9.txt", b"x"), ("9.cls", b"9" * 30)], r"member 9.cls of .*a.tar has 999"),
        ([("9.txt", b"\xff"), ("9.cls", b"1")], r"member 9.txt of .*a.tar is not UTF-8 text"),
        ([("9.txt", b"x"), ("9.txt", b"y"), ("9.cls", b"1")], r"has two members 9.txt"),
        ([("1.txt", b"x"), ("1.cls", b"1")], "has members of 1 in two places"),
        ([("README", b"x")], "member README of .*a.tar has no suffix"),
    ],
    ids=["lacks", "more", "cls", "1_0", "big", "txt", "twice", "apart", "no suffix"],
)
def test_a_sample_that_differs_is_named(tmp_path: Path, members: Members, says: str) -> None:
    import re

    assert re.search(says, told(put(tmp_path / "a.tar", [*texts(), *members])))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"label": 1}, "member b.json of .*a.tar has 1 in label, which is string"),
        ({"label": None, "x": 1}, "sample b of .*a.tar has x, which the first one lacks"),
        ({}, "sample b of .*a.tar has no label"),
        (["a"], "member b.json of .*a.tar holds list, not an object"),
    ],
    ids=["type", "new", "missing", "list"],
)
def test_json_that_differs_is_named(tmp_path: Path, value: Any, says: str) -> None:
    import re

    pairs = [("a", {"label": "x"}), ("b", value)]
    members = [
        member
        for key, fields in pairs
        for member in ((f"{key}.txt", b"x"), (f"{key}.json", json.dumps(fields).encode()))
    ]
    assert re.search(says, told(put(tmp_path / "a.tar", members)))


def test_two_members_of_one_column_are_refused(tmp_path: Path) -> None:
    images = [("a.png", png(PIXELS[0])), ("a.jpg", png(PIXELS[0])), ("a.cls", b"1")]
    assert "sample a of" in refused(put(tmp_path / "a.tar", images))
    fields = [("a.txt", b"x"), ("a.json", b'{"txt": "y"}')]
    assert "has two values of txt" in told(put(tmp_path / "a.tar", fields))


def test_an_image_member_that_is_none_is_refused(tmp_path: Path) -> None:
    members = [("a.png", b"GIF89a"), ("a.cls", b"1")]
    assert "member a.png of" in refused(put(tmp_path / "a.tar", members))


def test_a_link_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(info)
    assert "member a.txt of" in told(tmp_path / "a.tar")


@pytest.mark.parametrize("keep", [100, 512, 600, 1024, 1536, 2000, 6 * 1024])
def test_a_truncated_tar_is_refused_and_named_wherever_it_ends(tmp_path: Path, keep: int) -> None:
    path = put(tmp_path / "a.tar", texts())
    assert path.stat().st_size > keep
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} " in told(path)
    assert "cut short" in told(path)


def test_damage_in_the_middle_does_not_end_the_tar_in_silence(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tar", texts())
    data = bytearray(path.read_bytes())
    data[2048:2100] = b"\xff" * 52
    path.write_bytes(data)
    assert "is damaged or has another tar after it" in told(path)


def test_two_tars_in_one_file_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tar", texts())
    path.write_bytes(path.read_bytes() * 2)
    assert "is damaged or has another tar after it" in told(path)


@pytest.mark.parametrize("data", [b"", b"PAR1 and so on" * 100, b"\x1f\x8b\x08" + b"x" * 600])
def test_a_file_that_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    assert "a.tar cannot be read as a tar" in told(tmp_path / "a.tar")


def test_a_tar_without_members_has_no_rows(tmp_path: Path) -> None:
    assert "has no rows" in told(put(tmp_path / "a.tar", []))


def test_another_shard_that_differs_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a.tar", texts())
    put(tmp_path / "b.tar", [("9.txt", b"x")])
    assert f"sample 9 of {tmp_path / 'b.tar'} has no cls" in told(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    put(tmp_path / "train-00000-of-00002.tar", texts())
    assert "shard 00001 is missing" in told(tmp_path)
