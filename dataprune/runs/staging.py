"""The files that go to a cluster with a job: the recipe, and what the user names besides.

They are copied to a folder of their own first, so that what is sent is exactly what was looked at:
no repository, tests, caches, hidden files or data.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataprune.core.errors import UsageError
from dataprune.core.files import sha256_file

LIMIT_BYTES = 500 << 20  # Ray keeps it in the head's memory, and takes no more
_NOT_FOLDERS = frozenset({"tests", "__pycache__", "venv", "node_modules", "build", "dist"})
_DATA = frozenset({
    ".arrow", ".bin", ".bz2", ".ckpt", ".csv", ".db", ".feather", ".gz", ".h5", ".hdf5", ".jpeg",
    ".jpg", ".jsonl", ".mp4", ".ndjson", ".npy", ".npz", ".onnx", ".parquet", ".pickle", ".pkl",
    ".png", ".pt", ".pth", ".safetensors", ".sqlite", ".tar", ".tgz", ".tsv", ".wav", ".webp",
    ".xz", ".zip", ".zst",
})  # fmt: skip


@dataclass(frozen=True)
class Staged:
    """A folder ready to be sent.

    recipe: the recipe's file as the job sees it, whose working folder this becomes.
    files: [relative name, SHA-256] of all others, sorted.
    num_left: data files that were left behind.
    """

    folder: Path
    recipe: str
    files: list[list[str]]
    num_left: int


def stage(
    recipe: Path, working_dir: Path | None, into: Path, *, without: Path | None = None
) -> Staged:
    """Copy what a job needs into the empty folder `into`.

    without: a folder to leave out, as a run folder is, which changes with every run.

    Raises:
        UsageError: there is no such folder, it is too large, or it holds another file of the
            recipe's name.
    """
    chosen, num_left = _chosen(working_dir, without) if working_dir is not None else ([], 0)
    total = sum(path.stat().st_size for path, _ in chosen) + recipe.stat().st_size
    if total > LIMIT_BYTES:
        raise UsageError(
            f"{working_dir} holds {total >> 20} MiB to send, and a job takes {LIMIT_BYTES >> 20}",
            hint="name a smaller folder; data is read by the cluster from where it lies",
        )
    name = recipe.name
    if working_dir is not None and recipe.resolve().is_relative_to(working_dir.resolve()):
        name = recipe.resolve().relative_to(working_dir.resolve()).as_posix()
    files = []
    for path, relative in chosen:
        if relative != name:
            files.append([relative, _copy(path, into / relative)])
        elif not path.samefile(recipe):
            raise UsageError(
                f"{working_dir} holds another file named {name} than the recipe",
                hint="rename one of them",
            )
    _copy(recipe, into / name)
    return Staged(into, name, files, num_left)


def _chosen(folder: Path, without: Path | None) -> tuple[list[tuple[Path, str]], int]:
    """The files to send with their relative names, sorted, and how many hold data."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="check --working-dir")
    files = list(_walk(folder, None if without is None else without.resolve()))
    kept = [path for path in files if path.suffix.lower() not in _DATA]
    return (
        sorted((path, path.relative_to(folder).as_posix()) for path in kept),
        len(files) - len(kept),
    )


def _walk(folder: Path, without: Path | None) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _NOT_FOLDERS
            and not name.startswith(".")
            and not name.endswith(".egg-info")
            and Path(place, name).resolve() != without
        ]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and path.suffix != ".pyc" and path.is_file():
                yield path


def _copy(path: Path, to: Path) -> str:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return sha256_file(to)
