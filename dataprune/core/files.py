"""Files that are either whole or absent: atomic writes, hashes, and a lock that dies with us."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dataprune.core.errors import BusyError, TableError

_CHUNK_BYTES = 1 << 20
_LOCK_TRIES = 10
_LOCK_WAIT_S = 0.02


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Force a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the name, on failure it is gone.

    `durable` syncs the bytes and the folder; turn it off only for what may be lost (progress).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
        if durable:
            sync(path.parent)
    except OSError as exc:
        if exc.filename is None:  # a write that found the disk full does not say of which file
            exc.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what writers of the same file left when they were killed on this machine."""
    prefix = f".{path.name}."
    for entry in path.parent.iterdir():
        if entry.name.startswith(prefix) and entry.suffix == ".tmp":
            pid = entry.name.removeprefix(prefix).split(".")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").is_dir():
                entry.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write text atomically (UTF-8)."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON atomically: sorted keys, two-space indent, a newline at the end."""
    write_text(path, json_text(value), durable=durable)


def json_text(value: Any) -> str:
    """JSON as our files hold it."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        TableError: the file is not JSON (truncated, say).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as exc:
        raise TableError(f"{path} is not valid JSON: {exc}") from exc


def is_held(lock: Path) -> bool:
    """Whether some process holds the lock now."""
    if not lock.is_file():
        return False
    with lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def exclusive(lock: Path, *, what: str) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel drops it when this process dies.

    Raises:
        BusyError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as handle:
        if not try_lock(handle):
            raise BusyError(
                f"{what} is in use by another dataprune process",
                hint="wait for it to end, or work in another folder",
            )
        yield


def try_lock(handle: IO[str]) -> bool:
    """Take the kernel's lock on an open file, held until it is closed; whether we got it."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_WAIT_S)  # it may only be `is_held`, asking for a moment
        else:
            return True
    return False
