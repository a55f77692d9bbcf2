"""Folders that Hugging Face `datasets` wrote with `save_to_disk`: one dataset, or one a split.

A dataset is a folder with state.json, which names its Arrow files in order; a dictionary of them
has dataset_dict.json, which names the splits, each a folder. Features (Image, ClassLabel) are in
the files' schemas. A lone dataset names no split: it is all of `source.split`.
"""

from __future__ import annotations

import json
from typing import Any

from dataprune.core.errors import SourceError
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import Source, SourceFormat
from dataprune.sources._assemble import FileFormat, held_out_split, open_splits
from dataprune.sources._files import DataFile
from dataprune.sources._formats import SAVED, SAVED_SPLITS, format_of
from dataprune.sources._ipc import inspect_ipc, read_ipc
from dataprune.sources._places import Place, place_of
from dataprune.sources._splits import check_split


def _open(recipe: SourceRecipe) -> Source:
    place = place_of(recipe.uri)
    there = set(place.tree()[0]) if place.kind == "folder" else set()
    if not there & {SAVED, SAVED_SPLITS}:
        raise SourceError(
            f"{recipe.uri} holds no dataset that save_to_disk wrote: no {SAVED}, no {SAVED_SPLITS}"
        )
    is_split = SAVED_SPLITS in there
    names = _splits(place.file(SAVED_SPLITS)) if is_split else [recipe.split]
    check_split(recipe.uri, recipe.split, names)
    wanted = (recipe.split, held_out_split(recipe, sorted(names)))
    splits = {
        name: _files(place, f"{name}/" if is_split else "", there)
        for name in wanted
        if name is not None
    }
    return open_splits(recipe, FileFormat("saved_dataset", inspect_ipc, read_ipc), splits)


def _splits(file: DataFile) -> list[str]:
    return [str(name) for name in _list(_json(file), "splits", file)]


def _files(place: Place, prefix: str, there: set[str]) -> list[DataFile]:
    """A dataset's Arrow files, in the order that its state names them."""
    if f"{prefix}{SAVED}" not in there:
        raise SourceError(f"{place.uri} is not whole: {prefix}{SAVED} is missing")
    state_file = place.file(f"{prefix}{SAVED}")
    state = _json(state_file)
    if state.get("_indices_data_files"):
        raise SourceError(
            f"{state_file.where} is of an older datasets, which saved a selection as indices",
            hint="save it again: datasets.load_from_disk, flatten_indices, save_to_disk",
        )
    entries = _list(state, "_data_files", state_file)
    names = [prefix + str(e.get("filename")) for e in entries if isinstance(e, dict)]
    if missing := [name for name in names if name not in there]:
        raise SourceError(f"{place.uri} is not whole: {missing[0]} is missing")
    if not names:
        raise SourceError(f"{state_file.where} names no data files")
    return [place.file(name) for name in names]


def _json(file: DataFile) -> dict[str, Any]:
    with file.reading(), file.open() as opened:
        raw = opened.read()
    try:
        value = json.loads(raw)
    except ValueError as exc:
        raise SourceError(f"{file.where} is not valid JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise SourceError(f"{file.where} holds {type(value).__name__}, not an object")
    return value


def _list(value: dict[str, Any], key: str, file: DataFile) -> list[Any]:
    found = value.get(key)
    if not isinstance(found, list):
        raise SourceError(f"{file.where} has no list {key}, which save_to_disk writes")
    return found


FORMAT = SourceFormat("saved_dataset", lambda uri: format_of(uri) == "saved_dataset", _open)
