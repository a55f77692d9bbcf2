"""From files to an opened source: what every format that is made of files has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import DEFAULT_TEST_SPLIT, Source
from dataprune.sources._columns import class_names_of, features_of, resolve_columns
from dataprune.sources._files import DataFile
from dataprune.sources._formats import data_files
from dataprune.sources._places import place_of
from dataprune.sources._splits import split_files
from dataprune.tables.manifest import FileEntry

Batches = Callable[[list[str] | None], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class FileFormat:
    """How one kind of file is read.

    inspect: a file's schema and its entry, with its rows counted; takes the schema that files
        before it have settled, or None.
    read: its record batches, with the settled schema; None reads every column.
    infers: the schema is not in the file: the first one that has rows settles it for the whole
        source, its test split too.
    parquet: whether its files on this machine are a source's `paths`.
    piece_rows: as a source has it.
    """

    name: str
    inspect: Callable[[DataFile, pa.Schema | None], tuple[pa.Schema, FileEntry]]
    read: Callable[[DataFile, pa.Schema, list[str] | None], Iterator[pa.RecordBatch]]
    infers: bool = False
    parquet: bool = False
    piece_rows: int | None = None


def open_files(recipe: SourceRecipe, form: FileFormat) -> Source:
    """Open a file, a folder or a glob of one format, with its test split if it has one.

    Raises:
        SourceError: no files, files that are not whole, unreadable, or not alike; no rows.
    """
    place = place_of(recipe.uri)
    files = data_files(place, form.name)
    splits = split_files(recipe.uri, recipe.split, files, folder=place.kind == "folder")
    return open_splits(recipe, form, splits)


def open_splits(
    recipe: SourceRecipe, form: FileFormat, splits: dict[str, list[DataFile]]
) -> Source:
    """Open the split that a recipe asks for, and the one to hold out."""
    train = _open_split(recipe, form, recipe.split, splits[recipe.split], None)
    test = held_out_split(recipe, sorted(splits))
    if test is None:
        return train
    settled = train.schema if form.infers else None
    return replace(train, test=_open_split(recipe, form, test, splits[test], settled))


def held_out_split(recipe: SourceRecipe, there: list[str]) -> str | None:
    """The split to hold out: the recipe's, or the usual one if it is there.

    Raises:
        SourceError: the recipe names one that is not there.
    """
    if recipe.test_split is not None and recipe.test_split not in there:
        raise SourceError(
            f"source {recipe.uri} has no split {recipe.test_split} to hold out",
            hint=f"set source.test_split to one of {', '.join(there)}, or leave it out",
        )
    name = recipe.test_split or DEFAULT_TEST_SPLIT
    return name if name in there and name != recipe.split else None


def make_source(
    recipe: SourceRecipe,
    form: str,
    split: str,
    schema: pa.Schema,
    entries: list[FileEntry],
    batches: Batches,
) -> Source:
    """A source of which everything is known but the part each column plays.

    Raises:
        SourceError: it has no rows, two columns of one name, or columns that cannot be settled.
    """
    if twice := sorted(n for n, times in Counter(schema.names).items() if times > 1):
        raise SourceError(f"{recipe.uri} has more than one column named {twice[0]}")
    num_rows = sum(entry.rows or 0 for entry in entries)
    if num_rows == 0:
        raise SourceError(f"split {split} of {recipe.uri} has no rows")
    columns, kind = resolve_columns(schema, recipe.columns, uri=recipe.uri)
    return Source(
        uri=recipe.uri,
        format=form,
        split=split,
        columns=columns,
        kind=kind,
        class_names=class_names_of(schema, columns.label),
        files=tuple(entries),
        paths=(),
        schema=schema,
        num_rows=num_rows,
        batches=batches,
    )


def _open_split(
    recipe: SourceRecipe,
    form: FileFormat,
    split: str,
    files: list[DataFile],
    settled: pa.Schema | None,
) -> Source:
    schema, entries = settled, []
    like = "the training split" if settled is not None else files[0].where
    for file in files:
        found, entry = form.inspect(file, schema if form.infers else None)
        entries.append(entry)
        if form.infers and not entry.rows and schema is None:
            continue  # nothing to settle the types by
        if schema is None:
            schema, like = found, file.where
        _check_alike(schema, found, like, file.where)
    if schema is None:
        raise SourceError(f"split {split} of {recipe.uri} has no rows")
    whole = schema

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from form.read(file, whole, names)

    source = make_source(recipe, form.name, split, whole, entries, batches)
    paths = tuple(file.path for file in files if file.path is not None) if form.parquet else ()
    return replace(
        source,
        paths=paths,
        file_batches=lambda at: form.read(files[at], whole, None),
        piece_rows=form.piece_rows,
    )


def _check_alike(schema: pa.Schema, found: pa.Schema, like: str, where: str) -> None:
    if features_of(found) != features_of(schema):
        raise SourceError(f"{where} declares other features or class names than {like}")
    if not found.equals(schema):
        raise SourceError(f"{where} has other columns than {like}: {_difference(schema, found)}")


def _difference(a: pa.Schema, b: pa.Schema) -> str:
    for field in a:
        if field.name not in b.names:
            return f"{field.name} is missing"
        if b.field(field.name).type != field.type:
            return f"{field.name} is {b.field(field.name).type}, not {field.type}"
    new = [name for name in b.names if name not in a.names]
    return f"{', '.join(new)} is new" if new else "their order differs"
