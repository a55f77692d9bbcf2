"""Which files are read, how they are unpacked, and which are refused with a sentence."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError
from dataprune.trajectories.formats import _files
from dataprune.trajectories.formats._files import chunks_of, file_entries, find_files

Write = Callable[[str, bytes | str], Path]


def _bytes(path: Path) -> bytes:
    [file] = find_files([path])
    with chunks_of(file) as chunks:
        return b"".join(chunks)


def test_folders_are_read_at_any_depth_in_the_order_of_paths(write: Write, tmp_path: Path) -> None:
    for name in ("b/x.jsonl", "a.json", "b/x.parquet", "b/c/z.traj", "README.md", ".hidden.json"):
        write(name, "{}")
    write(".git/config.json", "{}")
    files = find_files([tmp_path])
    assert [f.label for f in files] == ["a.json", "b/c/z.traj", "b/x.jsonl", "b/x.parquet"]
    assert [f.stem for f in files] == ["a", "b/c/z", "b/x.jsonl", "b/x.parquet"]
    assert [f.kind for f in files] == ["json", "json", "lines", "parquet"]


def test_names_are_unique_over_arguments_and_a_file_is_read_once(write: Write) -> None:
    first, second = write("m1/run.jsonl", "{}"), write("m2/run.jsonl", "{}")
    files = find_files([first, second, first.parent])
    assert len(files) == 2
    assert len({f.stem for f in files}) == 2


@pytest.mark.parametrize("suffix", [".gz", ".zst", ""])
def test_packed_files_unpack_to_what_was_packed(suffix: str, write: Write) -> None:
    text = b"\xef\xbb\xbf" + b'{"a": 1}\n' * 300_000
    packed = {
        ".gz": gzip.compress(text[:100]) + gzip.compress(text[100:]),
        ".zst": pa.Codec("zstd").compress(text, asbytes=True),
        "": text,
    }
    assert _bytes(write(f"a.jsonl{suffix}", packed[suffix])) == text[3:]


def test_files_by_content(write: Write) -> None:
    path = write("a.jsonl", "{}\n")
    [entry] = file_entries(find_files([path]), {"a.jsonl": 1})
    assert entry.sha256 == hashlib.sha256(b"{}\n").hexdigest()
    assert (entry.path, entry.bytes, entry.rows) == ("a.jsonl", 3, 1)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl.gz", b"", "is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 9999, mtime=0)[:-20], "cannot be read"),
        ("a.jsonl.gz", b"{}", "cannot be read"),
        ("a.jsonl.zst", b"hello, hello", "cannot be read"),
        ("a.json", '{"a": 1}'.encode("utf-16"), "is no UTF-8"),
        ("a.txt", b"{}", "no suffix"),
        ("a.parquet.gz", b"{}", "no suffix"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    name: str, content: bytes, says: str, write: Write
) -> None:
    with pytest.raises(SourceError, match=says) as told:
        _bytes(write(name, content))
    assert told.value.hint
    assert name in told.value.message


def test_no_such_path_and_no_file_in_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(SourceError, match=path.name) as told:
            find_files([path])
        assert told.value.hint


def test_no_files_are_no_input() -> None:
    with pytest.raises(SourceError, match="no file is named"):
        find_files([])


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files, "_TRUSTED_BYTES", 1 << 20)
    monkeypatch.setattr(_files, "_MOST_UNPACKED", 100)
    with pytest.raises(SourceError, match="more than 100 times"):
        _bytes(write("a.jsonl.gz", gzip.compress(b" " * (8 << 20))))
    lines = "".join(json.dumps({"n": n}) + "\n" for n in range(200_000))
    assert len(_bytes(write("b.jsonl.gz", gzip.compress(lines.encode())))) == len(lines)
