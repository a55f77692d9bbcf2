"""What the tests of the Hub source let a client's process do; its cache is a folder of the test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from dataprune.core.recipe import Columns, SourceRecipe, parse_recipe
from dataprune.sources import Source, _hub, open_source
from dataprune.sources._load import Loaded, load
from dataprune.versions.load import LoadedVersion, load_version
from dataprune.versions.store import LocalStore
from dataprune.versions.write import kept_table

_hub.wait_s = 0.01  # its patience, and nothing of what it asks


def use_home(folder: str) -> None:
    """Keep what comes from the Hub in a folder, from now on."""
    constants.HF_HOME = folder
    constants.HF_HUB_CACHE = f"{folder}/hub"


def upload(repo: str, folder: str, *, deleted: Sequence[str] = (), **options: Any) -> str:
    """One commit of every file in a folder, to a repository that may not be there yet."""
    api = HfApi()
    api.create_repo(repo, repo_type="dataset", exist_ok=True, **options)
    root = Path(folder)
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    added = [CommitOperationAdd(path.relative_to(root).as_posix(), path) for path in files]
    gone = [CommitOperationDelete(path) for path in deleted]
    done = api.create_commit(repo, [*added, *gone], repo_type="dataset", commit_message="files")
    return str(done.oid)


def opened(uri: str, **options: Any) -> dict[str, Any]:
    """What opening a uri settles."""
    return _told(_open(uri, **options))


def loaded(uri: str, **options: Any) -> dict[str, Any]:
    """What loading a uri gives: fingerprints and content hashes."""
    found = load(_open(uri, **options))
    return {**_hashes(found), "test": _hashes(found.test) if found.test else None}


def write_rows(uri: str, path: str, names: list[str] | None = None, **options: Any) -> str:
    """Write the rows that a uri gives to an Arrow file; the pinned uri."""
    source = _open(uri, **options)
    _write(path, pa.Table.from_batches(source.batches(names)))
    return source.uri


def rows_twice(uri: str, path: str) -> None:
    """Open a uri once and write its rows as read first, beside another reader, and by files."""
    source = _open(uri)
    one, other = source.batches(None), source.batches(None)
    first = [next(one), next(other)]
    assert first[0].equals(first[1])
    _write(f"{path}-one", pa.Table.from_batches([first[0], *one]))
    _write(f"{path}-other", pa.Table.from_batches([first[1], *other]))
    assert source.file_batches is not None
    by_file = [b for at in range(len(source.files)) for b in source.file_batches(at)]
    _write(f"{path}-files", pa.Table.from_batches(by_file))
    keep = np.arange(source.num_rows) % 3 != 1
    _write(f"{path}-kept", kept_table(source, keep))


def make_view(uri: str, folder: str, keep: float = 0.5, **source: Any) -> dict[str, Any]:
    """Score a uri at random and keep a part of its rows as a view."""
    from dataprune import flow

    recipe = {
        "name": "seen",
        "source": {"uri": uri, **source},
        "scores": {"names": ["random"]},
        "seeds": 1,
    }
    work = Path(folder)
    table = flow.score(parse_recipe(recipe, where="tests"), work=work / "work").path
    flow.prune(table, keep=keep, name="seen", store=work / "store", tag="v1", view=True)
    version = _version(folder, None)
    return {"rows": version.rows.tolist(), "uri": version.manifest.source.uri}


def write_view(folder: str, path: str, source: str | None = None) -> list[int]:
    """Load the view, write its rows to an Arrow file; their places in the source."""
    version = _version(folder, source)
    _write(path, version.arrow().to_table())
    return [int(row) for row in version.rows]


def _version(folder: str, source: str | None) -> LoadedVersion:
    return load_version(LocalStore(Path(folder) / "store"), "seen", "v1", source_uri=source)


def _write(path: str, table: pa.Table) -> None:
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def _open(uri: str, *, token: str | None = None, **options: Any) -> Source:
    if "columns" in options:
        options["columns"] = Columns(**options["columns"])
    with _token(token):
        return open_source(SourceRecipe(uri=uri, **options))


@contextlib.contextmanager
def _token(token: str | None) -> Iterator[None]:
    """Another token for a while; the empty one for none at all, None for the one there is."""
    before = os.environ.get("HF_TOKEN", "")
    if token is not None:
        os.environ["HF_TOKEN"] = token
    try:
        yield
    finally:
        os.environ["HF_TOKEN"] = before


def _told(source: Source) -> dict[str, Any]:
    return {
        "uri": source.uri,
        "format": source.format,
        "split": source.split,
        "num_rows": source.num_rows,
        "kind": source.kind,
        "columns": source.columns.model_dump(),
        "class_names": source.class_names,
        "license": source.license,
        "paths": len(source.paths),
        "files": [entry.model_dump() for entry in source.files],
        "test": _told(source.test) if source.test else None,
    }


def _hashes(found: Loaded) -> dict[str, Any]:
    return {
        "ref": found.ref.model_dump(mode="json"),
        "fingerprint": found.ref.fingerprint,
        "hashes": [int(value) for value in found.hashes],
    }
