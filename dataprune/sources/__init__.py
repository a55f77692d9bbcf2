"""Sources: datasets at a pinned revision, with a fixed row order. One format a file.

A format module defines `FORMAT`: a `SourceFormat` that says whether a uri is its own and opens it.
Opening reads schemas and hashes files; `load` (in `_load`) decodes, hashes and fingerprints the
examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Columns, SourceRecipe
from dataprune.core.registry import Registry
from dataprune.sources._formats import format_of
from dataprune.tables.manifest import FileEntry

Kind = Literal["image", "features", "text"]
DEFAULT_TEST_SPLIT = "test"
DATA_VARIABLE = "DATAPRUNE_DATA"


@dataclass(frozen=True)
class Source:
    """An opened source: what it is and how to read its rows.

    columns: which columns play which part; the label is None where the source has none.
    class_names: names of the label's classes if the schema gives them, else None until loaded.
    files: the files behind it, in order; empty where there are none.
    paths: those of them that are Parquet files on this machine; empty for every other format.
    schema: every column, with the schema metadata as found (the `huggingface` key).
    batches: reads record batches in source order; None reads every column.
    file_batches: reads every column of one of `files`, by its place; None where files are not read
        one by one.
    piece_rows: rows of a file that come in several batches and are one piece to a writer, so that
        how much is read at a time changes no file; None where every batch is a piece.
    license: as the source states it.
    private: whether it is shown to some only; None where that is not known.
    test: the held-out split, if the source has one.
    """

    uri: str
    format: str
    split: str
    columns: Columns
    kind: Kind
    class_names: list[str] | None
    files: tuple[FileEntry, ...]
    paths: tuple[Path, ...]
    schema: pa.Schema
    num_rows: int
    batches: Callable[[list[str] | None], Iterator[pa.RecordBatch]]
    file_batches: Callable[[int], Iterator[pa.RecordBatch]] | None = None
    piece_rows: int | None = None
    license: str | None = None
    private: bool | None = None
    test: Source | None = None


@dataclass(frozen=True)
class SourceFormat:
    """One way a dataset can be stored.

    matches: whether a uri looks like this format.
    open: opens it; `recipe.uri` is already expanded.
    """

    name: str
    matches: Callable[[str], bool]
    open: Callable[[SourceRecipe], Source]


FORMATS: Registry[SourceFormat] = Registry("dataprune.sources", "FORMAT", "source format")


def open_source(recipe: SourceRecipe) -> Source:
    """Open the source a recipe names.

    Raises:
        UsageError: no format takes the uri, or DATAPRUNE_DATA is needed and not set.
        SourceError: the data is not there, not readable, or has no rows.
    """
    expanded = recipe.model_copy(update={"uri": expand(recipe.uri)})
    return _format_of(expanded).open(expanded)


def _format_of(recipe: SourceRecipe) -> SourceFormat:
    if recipe.format is not None:
        return FORMATS.get(recipe.format)
    if (known := format_of(recipe.uri)) is not None:  # ours, in one look at what is there
        return FORMATS.get(known)
    for name in FORMATS.names():
        source_format = FORMATS.get(name)
        if source_format.matches(recipe.uri):
            return source_format
    there = Path(recipe.uri).exists()
    problem = (
        "is of no format that is known"
        if there
        else "is neither a known source nor a path that exists"
    )
    raise UsageError(
        f"{recipe.uri} {problem}",
        hint=f"formats: {', '.join(FORMATS.names())}; set source.format if it is one of them",
    )


def expand(uri: str) -> str:
    """A uri with $DATAPRUNE_DATA put in.

    Raises:
        UsageError: it is needed and not set.
    """
    if f"${DATA_VARIABLE}" not in uri:
        return uri
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise UsageError(
            f"the source is {uri} and {DATA_VARIABLE} is not set",
            hint=f"set {DATA_VARIABLE}, or name the data with --source PATH",
        )
    return uri.replace(f"${DATA_VARIABLE}", folder.rstrip("/"))
