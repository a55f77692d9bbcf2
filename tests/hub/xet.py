"""Where large files are when clients send them by xet: folders that hf_xet itself writes.

The token of an upload names `local://FOLDER`, and hf_xet keeps chunks (xorbs), file tables (shards)
and an index there, as its server would. A commit names a file by sha256 and a download by xet hash:
the shards know both. The index admits one process at a time, so each reader gets a copy of its own;
two processes that upload at once are one too many, and the second is refused by hf_xet.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

_HEADER_BYTES = _RECORD_BYTES = 48
_BOOKEND = b"\xff" * 32
_HAS_VERIFICATION, _HAS_METADATA = 1 << 31, 1 << 30
_INDEX = "global_dedup_lookup.redb"

# Run apart: a download in the server's own process would take hf_xet's threads into every test.
_DOWNLOAD = """
import sys, time
from hf_xet import XetFileInfo, XetSession
url, xet_hash, size, path = sys.argv[1:]
soon = int(time.time()) + 3600
options = dict(endpoint=url, token="", token_expiry_unix_secs=soon, custom_headers={})
with XetSession().new_file_download_group(**options) as group:
    group.start_download_file(XetFileInfo(xet_hash, int(size)), path)
"""


@dataclass(frozen=True)
class XetFile:
    """A file that xet holds: its name there and its size in bytes."""

    xet_hash: str
    size: int


def read_shard(shard: bytes) -> dict[str, XetFile]:
    """The files a shard describes, by sha256.

    After a header come records of 48 bytes: for each file its hash, flags and number of segments;
    that many segments; as many verification records, if flagged; one with the sha256, if flagged.
    """
    files: dict[str, XetFile] = {}
    at = _HEADER_BYTES
    while (name := shard[at : at + 32]) != _BOOKEND:
        flags, num_segments = struct.unpack_from("<II", shard, at + 32)
        starts = range(at + _RECORD_BYTES, at + _RECORD_BYTES * (num_segments + 1), _RECORD_BYTES)
        size = sum(struct.unpack_from("<I", shard, start + 36)[0] for start in starts)
        at += _RECORD_BYTES * (1 + num_segments * (2 if flags & _HAS_VERIFICATION else 1))
        if flags & _HAS_METADATA:
            files[_hex(shard[at : at + 32])] = XetFile(_hex(name), size)
            at += _RECORD_BYTES
    return files


def _hex(record: bytes) -> str:
    """A hash is four little-endian numbers, written high digit first."""
    return "".join(f"{part:016x}" for part in struct.unpack("<4Q", record))


class XetStore:
    """The folder that uploads go to, its copies for downloads, and what its shards say."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Begin with an empty folder; copies that readers still hold stay as they are."""
        self._root.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._folder = Path(tempfile.mkdtemp(prefix="uploads-", dir=self._root))
            self._files: dict[str, XetFile] = {}
            self._shards: set[str] = set()

    @property
    def _data(self) -> Path:
        return self._folder / "xet" / "xorbs"

    def find(self, sha256: str) -> XetFile | None:
        """The file of a sha256, if it has been uploaded."""
        with self._lock:
            if sha256 not in self._files:
                self._read_new_shards()
            return self._files.get(sha256)

    def _read_new_shards(self) -> None:
        for path in self._data.glob("shards/*.mdb"):
            if path.name in self._shards:
                continue
            try:
                self._files |= read_shard(path.read_bytes())
            except struct.error:  # still being written
                continue
            self._shards.add(path.name)

    def write_url(self) -> str:
        """Where an upload goes."""
        return f"local://{self._folder}"

    def read_url(self) -> str:
        """Where a download finds all there is by now: the data linked, the index copied."""
        copy = Path(tempfile.mkdtemp(prefix="downloads-", dir=self._root))
        if self._data.is_dir():
            shutil.copytree(self._data, copy / "xet" / "xorbs", copy_function=_link)
        return f"local://{copy}"

    def read(self, sha256: str) -> bytes:
        """A file's bytes, put together by hf_xet."""
        file = self.find(sha256)
        assert file is not None, f"xet does not hold {sha256}"
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            path = Path(folder) / "content"
            told = [self.read_url(), file.xet_hash, str(file.size), str(path)]
            env = {**os.environ, "HF_HOME": folder}
            subprocess.run([sys.executable, "-c", _DOWNLOAD, *told], env=env, check=True)
            return path.read_bytes()


def _link(source: str, target: str) -> None:
    """Link what never changes once it is written; copy the index, which does."""
    if Path(source).name == _INDEX:
        shutil.copyfile(source, target)
    else:
        os.link(source, target)
