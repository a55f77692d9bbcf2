"""A remote file read piece by piece: only the bytes of the columns that are wanted travel.

Each piece is kept on disk under the file's own hash, behind a hash of its own, so that an
interrupted run goes on where it was, a second run asks for nothing, and a piece that was damaged
since is fetched anew. The file's hash cannot prove a piece as it comes: that is left to TLS, and
to whole files, which is how rows are read to be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from dataprune.core.errors import HubError
from dataprune.core.files import atomic_path
from dataprune.sources._hub import REPO_TYPE, RemoteFile, api, asking, patiently

_WORTH_IT = 0.5  # pieces pay when less than this part of the file is wanted ...
LARGE_BYTES = 8 << 20  # ... and the file is large
_DIGEST_BYTES = 32


class RangedFile(io.RawIOBase):
    """A file of a repository at a commit, read by ranges.

    num_bytes: how many were fetched from the Hub.
    """

    def __init__(self, repo: str, commit: str, file: RemoteFile) -> None:
        assert file.sha256 is not None, "pieces are kept under the file's hash"
        self.file = file
        self.num_bytes = 0
        self._what = f"fetching a part of {file.path} of {repo}@{commit[:8]}"
        self._url = hf_hub_url(repo, file.path, repo_type=REPO_TYPE, revision=commit)
        self._folder = Path(constants.HF_HOME) / "dataprune" / "pieces" / file.sha256
        self._at = 0

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.file.size}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as the buffer holds, or those that are left."""
        end = min(self._at + len(buffer), self.file.size)
        if end <= self._at:
            return 0
        data = self._piece(self._at, end)
        buffer[: len(data)] = data
        self._at = end
        return len(data)

    def _piece(self, start: int, end: int) -> bytes:
        kept = self._folder / f"{start}-{end}"
        if kept.is_file():
            held = kept.read_bytes()
            digest, data = held[:_DIGEST_BYTES], held[_DIGEST_BYTES:]
            if len(data) == end - start and hashlib.sha256(data).digest() == digest:
                return data
        data = patiently(lambda: self._ask(start, end))
        self.num_bytes += len(data)
        with atomic_path(kept, durable=False) as temporary, temporary.open("wb") as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
        return data

    def _ask(self, start: int, end: int) -> bytes:
        _ = api()  # sets the time limits
        headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}"}
        with asking(self._what):
            response = get_session().get(self._url, headers=headers)
            hf_raise_for_status(response)
            data: bytes = response.content
        whole = response.headers.get("Content-Range", "").rpartition("/")[2]
        if response.status_code != 206 or len(data) != end - start or whole != str(self.file.size):
            raise HubError(
                f"{self._what} failed: {end - start} bytes were asked for, and {len(data)} of "
                f"{whole or 'no range'} arrived"
            )
        return data


@contextlib.contextmanager
def opened_by_ranges(repo: str, commit: str, file: RemoteFile) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose footer is read now, and of its columns what is asked for."""
    with pq.ParquetFile(RangedFile(repo, commit, file), pre_buffer=True) as found:
        yield found


def wants_pieces(found: pq.ParquetFile, file: RemoteFile, names: list[str] | None) -> bool:
    """Whether the columns' bytes are few enough of a large file to fetch them alone."""
    if names is None or file.size < LARGE_BYTES:
        return False
    wanted, meta = 0, found.metadata
    for group in range(meta.num_row_groups):
        for column in range(meta.num_columns):
            chunk = meta.row_group(group).column(column)
            if chunk.path_in_schema.split(".")[0] in names:
                wanted += chunk.total_compressed_size
    return wanted < _WORTH_IT * file.size
