"""A folder of images, one folder a class: ROOT/CLASS/x.png or ROOT/SPLIT/CLASS/x.png.

PNG, JPEG and WebP. Rows are sorted by relative path, part by part. Columns are `image`, with the
path relative to the root, and `label`, whose names are the class folders', sorted; the test split
shares those of the split that is scored. The layout with splits is one whose first folders are all
called like splits (train, test, validation, valid, val, dev).

Hidden files and folders (a dot first) and Thumbs.db are ignored. Any other file that is no image,
or lies elsewhere, and a class folder without images are errors: nothing is left out in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import held_out_split, make_source
from dataprune.sources._files import DataFile, contents
from dataprune.sources._formats import format_of, has_suffix
from dataprune.sources._images import (
    HEAD_BYTES,
    IMAGE,
    IMAGE_FEATURE,
    features_metadata,
    in_batches,
    is_image,
)
from dataprune.sources._places import place_of
from dataprune.sources._splits import SPLITS, check_split
from dataprune.tables.manifest import FileEntry

_IGNORED = frozenset({"Thumbs.db"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Image:
    """A file, the split it is of ("" where there are none) and its class."""

    file: DataFile
    split: str
    label: str


def _open(recipe: SourceRecipe) -> Source:
    images = _laid_out(recipe.uri, _find(recipe.uri))
    _refuse_empty_folders(recipe.uri, images)
    splits: dict[str, list[_Image]] = {}
    for image in images:
        splits.setdefault(image.split or recipe.split, []).append(image)
    check_split(recipe.uri, recipe.split, sorted(splits))
    test = held_out_split(recipe, sorted(splits))
    names = sorted({image.label for image in splits[recipe.split]})
    source = _open_split(recipe, recipe.split, splits[recipe.split], names)
    if test is None:
        return source
    if unknown := sorted({image.label for image in splits[test]} - set(names)):
        raise SourceError(
            f"split {test} of {recipe.uri} has a class that {recipe.split} lacks: {unknown[0]}",
            hint="rename or remove the folder, or give that class images to train on",
        )
    return replace(source, test=_open_split(recipe, test, splits[test], names))


def _find(uri: str) -> list[DataFile]:
    place = place_of(uri)
    if place.kind == "file":
        raise SourceError(f"{uri} is one file", hint="name the folder that holds the class folders")
    files = [file for file in place.files() if _base(file.name) not in _IGNORED]
    _refuse([f for f in files if not has_suffix(f.name, "image_folder")], "no PNG, JPEG or WebP")
    if not files:
        raise SourceError(f"there are no images at {uri}")
    return files


def _laid_out(uri: str, files: list[DataFile]) -> list[_Image]:
    """Every file with its split and its class, which its folders name."""
    folders = [file.name.split("/")[:-1] for file in files]
    has_splits = all(parts and parts[0] in SPLITS for parts in folders)
    depth = 2 if has_splits else 1
    layout = f"{uri}/{'SPLIT/' if has_splits else ''}CLASS/NAME"
    _refuse(
        [file for file, parts in zip(files, folders, strict=True) if len(parts) != depth],
        f"not where a class's image lies, {layout}",
    )
    return [
        _Image(file, parts[0] if has_splits else "", parts[-1])
        for file, parts in zip(files, folders, strict=True)
    ]


def _refuse_empty_folders(uri: str, images: list[_Image]) -> None:
    place = place_of(uri)
    if place.kind != "folder":
        return
    used = {image.file.name.rsplit("/", maxsplit=1)[0] for image in images}
    used |= {image.split for image in images}
    if empty := [name for name in place.tree()[1] if name not in used]:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise SourceError(
            f"{uri} has folders without images: {', '.join(empty[:_SHOWN])}{more}",
            hint="put their images in, or remove the folders",
        )


def _open_split(recipe: SourceRecipe, split: str, images: list[_Image], names: list[str]) -> Source:
    features = {"image": IMAGE_FEATURE, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", IMAGE), ("label", pa.int64())], metadata=features_metadata(features)
    )
    index = {name: i for i, name in enumerate(names)}

    def batches(wanted: list[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in in_batches(_rows(images, wanted)):
            table = pa.RecordBatch.from_arrays(
                [
                    pa.array([cell for cell, _ in batch], IMAGE),
                    pa.array([index[label] for _, label in batch], pa.int64()),
                ],
                schema=schema,
            )
            yield table if wanted is None else table.select(wanted)

    return make_source(recipe, "image_folder", split, schema, _entries(images), batches)


def _rows(
    images: list[_Image], wanted: list[str] | None
) -> Iterator[tuple[int, tuple[dict[str, bytes | str] | None, str]]]:
    if wanted is not None and "image" not in wanted:
        yield from ((0, (None, image.label)) for image in images)  # labels alone need no file
        return
    for image, data in zip(images, contents(image.file for image in images), strict=True):
        yield len(data), ({"bytes": data, "path": image.file.name}, image.label)


def _entries(images: list[_Image]) -> list[FileEntry]:
    """Pin every file by its content, and refuse those that are no images."""
    entries, wrong = [], []
    for image, data in zip(images, contents(image.file for image in images), strict=True):
        if not is_image(data[:HEAD_BYTES]):
            wrong.append(image.file)
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append(FileEntry(path=image.file.name, sha256=sha256, bytes=len(data), rows=1))
    _refuse(wrong, "no PNG, JPEG or WebP inside")
    return entries


def _refuse(files: list[DataFile], what: str) -> None:
    if files:
        shown = ", ".join(file.where for file in files[:_SHOWN])
        more = ", ..." if len(files) > _SHOWN else ""
        raise SourceError(
            f"{len(files)} file{'s are' if len(files) > 1 else ' is'} {what}: {shown}{more}",
            hint="move them away or mend them; only hidden files and Thumbs.db are ignored",
        )


def _base(name: str) -> str:
    return name.rsplit("/", maxsplit=1)[-1]


FORMAT = SourceFormat("image_folder", lambda uri: format_of(uri) == "image_folder", _open)
