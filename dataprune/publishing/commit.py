"""One commit that makes a branch hold given files, and proof that it does.

What lies at the branch's head decides what there is to do, never a journal on this machine, so that
after a lost reply, a crash or another publisher the same call is simply made again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

from dataprune.core.errors import HubUnsureError, VersionError
from dataprune.sources._hub import REPO_TYPE, RemoteFile, api, asking, fetch, git_blob, tree

KEPT_IN_LFS = (".parquet",)  # as the Hub's .gitattributes has it; sent ahead, one at a time

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class Local:
    """A file to be put there from here: a path, or the bytes themselves.

    sha256: what a file at a path was proven to have, and must still have when it is sent.
    """

    path: str
    content: Path | bytes
    sha256: str

    @classmethod
    def text(cls, path: str, content: bytes) -> Local:
        """A file made here and now."""
        return cls(path, content, hashlib.sha256(content).hexdigest())

    def is_at(self, there: RemoteFile | None) -> bool:
        """Whether the repository's file is this one, by its hash."""
        if there is None:
            return False
        if there.sha256 is not None:
            return there.sha256 == self.sha256
        content = self.content.read_bytes() if isinstance(self.content, Path) else self.content
        return there.blob == git_blob(content)

    def operation(self) -> CommitOperationAdd:
        """A new one for each commit: the client uses them up.

        Raises:
            VersionError: the file is gone, or changed since it was proven.
        """
        gone = isinstance(self.content, Path) and not self.content.is_file()
        made = None if gone else CommitOperationAdd(self.path, self.content)
        if made is None or made.upload_info.sha256.hex() != self.sha256:
            raise VersionError(
                f"{self.path} {'is gone' if gone else 'changed'} while it was being published",
                hint="restore it, or build the version again; nothing was tagged",
            )
        return made


@dataclass(frozen=True)
class Copied:
    """A file that the repository holds at another commit: copied there, not sent."""

    path: str
    commit: str
    file: RemoteFile

    def is_at(self, there: RemoteFile | None) -> bool:
        """Whether the repository's file is this one, by its hash."""
        if there is None:
            return False
        if self.file.sha256 is not None:
            return there.sha256 == self.file.sha256
        return there.blob == self.file.blob

    def operation(self) -> CommitOperationCopy:
        """Copy it from its commit."""
        return CommitOperationCopy(self.file.path, self.path, src_revision=self.commit)


Wanted = Local | Copied


@dataclass(frozen=True)
class Change:
    """What a branch should hold.

    stale: paths that should be gone; those that are not there are passed over.
    """

    files: Sequence[Wanted]
    stale: Sequence[str] = ()


def bring(
    repo: str,
    branch: str,
    head: str,
    change: Callable[[dict[str, RemoteFile]], Change],
    message: str,
) -> str:
    """Make the branch hold what is wanted, in one commit on `head`; returns the commit that does.

    change: what is wanted, given what is there.

    Raises:
        HubUnsureError: the branch has moved on, or the Hub did not answer: begin again from its
            head.
        HubError: the Hub refused, or made another commit than it was asked for.
    """
    there = tree(repo, head)
    wanted = change(there)
    missing = [file for file in wanted.files if not file.is_at(there.get(file.path))]
    stale = [path for path in wanted.stale if path in there]
    if not missing and not stale:
        return head
    held = {file.sha256 for file in there.values()}
    sent = _sent(repo, branch, missing, held)
    operations = [*sent, *(CommitOperationDelete(path) for path in stale)]
    with asking(f"committing to {repo}"):
        made = api().create_commit(
            repo,
            operations,
            commit_message=message,
            repo_type=REPO_TYPE,
            revision=branch,
            parent_commit=head,
        )
    commit = str(made.oid)
    now = tree(repo, commit)
    for file in wanted.files:
        if not file.is_at(now.get(file.path)):
            raise HubUnsureError(f"{file.path} is not in {repo}@{commit[:8]} as it was sent")
    if left := [path for path in stale if path in now]:
        raise HubUnsureError(f"{left[0]} is still in {repo}@{commit[:8]}")
    return commit


def _sent(
    repo: str, branch: str, files: Sequence[Wanted], held: Container[str | None]
) -> list[CommitOperationAdd | CommitOperationCopy]:
    """The operations of a commit; large files are sent one by one before it.

    held: SHA-256 of content that the repository has under some name, and need not be sent.
    """
    made: list[CommitOperationAdd | CommitOperationCopy] = []
    large = [f for f in files if isinstance(f, Local) and f.path.endswith(KEPT_IN_LFS)]
    if known := [file for file in large if file.sha256 in held]:
        log.info("%d of %d files are on the Hub already", len(known), len(large))
        large = [file for file in large if file not in known]
    for file in files:
        operation = file.operation()
        made.append(operation)
        if file in large and isinstance(operation, CommitOperationAdd):
            log.info("sending %s (%d of %d)", file.path, large.index(file) + 1, len(large))
            with asking(f"sending {file.path} to {repo}"):
                api().preupload_lfs_files(
                    repo, [operation], repo_type=REPO_TYPE, revision=branch, num_threads=1
                )
    return made


def read_small(repo: str, commit: str, file: RemoteFile) -> bytes:
    """A small file's bytes at a commit, their hash checked.

    Raises:
        HubError: it arrives changed.
    """
    return fetch(repo, commit, file.path, file.sha256, blob=file.blob).read_bytes()
