"""What these tests let a client's process do: publish, load and manage, with short pauses."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pyarrow.parquet as pq
from huggingface_hub import HfApi, constants, snapshot_download

import dataprune
from dataprune.cli import cli
from dataprune.cli.errors import run_and_exit
from dataprune.core.recipe import parse_recipe
from dataprune.publishing import found, manage, publisher
from dataprune.sources import _hub
from dataprune.tables.lock import Pin, write_pin
from dataprune.versions.load import LoadedVersion
from tests.versions.conftest import animals

# The patience of the client's side: what it asks for stays the same.
_hub.wait_s = 0.005
_hub._MAX_WAIT_S = 0.02
_hub._READ_S = 1.0
datasets.disable_progress_bars()


def command(line: list[str], folder: str) -> dict[str, Any]:
    """Run `dataprune ARGS` in a folder: its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            run_and_exit(cli, line)
        except SystemExit as exc:
            return {"code": exc.code, "out": out.getvalue(), "err": err.getvalue()}


def publish(store: str, name: str, tag: str, repo: str, **options: Any) -> dict[str, Any]:
    """Publish a version; what the caller gets."""
    return dict(vars(dataprune.publish(name, tag, to=repo, store=store, **options)))


def load(repo: str, tag: str, *, fresh: bool = False, **options: Any) -> dict[str, Any]:
    """Load a version and describe it by its content."""
    if fresh:
        forget()
    with _Heard() as said:
        version = dataprune.load(repo, tag, **options)
    return {**described(version), "said": said.lines}


def described(version: LoadedVersion) -> dict[str, Any]:
    """A version by its rows."""
    rows = version.arrow().to_table()
    return {
        "tag": version.tag,
        "commit": version.commit,
        "rows": rows_sha256(rows.to_pylist()),
        "num_rows": len(rows),
        "kept": version.rows.tolist(),
    }


def rows_sha256(rows: list[dict[str, Any]]) -> str:
    """A hash of rows, whatever they were read with."""
    return hashlib.sha256(repr([sorted(row.items()) for row in rows]).encode()).hexdigest()


class _Heard(logging.Handler):
    """What dataprune says while it works, from warnings up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> _Heard:
        logging.getLogger("dataprune").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("dataprune").removeHandler(self)


def set_token(token: str) -> None:
    """Act as somebody else; "" for nobody."""
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token


def set_offline(on: bool) -> None:  # noqa: FBT001 - a JSON call
    """Leave the Hub alone, as HF_HUB_OFFLINE=1 does."""
    constants.HF_HUB_OFFLINE = on
    datasets.config.HF_HUB_OFFLINE = on


def forget() -> None:
    """Empty the client's caches, as on a new machine."""
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    shutil.rmtree(datasets.config.HF_DATASETS_CACHE, ignore_errors=True)


def plain_datasets(repo: str, tag: str, config: str = "default") -> dict[str, Any]:
    """What `datasets.load_dataset` makes of a version."""
    forget()
    found = datasets.load_dataset(repo, config, revision=tag, split="train")
    features = {name: type(feature).__name__ for name, feature in found.features.items()}
    names = {n: f.names for n, f in found.features.items() if isinstance(f, datasets.ClassLabel)}
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(name, datasets.Image(decode=False))
    rows = found.with_format("arrow")[:].to_pylist()
    return {
        "features": features,
        "class_names": names,
        "rows": rows_sha256(rows),
        "num_rows": len(rows),
    }


def streamed(repo: str, tag: str) -> int:
    """How many rows streaming gives."""
    return sum(1 for _ in datasets.load_dataset(repo, revision=tag, split="train", streaming=True))


def plain_polars(repo: str, tag: str) -> dict[str, Any]:
    """What polars reads from the snapshot."""
    folder = snapshot_download(repo, repo_type="dataset", revision=tag)
    frame = pl.read_parquet(f"{folder}/data/*.parquet")
    return {"rows": rows_sha256(frame.to_dicts()), "num_rows": len(frame)}


def rollback(repo: str, tag: str, new: str = "auto") -> dict[str, Any]:
    """Roll back."""
    return dict(vars(manage.rollback(repo, tag, new)))


def materialize(repo: str, tag: str, new: str = "auto") -> dict[str, Any]:
    """Give a view rows."""
    return dict(vars(manage.materialize(repo, tag, new)))


def retract(repo: str, tag: str, rows: list[int], reason: str = "asked to") -> dict[str, Any]:
    """Take rows out."""
    done = manage.retract(repo, tag, rows, reason=reason)
    return {**vars(done), "published": vars(done.published)}


def lock_many(lock: str, first: int, count: int) -> None:
    """Write pins of many versions."""
    for i in range(first, first + count):
        pin = Pin(repo="a/b", asked=f"v{i}", tag=f"v{i}", commit="0" * 40, manifest_sha256="0" * 64)
        write_pin(Path(lock), pin)


def forge(repo: str, commit: str, changes: dict[str, Any]) -> str:
    """Commit a version's manifest with changes, as only a forger would."""
    manifest = json.loads(_hub.fetch(repo, commit, ".dataprune/manifest.json").read_text())
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place = manifest
        for part in path:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return commit_files(repo, {".dataprune/manifest.json": json.dumps(manifest)})


def publish_changed(store: str, name: str, tag: str, repo: str) -> None:
    """Publish a version of which a file changes between its proof and its sending."""
    version = dataprune.load(name, tag, store=store)
    path = version.folder / "decisions.parquet"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))
    publisher.publish_version(version, repo)


def yank(repo: str, tag: str, **options: Any) -> None:
    """Mark a version."""
    with warnings.catch_warnings():  # the client's, of a card without metadata
        warnings.simplefilter("ignore")
        manage.yank(repo, tag, **options)


def unyank(repo: str, tag: str) -> None:
    """Take the mark off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manage.unyank(repo, tag)


def promote(repo: str, tag: str, alias: str) -> str:
    """Set an alias."""
    return manage.promote(repo, tag, alias)


def listed(repo: str) -> dict[str, Any]:
    """What a repository holds."""
    listing = found.list_published(repo)
    tags = [version.manifest.version for version in listing.versions]
    marks = {tag: mark.model_dump(exclude_defaults=True) for tag, mark in listing.yanked.items()}
    return {"tags": tags, "yanked": marks, "aliases": listing.aliases}


def prune(scores: str, **options: Any) -> dict[str, Any]:
    """Prune, and push if asked."""
    made = dataprune.prune(scores, **options)
    sent = [dict(vars(p)) for p in made.published]
    return {"tag": made.tag, "created": made.created, "published": sent}


def commit_files(repo: str, files: dict[str, str], deleted: list[str] | None = None) -> str:
    """Commit texts by hand, as a person may."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(p, text.encode()) for p, text in files.items()]
    operations += [CommitOperationDelete(path) for path in deleted or []]
    made = HfApi().create_commit(repo, operations, commit_message="by hand", repo_type="dataset")
    return str(made.oid)


def create_repo(repo: str, **options: Any) -> None:
    """Make an empty repository."""
    HfApi().create_repo(repo, repo_type="dataset", **options)


def commit_bytes(repo: str, path: str, text: str) -> None:
    """Commit a text as it is, whatever the client thinks of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        commit_files(repo, {path: text})


def publish_dataset(repo: str, num_rows: int, *, private: bool = False) -> None:
    """A dataset as others have it: two shards and a card with a licence."""
    from huggingface_hub import CommitOperationAdd

    table = animals(num_rows)
    halves = (table.slice(0, num_rows // 2), table.slice(num_rows // 2))
    operations = [CommitOperationAdd("README.md", b"---\nlicense: cc-by-4.0\n---\n# Base\n")]
    for i, part in enumerate(halves):
        buffer = io.BytesIO()
        pq.write_table(part, buffer)
        path = f"data/train-{i:05d}-of-00002.parquet"
        operations.append(CommitOperationAdd(path, buffer.getvalue()))
    create_repo(repo, private=private)
    HfApi().create_commit(repo, operations, commit_message="data", repo_type="dataset")


def delete_repo(repo: str) -> None:
    """Delete a repository."""
    HfApi().delete_repo(repo, repo_type="dataset")


def score_and_prune(
    uri: str, folder: str, *, keep: int = 10, key: str | None = "key", view: bool = True
) -> dict[str, Any]:
    """Score a source by random draws, and build v1 with rows and v2 as a view."""
    recipe = {
        "name": "base",
        "source": {"uri": uri, "columns": {"key": key}},
        "scores": {"names": ["random"]},
        "seeds": 1,
    }
    parsed = parse_recipe(recipe, where="tests")
    scored = dataprune.score(parsed, work=f"{folder}/work", out=f"{folder}/scores.parquet")
    asked: dict[str, Any] = {"name": "base", "keep": keep, "store": f"{folder}/store"}
    dataprune.prune(scored.path, tag="v1", **asked)
    if view:
        dataprune.prune(scored.path, tag="v2", view=True, **asked)
    return {"uri": scored.source.uri}


def move_tag(repo: str, tag: str, to: str) -> None:
    """Move a tag, as nobody should."""
    HfApi().delete_tag(repo, tag=tag, repo_type="dataset")
    HfApi().create_tag(repo, tag=tag, revision=to, repo_type="dataset")


def branch(repo: str, name: str, revision: str) -> None:
    """Make a branch by hand."""
    HfApi().create_branch(repo, branch=name, revision=revision, repo_type="dataset")


def damage_cache(repo: str, commit: str, path: str) -> None:
    """Flip a byte of a cached file."""
    folder = Path(constants.HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}"
    file = (folder / "snapshots" / commit / path).resolve()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
