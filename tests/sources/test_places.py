"""Where files lie: folders, globs and URLs; which format they are; and names that trip."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.core.errors import MissingExtraError, SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import FORMATS, open_source
from dataprune.sources._files import DataFile, HashedFile
from dataprune.sources._formats import SUFFIXES, format_of, stem
from dataprune.sources._load import load
from dataprune.sources._places import absolute, is_there
from tests.sources.tables import first_features, numbers, opened, write


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system that is not this machine's; empty before and after."""
    import fsspec

    found = fsspec.filesystem("memory")
    found.store.clear()
    found.pseudo_dirs[:] = [""]
    yield found
    found.store.clear()
    found.pseudo_dirs[:] = [""]


def put(memory: Any, path: str, first: int) -> None:
    """Write two rows of features as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(numbers(first)), buffer)
    memory.pipe(path, buffer.getvalue())


def url(uri: str, **options: Any) -> list[float]:
    """The first feature of every row behind a URL."""
    return first_features(open_source(SourceRecipe(uri=uri, **options)))


# --- URLs


def test_a_url_of_one_file_is_a_source(memory: Any) -> None:
    put(memory, "/box/train.parquet", 3)
    source = open_source(SourceRecipe(uri="memory://box/train.parquet"))
    assert first_features(source) == [3, 4]
    assert [entry.path for entry in source.files] == ["train.parquet"]
    assert source.paths == ()


def test_a_url_of_a_folder_has_splits_and_leaves_hidden_files_out(memory: Any) -> None:
    for name, first in [("data/train-00000-of-00001", 0), ("data/test-00000-of-00001", 9)]:
        put(memory, f"/box/{name}.parquet", first)
    put(memory, "/box/data/.hidden.parquet", 50)
    source = open_source(SourceRecipe(uri="memory://box"))
    assert first_features(source) == [0, 1]
    assert [entry.path for entry in source.files] == ["data/train-00000-of-00001.parquet"]
    assert source.test is not None
    assert first_features(source.test) == [9, 10]


def test_a_url_may_be_a_glob(memory: Any) -> None:
    for name, first in [("b/1", 2), ("a/1", 0), ("a/2", 9), ("a/.1", 50)]:
        put(memory, f"/box/{name}.parquet", first)
    assert url("memory://box/*/1.parquet") == [0, 1, 2, 3]
    assert url("memory://box/a/*.parquet") == [0, 1, 9, 10]


def test_rows_behind_a_url_have_the_fingerprint_that_they_have_here(
    memory: Any, tmp_path: Path
) -> None:
    put(memory, "/box/a.parquet", 0)
    here = write(tmp_path / "a.parquet", numbers(0))
    there = load(open_source(SourceRecipe(uri="memory://box/a.parquet"))).ref
    assert there.fingerprint == load(opened(here)).ref.fingerprint
    assert there.files[0].bytes == len(memory.cat("/box/a.parquet"))


def test_a_file_url_is_a_path_on_this_machine(tmp_path: Path) -> None:
    path = write(tmp_path / "a b" / "train.parquet", numbers(0))
    source = open_source(SourceRecipe(uri=f"file://{path.parent}"))
    assert source.paths == (path,)
    assert source.uri == f"file://{path.parent}"


def test_a_url_that_leads_nowhere_is_told_in_one_sentence(memory: Any) -> None:
    with pytest.raises(SourceError, match="there are no Parquet files at memory://box/gone"):
        url("memory://box/gone.parquet")


def test_a_damaged_file_behind_a_url_is_named(memory: Any) -> None:
    memory.pipe("/box/a.parquet", b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"memory://box/a\.parquet cannot be read as Parquet"):
        url("memory://box/a.parquet")


def test_whatever_a_store_raises_becomes_one_sentence() -> None:
    class Broken:
        def open(self, *_: str) -> None:
            raise RuntimeError("token\nexpired")

    with pytest.raises(SourceError, match="s3://box/a cannot be read: token expired"):
        DataFile("a", "s3://box/a", (Broken(), "box/a")).open()


@pytest.mark.parametrize(
    ("uri", "package"),
    [("gs://box/a.csv", "gcsfs"), ("abfs://box/a.tar", "adlfs")],
)
def test_a_scheme_whose_package_is_missing_names_it(
    monkeypatch: pytest.MonkeyPatch, uri: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # not to be imported, installed or not
    with pytest.raises(MissingExtraError, match=f"needs the package {package}") as caught:
        open_source(SourceRecipe(uri=uri))
    assert caught.value.hint == f"pip install {package}"


def test_a_scheme_there_is_not_is_told() -> None:
    with pytest.raises(SourceError, match=r"foo://box/a\.csv cannot be opened: .*foo"):
        open_source(SourceRecipe(uri="foo://box/a.csv"))


def test_a_urls_query_is_no_part_of_the_name() -> None:
    assert format_of("https://example.org/a/train.csv?download=1") == "csv"


def test_a_question_mark_in_a_files_name_is_part_of_it(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "what?.parquet", numbers(0)))
    assert [entry.path for entry in source.files] == ["what?.parquet"]


def test_what_is_there_is_told_here_and_behind_a_url(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, "/box/a.parquet", 0)
    path = write(tmp_path / "box" / "a.parquet", numbers(0))
    monkeypatch.chdir(tmp_path)
    for root in ("memory://box", str(path.parent), "box", f"file://{path.parent}"):
        assert is_there(root)
        assert is_there(f"{root}/a.parquet")
        assert is_there(f"{root}/*.parquet")
        assert not is_there(f"{root}/gone.parquet")
        assert not is_there(f"{root}/*.csv")


def test_a_url_is_absolute_and_a_path_becomes_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("s3://box/a.parquet") == "s3://box/a.parquet"
    assert absolute("sub/*.parquet") == f"{tmp_path.resolve()}/sub/*.parquet"


# --- which format


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((f"a{suffix}", form) for form, suffixes in SUFFIXES.items() for suffix in suffixes),
        ("A.PARQUET", "parquet"),
        ("a.b.Csv.GZ", "csv"),
    ],
)
def test_a_files_suffix_says_its_format_in_lower_and_upper_case(name: str, form: str) -> None:
    assert format_of(name) == format_of(f"s3://box/{name}") == form
    assert [n for n in FORMATS.names() if FORMATS.get(n).matches(name)] == [form]


@pytest.mark.parametrize("name", ["notes.txt", "a.gz", "a.json", "parquet", ""])
def test_other_names_are_no_files_of_ours(name: str) -> None:
    assert format_of(name) is None


def test_the_digits_stay_the_word_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "digits" / "a.parquet", numbers(0))
    monkeypatch.chdir(tmp_path)
    assert open_source(SourceRecipe(uri="digits")).format == "digits"
    assert open_source(SourceRecipe(uri="./digits")).format == "parquet"


def test_a_folder_that_mixes_formats_names_them(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbers(0))
    (tmp_path / "b.csv").write_text("text,label\nx,1\n")
    with pytest.raises(
        SourceError, match=r"mixes formats: csv \(b.csv\), parquet \(a.pa"
    ) as caught:
        opened(tmp_path)
    assert "set source.format" in str(caught.value.hint)
    assert opened(tmp_path, format="parquet").num_rows == 2
    assert opened(tmp_path, format="csv").num_rows == 1


def test_hidden_files_do_not_make_a_mixture(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", numbers(0))
    (tmp_path / ".b.csv").write_text("text,label\nx,1\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "c.csv").write_text("text,label\nx,1\n")
    assert opened(tmp_path).format == "parquet"


def test_pictures_beside_a_hub_folders_data_are_no_mixture(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00001.parquet", numbers(0))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "plot.png").write_bytes(b"a picture")
    assert opened(tmp_path).format == "parquet"


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="there are no files in the folder"):
        opened(tmp_path / "empty")


def test_a_glob_without_a_suffix_is_what_it_matches(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.parquet", numbers(0))
    assert first_features(opened(tmp_path / "a" / "*")) == [0, 1]
    with pytest.raises(SourceError, match="there are no files at"):
        opened(tmp_path / "b" / "*")


@pytest.mark.parametrize(
    ("name", "want"),
    [("a/train.csv.gz", "train"), ("x.y.tar", "x.y"), ("UP.PNG", "UP"), ("n", "n")],
)
def test_the_stem_is_the_name_without_its_formats_suffix(name: str, want: str) -> None:
    assert stem(name) == want


# --- folders on this machine


def test_a_linked_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a.parquet", numbers(0))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    assert first_features(opened(tmp_path / "set")) == [0, 1]


def test_a_link_to_a_folder_above_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.parquet", numbers(0))
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    with pytest.raises(SourceError, match="loop is a link to a folder that it lies in"):
        opened(tmp_path / "set")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", numbers(0))
    path.rename(tmp_path / os.fsdecode(b"caf\xe9.parquet"))
    with pytest.raises(SourceError, match=r"the name of caf\\xe9\.parquet is not UTF-8"):
        opened(tmp_path)


def test_a_hashed_file_knows_where_its_zeros_begin() -> None:
    hashed = HashedFile(io.BytesIO(b"ab\0\0" + b"c" + b"\0" * 7))
    assert hashed.read(3) == b"ab\0"
    hashed.drain()
    assert (hashed.end, hashed.num_bytes) == (5, 12)
