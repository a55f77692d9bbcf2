"""Folders of images: which folder is the class, and files that are no images."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import open_source
from dataprune.sources._columns import features_of
from tests.conftest import png
from tests.sources.tables import PIXELS, loaded, opened, refused


def put(root: Path, *names: str) -> Path:
    """Write an image, another each time, under every name."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(PIXELS[i % 4]))
    return root


def paths(root: Path, **options: str) -> list[str]:
    """The image paths, in order."""
    table = pa.Table.from_batches(opened(root, **options).batches(["image"]))
    return [row["path"] for row in table.column("image").to_pylist()]


# --- what is read


def test_a_folder_is_a_class_and_rows_are_sorted_by_path_part_by_part(tmp_path: Path) -> None:
    put(tmp_path, "dog/2.png", "cat/10.png", "cat-big/1.png", "cat/9.png", "dog/1.png")
    assert paths(tmp_path) == ["cat/10.png", "cat/9.png", "cat-big/1.png", "dog/1.png", "dog/2.png"]
    found = loaded(tmp_path)
    assert found.ref.class_names == ["cat", "cat-big", "dog"]
    assert found.labels.tolist() == [0, 0, 1, 2, 2]
    assert [entry.path for entry in found.ref.files] == paths(tmp_path)


def test_the_schema_has_the_features_that_datasets_knows(tmp_path: Path) -> None:
    import datasets

    schema = opened(put(tmp_path, "a/1.png", "b/1.png")).schema
    assert datasets.Features.from_arrow_schema(schema) == {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["a", "b"]),
    }
    assert list(features_of(schema)) == ["image", "label"]


def test_names_may_be_in_any_script_and_suffixes_in_any_case(tmp_path: Path) -> None:
    put(tmp_path, "été/数.PNG", "größe/🙂.Jpg", "größe/b.jpeg", "z/c.webp")
    assert loaded(tmp_path).ref.class_names == ["größe", "z", "été"]


def test_splits_are_the_first_folders_if_all_of_them_are_called_so(tmp_path: Path) -> None:
    put(tmp_path, "train/b/1.png", "train/a/1.png", "test/b/1.png", "val/b/1.png")
    found = loaded(tmp_path)
    assert paths(tmp_path) == ["train/a/1.png", "train/b/1.png"]
    assert found.test is not None
    assert found.test.labels.tolist() == [1]
    assert found.test.ref.class_names == ["a", "b"]
    assert paths(tmp_path, split="val") == ["val/b/1.png"]


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "plane/1.png", "data/1.png")
    assert loaded(tmp_path).ref.class_names == ["data", "plane", "train"]


def test_hidden_files_and_thumbs_db_are_ignored(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "a/.hidden.png", ".cache/x.png")
    for name in ("a/Thumbs.db", "Thumbs.db", "b/.DS_Store"):
        (tmp_path / name).write_bytes(b"of the system")
    assert paths(tmp_path) == ["a/1.png", "b/1.png"]


def test_a_glob_reads_the_classes_it_matches(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png", "c/1.jpg")
    assert loaded(tmp_path / "*" / "*.png").ref.class_names == ["a", "b"]


def test_a_folder_behind_a_url_is_read_like_one_here(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    put(tmp_path, "a/1.png", "b/1.png")
    memory.put(str(tmp_path), "/pictures", recursive=True)
    there = open_source(SourceRecipe(uri="memory://pictures"))
    assert there.files == opened(tmp_path).files
    assert list(there.batches(None)) == list(opened(tmp_path).batches(None))
    memory.rm("/pictures/b/1.png")
    with pytest.raises(SourceError, match=r"memory:///?pictures/b/1\.png cannot be read"):
        next(there.batches(None))


def test_labels_alone_are_read_without_the_files(tmp_path: Path) -> None:
    source = opened(put(tmp_path, "a/1.png", "b/1.png"))
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).unlink()
    assert next(source.batches(["label"])).column(0).to_pylist() == [0, 1]
    with pytest.raises(SourceError, match=r"a/1\.png cannot be read"):
        next(source.batches(None))


# --- what is refused


def test_files_that_are_no_images_are_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    for name in ("README.md", "a/notes.txt", "a/2.gif", "b/labels.json"):
        (tmp_path / name).write_bytes(b"text")
    told = refused(tmp_path)
    assert "4 files are no PNG, JPEG or WebP: " in told
    assert f"{tmp_path}/README.md, {tmp_path}/a/2.gif, {tmp_path}/a/notes.txt, ..." in told


@pytest.mark.parametrize("data", [b"", b"GIF89a...", b"RIFF....WAVE", b"<html>"])
def test_a_file_that_is_not_what_its_suffix_says_is_named(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b" / "2.jpg").write_bytes(data)
    assert f"1 file is no PNG, JPEG or WebP inside: {tmp_path}/b/2.jpg" in refused(tmp_path)


def test_a_truncated_image_is_refused_when_it_is_decoded(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "1.png").write_bytes(png(PIXELS[0])[:60])
    assert "hold bytes that are no readable image: 0" in refused(tmp_path)


def test_class_folders_without_images_are_named(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "d").mkdir()
    assert f"{tmp_path} has folders without images: c, d" in refused(tmp_path)


def test_a_split_folder_without_images_is_named(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png")
    (tmp_path / "test" / "a").mkdir(parents=True)
    assert "has folders without images: test, test/a" in refused(tmp_path)


def test_an_unknown_class_in_the_test_split_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png", "test/z/1.png")
    assert "has a class that train lacks: z" in refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["a/1.png", "2.png"], "1 file is not"),
        (["a/1.png", "a/deep/2.png"], "1 file is not"),
        (["train/1.png", "test/2.png"], "2 files are not"),
        (["train/a/1.png", "extra/b/2.png"], "2 files are not"),
        (["train/a/1.png", "a/2.png"], "1 file is not"),
    ],
    ids=["root", "deep", "no classes", "no split", "mixed"],
)
def test_an_image_that_lies_elsewhere_is_refused(
    tmp_path: Path, names: list[str], wrong: str
) -> None:
    told = refused(put(tmp_path, *names))
    assert f"{wrong} where a class's image lies, {tmp_path}/" in told


def test_a_split_there_is_not_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/b/1.png")
    assert "has no split dev" in refused(tmp_path, split="dev")
    assert "has no split dev to hold out" in refused(tmp_path, test_split="dev")


def test_one_image_is_no_source(tmp_path: Path) -> None:
    assert "is one file" in refused(put(tmp_path, "1.png") / "1.png")
    assert "there are no images at" in refused(tmp_path / "gone.png")
