"""What tests let a client's process do: plain calls of huggingface_hub and datasets."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    snapshot_download,
)

CommitOperation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete

DATASET = "dataset"
CARD = "---\nlicense: mit\n---\n# Numbers\n"


def shard(seed: int, num_rows: int) -> bytes:
    """A Parquet file of numbers that hardly compress: 8 bytes a row."""
    rows = {"x": np.random.default_rng(seed).normal(size=num_rows)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(rows), buffer)
    return buffer.getvalue()


def numbers_sha256(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """A hash of numbers, whatever file they come in."""
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def create(repo: str, *, token: str | None = None, **options: Any) -> str:
    """Create a dataset repository; its URL."""
    return str(HfApi(token=token).create_repo(repo, repo_type=DATASET, **options))


def delete(repo: str) -> None:
    """Delete a dataset repository."""
    HfApi().delete_repo(repo, repo_type=DATASET)


def commit(
    repo: str,
    *,
    shards: Mapping[str, Sequence[int]] | None = None,
    texts: Mapping[str, str] | None = None,
    deleted: Sequence[str] = (),
    copied: Sequence[Mapping[str, Any]] = (),
    token: str | None = None,
    **options: Any,
) -> str:
    """One commit: shards are path -> (seed, rows), copies are CommitOperationCopy's arguments."""
    operations: list[CommitOperation] = [
        *(CommitOperationAdd(path, shard(*spec)) for path, spec in (shards or {}).items()),
        *(CommitOperationAdd(path, text.encode()) for path, text in (texts or {}).items()),
        *(CommitOperationDelete(path) for path in deleted),
        *(CommitOperationCopy(**copy) for copy in copied),
    ]
    options = {"commit_message": "a commit", "repo_type": DATASET, **options}
    return str(HfApi(token=token).create_commit(repo, operations, **options).oid)


def publish(repo: str, tag: str, *, seed: int = 0, num_rows: int = 1000) -> str:
    """Create, commit a card and a shard, tag; the commit."""
    create(repo, exist_ok=True)
    shards = {"data/train.parquet": (seed, num_rows)}
    oid = commit(repo, shards=shards, texts={"README.md": CARD})
    HfApi().create_tag(repo, tag=tag, revision=oid, repo_type=DATASET)
    return oid


def api(method: str, repo: str, *, token: str | bool | None = None, **options: Any) -> None:
    """Call one method of HfApi on a dataset repository, for what it does to the Hub."""
    getattr(HfApi(token=token), method)(repo, repo_type=DATASET, **options)


def refs(repo: str) -> dict[str, dict[str, str]]:
    """Branches and tags with their commits."""
    found = HfApi().list_repo_refs(repo, repo_type=DATASET, include_pull_requests=True)
    return {
        "branches": {ref.name: ref.target_commit for ref in found.branches},
        "tags": {ref.name: ref.target_commit for ref in found.tags},
    }


def describe(repo: str, revision: str = "main") -> dict[str, Any]:
    """What the client makes of a revision: information, listing, history, chosen paths."""
    client = HfApi()
    options: dict[str, Any] = {"repo_type": DATASET, "revision": revision}
    told = client.dataset_info(repo, revision=revision, files_metadata=True)
    tree = list(client.list_repo_tree(repo, recursive=True, expand=True, **options))
    chosen = client.get_paths_info(repo, ["data", "README.md", "not/there"], **options)
    return {
        "sha": told.sha,
        "expanded": client.dataset_info(repo, revision=revision, expand=["sha"]).sha,
        "exists": client.file_exists(repo, "README.md", **options),
        "sizes": {file.rfilename: file.size for file in told.siblings or []},
        "tree": [row.path for row in tree],
        "xet": [row.path for row in tree if getattr(row, "xet_hash", None)],
        "changed": {row.path: row.last_commit.oid for row in tree if row.last_commit},
        "commits": [row.commit_id for row in client.list_repo_commits(repo, **options)],
        "chosen": [row.path for row in chosen],
    }


def load(repo: str, revision: str, cache_dir: str) -> str:
    """A hash of the numbers that `load_dataset` gives."""
    from datasets import load_dataset

    rows = load_dataset(repo, revision=revision, cache_dir=cache_dir, split="train")
    return numbers_sha256(rows.with_format("arrow")[:]["x"].to_numpy())


def snapshot(repo: str, revision: str, cache_dir: str, token: str | None = None) -> dict[str, str]:
    """Path -> sha256 of every file that `snapshot_download` brings."""
    options: dict[str, Any] = {"repo_type": DATASET, "cache_dir": cache_dir, "token": token}
    folder = Path(snapshot_download(repo, revision=revision, **options))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_range(path: str, start: int, stop: int) -> str:
    """Some bytes of a file, in hex, by HfFileSystem."""
    with HfFileSystem(skip_instance_cache=True).open(path, block_size=1024) as file:
        file.seek(start)
        content: bytes = file.read(stop - start)
    return content.hex()


def pid() -> int:
    """The process a call runs in."""
    return os.getpid()


def shout() -> None:
    """Print where answers must not be disturbed."""
    print("not an answer", flush=True)


def warn() -> None:
    """Warn, which is an error."""
    import warnings

    warnings.warn("careful", stacklevel=1)


def wait(seconds: float) -> None:
    """Take a while."""
    import time

    time.sleep(seconds)
