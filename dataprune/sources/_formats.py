"""Which format a uri is: decided in one place, so that no two formats claim the same data.

A name's suffix says it. A folder is what it holds: a marker file first (what `save_to_disk`
writes), else the suffixes of its data files, which must all be of one format.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataprune.core.errors import SourceError
from dataprune.sources._files import DataFile
from dataprune.sources._places import Place, is_hidden, is_url, place_of, without_query

SUFFIXES: dict[str, tuple[str, ...]] = {
    "arrow": (".arrow", ".feather"),
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
    "image_folder": (".png", ".jpg", ".jpeg", ".webp"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "parquet": (".parquet",),
    "webdataset": (".tar",),
}
SAVED_SPLITS = "dataset_dict.json"
SAVED = "state.json"
_WORDS = frozenset({"digits"})  # uris that name no place
_HUB = "hf://datasets/"
_DATA = "data"  # where a Hub dataset's folder keeps its files


def format_of(uri: str) -> str | None:
    """Name of the file format that a uri is; None if none of ours.

    Raises:
        SourceError: a folder that is empty or mixes formats, or a glob that matches nothing.
        MissingExtraError: it takes a look behind a URL, and its package is not installed.
    """
    if uri in _WORDS:
        return None
    if uri.startswith(_HUB):
        return "hub"
    if is_url(uri) and (by_name := _of_name(without_query(uri))):
        return by_name  # without a look: it may be far away
    place = place_of(uri)
    if place.kind == "folder":
        return _of_folder(place)
    if by_name := _of_name(place.path):
        return by_name
    if place.kind != "glob":
        return None
    files = place.files()
    if not files:
        raise SourceError(f"there are no files at {uri}")
    return _one_of(uri, (file.name for file in files))


def has_suffix(name: str, format_name: str) -> bool:
    """Whether a file's name ends like those of a format, in lower or upper case."""
    return name.lower().endswith(SUFFIXES[format_name])


def stem(name: str) -> str:
    """A file's name without its folders and without the suffix that says its format."""
    base = name.rsplit("/", maxsplit=1)[-1]
    known = [s for suffixes in SUFFIXES.values() for s in suffixes if base.lower().endswith(s)]
    cut = max(map(len, known), default=0)
    return base[:-cut] if cut else base.rsplit(".", maxsplit=1)[0]


def data_files(place: Place, format_name: str) -> list[DataFile]:
    """The files of a format that a place names, in order.

    A folder that has a folder `data` is read from there, as on the Hub. In a folder only files
    with the format's suffix count, and none in a folder whose name begins with `__`.

    Raises:
        SourceError: there are none.
    """
    files = place.files()
    if place.kind == "folder":
        files = [f for f in files if has_suffix(f.name, format_name)]
        kept = set(_in_data_folder(f.name for f in files))
        files = [f for f in files if f.name in kept]
    if not files:
        words = {"csv": "CSV", "jsonl": "JSON Lines", "webdataset": "tar"}
        word = words.get(format_name, format_name.capitalize())
        raise SourceError(f"there are no {word} files at {place.uri}")
    return files


def _of_name(name: str) -> str | None:
    return next((n for n in SUFFIXES if has_suffix(name, n)), None)


def _of_folder(place: Place) -> str | None:
    files = place.tree()[0]
    if not files:
        raise SourceError(f"there are no files in the folder {place.uri}")
    if SAVED_SPLITS in files or SAVED in files:
        return "saved_dataset"
    tabular = [n for n in files if _of_name(n) not in {None, "image_folder"}]
    tabular = _in_data_folder(tabular)
    if tabular and tabular[0].startswith(f"{_DATA}/"):
        return _one_of(place.uri, tabular)  # pictures beside a Hub dataset's data illustrate it
    images = [n for n in files if has_suffix(n, "image_folder")]
    return _one_of(place.uri, [*tabular, *images])


def _in_data_folder(names: Iterable[str]) -> list[str]:
    visible = [name for name in names if not is_hidden(name, "__")]
    return [name for name in visible if name.startswith(f"{_DATA}/")] or visible


def _one_of(uri: str, names: Iterable[str]) -> str | None:
    first: dict[str, str] = {}
    for name in names:
        found = _of_name(name)
        if found is not None:
            first.setdefault(found, name)
    if len(first) > 1:
        told = ", ".join(f"{form} ({name})" for form, name in sorted(first.items()))
        raise SourceError(
            f"{uri} mixes formats: {told}",
            hint="set source.format to the one to read, or name the files with a glob",
        )
    return next(iter(first), None)
