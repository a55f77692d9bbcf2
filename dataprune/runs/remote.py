"""A work folder behind an fsspec URL, such as s3://, with a mirror of what was read from it.

An object store has no rename and no lock, and a put is whole or absent. So attempts write on the
worker's own disk, data files are put first and `unit.json` last, and the mirror is a cache that is
trusted only as far as hashes in unit.json go.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dataprune.core.errors import DatapruneError, MissingExtraError
from dataprune.core.files import atomic_path

MIRRORS = Path(".dataprune/mirrors")
_MARK = "attempt-"
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


class RemotePlace:
    """A work folder behind a URL.

    folder: its mirror on this machine, under the working folder.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except ImportError as exc:
            package = _PACKAGES.get(scheme, f"the fsspec package for {scheme}")
            raise MissingExtraError(
                f"work folders at {scheme}:// need {package}, which is not installed",
                hint=f"pip install {package}" if scheme in _PACKAGES else f"install {package}",
            ) from exc
        except ValueError as exc:
            raise DatapruneError(
                f"{url} is no place for a work folder: {exc}",
                hint="give a path, or a URL such as s3://bucket/folder or gs://bucket/folder",
            ) from exc
        name = "".join(c if c.isalnum() else "-" for c in self.url.rsplit("/", maxsplit=1)[-1])
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:12]
        self.folder = MIRRORS / f"{name[:40]}-{digest}"

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """One sentence for whatever the storage's client raises."""
        try:
            yield
        except (DatapruneError, FileNotFoundError):
            raise
        except Exception as exc:
            reason = " ".join(str(exc).split())[:200] or type(exc).__name__
            raise DatapruneError(
                f"cannot {what} {self.url}: {reason}",
                hint="check the URL, its credentials and the network; finished units are kept",
            ) from exc

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None if there is none."""
        with self._asking(f"read {name} of"):
            try:
                data: bytes = self.fs.cat_file(self._at(name))
            except FileNotFoundError:
                return None
        return data

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        """Put an object; a put is durable when it returns."""
        self._put(name, lambda path: self.fs.pipe_file(path, data))

    def take(self, path: Path, name: str) -> None:
        """Put a file of a scratch folder; it is gone from there after, and an empty folder is."""
        self._put(name, lambda there: self.fs.put_file(str(path), there))
        path.unlink()
        with contextlib.suppress(OSError):  # the last file of its scratch folder, or not
            path.parent.rmdir()

    def _put(self, name: str, put: Callable[[str], None]) -> None:
        path = self._at(name)
        with self._asking(f"write {name} to"):
            try:
                put(path)
            except FileNotFoundError:  # a store with folders, and this one is not there yet
                self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                put(path)

    def fetch(self, name: str) -> Path | None:
        """Download the object into the mirror."""
        target = self.folder / name
        try:
            with self._asking(f"read {name} of"), atomic_path(target, durable=False) as temporary:
                self.fs.get_file(self._at(name), str(temporary))
        except FileNotFoundError:
            return None
        return target

    def share(self, *names: str) -> None:
        """Put files of the mirror."""
        for name in names:
            path = str(self.folder / name)
            self._put(name, lambda there, path=path: self.fs.put_file(path, there))  # type: ignore[misc]

    def names(self, pattern: str) -> list[str]:
        """Names that match a glob pattern, sorted; asked of the storage each time."""
        fixed = pattern.partition("*")[0].rpartition("/")[0]
        with self._asking("list"):
            self.fs.invalidate_cache()
            try:
                found = self.fs.find(self._at(fixed) if fixed else self.root)
            except FileNotFoundError:
                return []
        root = f"{self.root.strip('/')}/"
        relative = (path.strip("/").removeprefix(root) for path in found)
        depth = pattern.count("/")
        return sorted(n for n in relative if n.count("/") == depth and fnmatch.fnmatch(n, pattern))

    def remove(self, *names: str) -> None:
        """Remove objects, if they are there."""
        for name in names:
            with self._asking(f"remove {name} from"), contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(self._at(name))

    def scratch(self, home: str, *, counts: bool = True) -> Path:
        """A folder on this machine's disk; an object beside the unit marks an attempt."""
        folder = Path(tempfile.mkdtemp(prefix="dataprune-"))
        if counts:
            self.write(f"{home}/{_MARK}{folder.name}", b"")
        return folder

    def attempts(self, home: str) -> int:
        """Marks that are there."""
        return len(self.names(f"{home}/{_MARK}*"))

    def end(self, home: str, attempt: Path | None) -> None:
        """Drop scratch folders of this machine, and marks."""
        if attempt is not None:
            shutil.rmtree(attempt, ignore_errors=True)
            self.remove(f"{home}/{_MARK}{attempt.name}")
            return
        self.remove(*self.names(f"{home}/{_MARK}*"))

    def sweep(self) -> None:
        """Drop marks of killed processes."""
        self.remove(*self.names(f"units/*/{_MARK}*"))
