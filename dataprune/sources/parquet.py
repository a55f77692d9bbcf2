"""Parquet files: one file, a glob, or a folder, also one laid out like a Hub dataset."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataprune.core.errors import SourceError
from dataprune.core.files import sha256_file
from dataprune.core.recipe import SourceRecipe
from dataprune.sources import DEFAULT_TEST_SPLIT, Source, SourceFormat
from dataprune.sources._columns import class_names_of, features_of, resolve_columns
from dataprune.tables.manifest import FileEntry

_SHARD = re.compile(r"^(?P<split>\w+(?:\.\w+)*)-(?P<i>\d{5})-of-(?P<n>\d{5})(-[0-9a-f]{16})?$")
_SPLITS = {"train", "test", "validation", "valid", "val", "dev"}
_BATCH_ROWS = 4096


def _matches(uri: str) -> bool:
    return _is_glob(uri) or uri.endswith(".parquet") or Path(uri).is_dir()


def _is_glob(uri: str) -> bool:
    return any(c in uri for c in "*?[") and not Path(uri).exists()


def _open(recipe: SourceRecipe) -> Source:
    splits = _split_files(recipe.uri, recipe.split)
    if recipe.test_split is not None and recipe.test_split not in splits:
        raise SourceError(
            f"source {recipe.uri} has no split {recipe.test_split} to hold out",
            hint=f"set source.test_split to one of {', '.join(sorted(splits))}, or leave it out",
        )
    test, test_split = None, recipe.test_split or DEFAULT_TEST_SPLIT
    if test_split in splits and test_split != recipe.split:
        test = _open_split(recipe, test_split, splits[test_split], None)
    return _open_split(recipe, recipe.split, splits[recipe.split], test)


def _split_files(uri: str, split: str) -> dict[str, list[Path]]:
    """Files per split, in order; a path whose files name no split is all of `split`."""
    paths = _find(uri)
    by_split: dict[str, list[Path]] = {}
    for path in paths:
        by_split.setdefault(_split_of(path, Path(uri)), []).append(path)
    named = sorted(set(by_split) - {""})
    if not named or Path(uri).is_file() or _is_glob(uri):
        return {split: paths}
    if "" in by_split:
        raise SourceError(
            f"{by_split[''][0]} belongs to no split, and other files of {uri} do",
            hint="name one file or a glob, or move the file away",
        )
    if split not in named:
        raise SourceError(
            f"source {uri} has no split {split}",
            hint=f"set source.split; splits: {', '.join(named)}",
        )
    for name in named:
        _check_shards(uri, name, by_split[name])
    return by_split


def _find(uri: str) -> list[Path]:
    path = Path(uri)
    if path.is_file():
        return [path]
    if _is_glob(uri):
        paths = sorted(Path(p) for p in glob.glob(uri, recursive=True))  # noqa: PTH207
    else:
        root = path / "data" if (path / "data").is_dir() else path
        paths = sorted(
            p
            for p in root.rglob("*.parquet")
            if not any(part.startswith((".", "__")) for part in p.relative_to(root).parts)
        )
    if not paths:
        raise SourceError(f"there are no Parquet files at {uri}")
    return paths


def _split_of(path: Path, root: Path) -> str:
    """The split that a file's name says, or the nearest folder's name; "" if none does."""
    if shard := _SHARD.match(path.stem):
        return shard["split"]
    folders = path.relative_to(root).parts[:-1] if root in path.parents else ()
    return next((name for name in (path.stem, *reversed(folders)) if name in _SPLITS), "")


def _check_shards(uri: str, split: str, paths: list[Path]) -> None:
    shards = [m for p in paths if (m := _SHARD.match(p.stem))]
    if not shards:
        return
    have = {int(m["i"]) for m in shards}
    missing = sorted(set(range(int(shards[0]["n"]))) - have)
    if missing or len({m["n"] for m in shards}) > 1 or len(have) != len(shards):
        problem = f"shard {missing[0]:05d} is missing" if missing else "shards of several sets mix"
        raise SourceError(f"split {split} of {uri} is not whole: {problem}")


def _open_split(recipe: SourceRecipe, split: str, paths: list[Path], test: Source | None) -> Source:
    schema: pa.Schema | None = None
    entries = []
    for path in paths:
        found, rows = _inspect(path)
        if schema is not None and features_of(found) != features_of(schema):
            raise SourceError(f"{path} declares other features or class names than {paths[0]}")
        if schema is not None and not found.equals(schema):
            raise SourceError(
                f"{path} has other columns than {paths[0]}: {_difference(schema, found)}"
            )
        schema = schema or found
        name = path.name if path == Path(recipe.uri) else _relative(path, recipe.uri)
        entries.append(
            FileEntry(path=name, sha256=sha256_file(path), bytes=path.stat().st_size, rows=rows)
        )
    assert schema is not None
    if not any(entry.rows for entry in entries):
        raise SourceError(f"split {split} of {recipe.uri} has no rows")
    columns, kind = resolve_columns(schema, recipe.columns, uri=recipe.uri)
    assert columns.label is not None

    def batches(names: list[str] | None) -> Iterator[pa.RecordBatch]:
        for path in paths:
            yield from _read(path, names)

    return Source(
        uri=recipe.uri,
        format="parquet",
        split=split,
        columns=columns,
        kind=kind,
        class_names=class_names_of(schema, columns.label),
        files=tuple(entries),
        paths=tuple(paths),
        schema=schema,
        num_rows=sum(entry.rows or 0 for entry in entries),
        batches=batches,
        test=test,
    )


def _relative(path: Path, uri: str) -> str:
    root = Path(uri)
    return path.relative_to(root).as_posix() if root in path.parents else path.as_posix()


def _difference(a: pa.Schema, b: pa.Schema) -> str:
    for field in a:
        if field.name not in b.names:
            return f"{field.name} is missing"
        if b.field(field.name).type != field.type:
            return f"{field.name} is {b.field(field.name).type}, not {field.type}"
    return f"{', '.join(n for n in b.names if n not in a.names)} is new"


def _inspect(path: Path) -> tuple[pa.Schema, int]:
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as exc:
        raise SourceError(f"{path} cannot be read as Parquet: {_one_line(exc)}") from exc


def _read(path: Path, names: list[str] | None) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=names)
    except (pa.ArrowInvalid, OSError) as exc:
        raise SourceError(f"{path} cannot be read: {_one_line(exc)}") from exc


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


FORMAT = SourceFormat("parquet", _matches, _open)
