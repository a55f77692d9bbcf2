"""Bare git repositories as a Hub keeps them: real commits, LFS pointers, moved by compare-and-swap.

Objects are written loose, as git writes them; refs are read and moved by the git binary, so two
writers meet at git's own lock. Whatever the server says: `git log`, `git show`, `git fsck` judge.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import subprocess
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

LFS_SUFFIXES = """
7z arrow bin bz2 ftz gz h5 jpg jpeg joblib lz4 mp3 mp4 msgpack npy npz onnx parquet pb pickle
pkl png pt pth rar safetensors tar tgz wav webp xz zip zst
"""
GITATTRIBUTES = "".join(
    f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES.split()
)

FILE, FOLDER = "100644", "40000"
ZERO = "0" * 40
_CACHED_BYTES = 1 << 16
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]+)\n"
)
_GIT_ENV = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


class GitError(Exception):
    """git refused, in its own words."""


@dataclass(frozen=True)
class Pointer:
    """What an LFS pointer blob names: the object's sha256 and its size in bytes."""

    sha256: str
    size: int

    def blob(self) -> bytes:
        """The bytes git stores in the object's place."""
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


@dataclass(frozen=True)
class Entry:
    """One path of a tree: its git mode (a file's or a folder's) and its git object."""

    path: str
    mode: str
    oid: str

    @property
    def is_folder(self) -> bool:
        """Whether the object is a tree."""
        return self.mode == FOLDER


@dataclass(frozen=True)
class Commit:
    """One commit: tree, parents, author's name, time, and the message's first line and rest."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: str
    date: str
    title: str
    message: str


@dataclass(frozen=True)
class Refs:
    """Branches and tags, each leading to a commit (annotated tags are peeled)."""

    branches: dict[str, str]
    tags: dict[str, str]


def git_blob_oid(content: bytes) -> str:
    """The name git gives to a file's content."""
    return _oid(_framed("blob", content))


class GitRepo:
    """One bare repository and the LFS objects beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cache: dict[str, tuple[str, bytes]] = {}

    @classmethod
    def create(cls, path: Path, *, author: str) -> GitRepo:
        """Make the repository with its first commit on main, which names the LFS suffixes."""
        path.mkdir(parents=True)
        repo = cls(path)
        repo.git("init", "--quiet", "--bare", "--template=", "--initial-branch=main")
        files = {".gitattributes": repo.write_blob(GITATTRIBUTES.encode())}
        first = repo.write_commit(files, parent=None, message="initial commit", author=author)
        assert repo.move_ref("refs/heads/main", new=first, old=ZERO)
        return repo

    def git(self, *args: str) -> str:
        """Run git on this repository; its output, or GitError with what it said."""
        command = ["git", f"--git-dir={self.path}", *args]
        done = subprocess.run(command, capture_output=True, text=True, env=_GIT_ENV, check=False)
        if done.returncode:
            raise GitError(f"git {' '.join(args)}: {done.stdout}{done.stderr}".strip())
        return done.stdout

    # Refs

    def refs(self) -> Refs:
        """All branches and tags as they are now."""
        form = "--format=%(refname) %(objectname) %(*objectname)"
        refs = Refs({}, {})
        for line in self.git("for-each-ref", form, "refs/heads", "refs/tags").splitlines():
            name, direct, *peeled = line.split()
            _, kind, short = name.split("/", 2)
            names = refs.branches if kind == "heads" else refs.tags
            names[short] = peeled[0] if peeled else direct
        return refs

    def resolve(self, rev: str) -> str | None:
        """The commit that a branch, a tag or a commit id (short ones too) leads to."""
        refs = self.refs()
        if rev == "HEAD":
            return refs.branches["main"]
        named = {**refs.branches, **refs.tags}.get(rev.removeprefix("refs/heads/"))
        if named or not re.fullmatch("[0-9a-f]{4,40}", rev):
            return named
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}").strip()
        except GitError:
            return None

    def move_ref(self, ref: str, *, new: str | None, old: str) -> bool:
        """Move a ref from `old` (ZERO: it must not exist) to `new` (None: delete it), or say no."""
        command = ["update-ref", ref, new, old] if new else ["update-ref", "-d", ref, old]
        try:
            self.git(*command)
        except GitError:
            return False
        return True

    # Objects

    def read(self, oid: str) -> tuple[str, bytes]:
        """An object's kind (blob, tree, commit, tag) and content."""
        if oid in self._cache:
            return self._cache[oid]
        loose = self.path / "objects" / oid[:2] / oid[2:]
        if loose.exists():
            head, _, content = zlib.decompress(loose.read_bytes()).partition(b"\0")
            kind = head.split()[0].decode()
        else:  # packed by some other git
            kind = self.git("cat-file", "-t", oid).strip()
            command = ["git", f"--git-dir={self.path}", "cat-file", kind, oid]
            content = subprocess.run(command, capture_output=True, env=_GIT_ENV, check=True).stdout
        if len(content) <= _CACHED_BYTES:
            self._cache[oid] = kind, content
        return kind, content

    def write(self, kind: str, content: bytes) -> str:
        """Store an object under its name; once there it stays as it is."""
        framed = _framed(kind, content)
        oid = _oid(framed)
        path = self.path / "objects" / oid[:2] / oid[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = path.with_name(f"tmp_obj_{uuid4().hex}")
            part.write_bytes(zlib.compress(framed, 1))
            part.replace(path)
        return oid

    def write_blob(self, content: bytes) -> str:
        """Store a file's content."""
        return self.write("blob", content)

    def pointer(self, oid: str) -> Pointer | None:
        """The LFS object that a blob points to, if it is a pointer."""
        _, content = self.read(oid)
        found = _POINTER.fullmatch(content) if len(content) < 1024 else None
        return Pointer(found[1].decode(), int(found[2])) if found else None

    # Trees

    def list_tree(self, tree: str, *, prefix: str = "", recursive: bool) -> Iterator[Entry]:
        """A tree's entries in git's order; with `recursive` each folder's follow the folder."""
        _, content = self.read(tree)
        at = 0
        while at < len(content):
            end = content.index(b"\0", at)
            mode, name = content[at:end].decode().split(" ", 1)
            at = end + 21
            entry = Entry(prefix + name, mode, content[end + 1 : at].hex())
            yield entry
            if recursive and entry.is_folder:
                yield from self.list_tree(entry.oid, prefix=f"{entry.path}/", recursive=True)

    def files(self, commit: str) -> dict[str, str]:
        """Every file of a commit: path -> blob."""
        entries = self.list_tree(self.commit(commit).tree, recursive=True)
        return {e.path: e.oid for e in entries if not e.is_folder}

    def find(self, commit: str, path: str) -> Entry | None:
        """The file or folder at a path of a commit; the empty path is the root folder."""
        entry = Entry("", FOLDER, self.commit(commit).tree)
        for name in path.split("/") if path else []:
            if not entry.is_folder:
                return None
            prefix = f"{entry.path}/" if entry.path else ""
            children = self.list_tree(entry.oid, prefix=prefix, recursive=False)
            found = next((e for e in children if e.path == prefix + name), None)
            if found is None:
                return None
            entry = found
        return entry

    def write_tree(self, files: Mapping[str, str]) -> str:
        """Store the trees of a flat path -> blob listing; the root's name."""
        folders: dict[str, dict[str, str]] = {}
        entries: list[tuple[bytes, bytes]] = []  # sort key, record
        for path, blob in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = blob
            else:
                entries.append((name.encode(), _record(FILE, name, blob)))
        for name, inside in folders.items():
            record = _record(FOLDER, name, self.write_tree(inside))
            entries.append((f"{name}/".encode(), record))
        return self.write("tree", b"".join(record for _, record in sorted(entries)))

    # Commits

    def write_commit(
        self, files: Mapping[str, str], *, parent: str | None, message: str, author: str
    ) -> str:
        """Store a commit of these files; no ref moves."""
        who = f"{author} <{author}@users.example> {int(time.time())} +0000"
        lines = [f"tree {self.write_tree(files)}", *([f"parent {parent}"] if parent else [])]
        lines += [f"author {who}", f"committer {who}", "", message.strip(), ""]
        return self.write("commit", "\n".join(lines).encode())

    def write_tag(self, name: str, commit: str, *, message: str, author: str) -> str:
        """Store an annotated tag; no ref moves."""
        who = f"{author} <{author}@users.example> {int(time.time())} +0000"
        lines = [f"object {commit}", "type commit", f"tag {name}", f"tagger {who}", "", message, ""]
        return self.write("tag", "\n".join(lines).encode())

    def commit(self, oid: str) -> Commit:
        """Read one commit."""
        kind, content = self.read(oid)
        assert kind == "commit", f"{oid} is a {kind}"
        head, _, message = content.decode().partition("\n\n")
        fields = [line.split(" ", 1) for line in head.splitlines()]
        author = next(value for key, value in fields if key == "author")
        name, seconds = re.fullmatch(r"(.*) <.*> (\d+) [+-]\d{4}", author).groups()  # type: ignore[union-attr]
        title, _, rest = message.strip().partition("\n")
        return Commit(
            oid=oid,
            tree=fields[0][1],
            parents=tuple(value for key, value in fields if key == "parent"),
            author=name,
            date=datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            title=title,
            message=rest.strip(),
        )

    def history(self, oid: str) -> Iterator[Commit]:
        """A commit and its first parents, newest first."""
        next_oid: str | None = oid
        while next_oid:
            commit = self.commit(next_oid)
            yield commit
            next_oid = commit.parents[0] if commit.parents else None

    def last_change(self, commit: str, entry: Entry) -> Commit:
        """The newest commit that made a path what it is."""
        walk = self.history(commit)
        newest = next(walk)
        for older in walk:
            found = self.find(older.oid, entry.path)
            if found is None or found.oid != entry.oid:
                break
            newest = older
        return newest

    # LFS

    def lfs_path(self, sha256: str) -> Path:
        """Where git-lfs keeps an object."""
        return self.path / "lfs" / "objects" / sha256[:2] / sha256[2:4] / sha256

    def store_lfs(self, sha256: str, content: bytes) -> None:
        """Keep an object whose hash the caller has checked."""
        path = self.lfs_path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{sha256}.{uuid4().hex}")
        part.write_bytes(content)
        part.replace(path)

    def lfs_patterns(self, commit: str) -> list[str]:
        """The patterns that a commit's .gitattributes hands to LFS."""
        blob = self.files(commit).get(".gitattributes")
        lines = self.read(blob)[1].decode().splitlines() if blob else []
        return [line.split()[0] for line in lines if "filter=lfs" in line.split()]

    def fsck(self) -> None:
        """Let git check every object and ref; GitError with its words."""
        self.git("fsck", "--full", "--strict", "--no-dangling", "--no-progress")


def matches(path: str, pattern: str) -> bool:
    """Whether a .gitattributes pattern covers a path: by name, or by path if it has a slash."""
    if "/" in pattern:
        return fnmatch.fnmatchcase(path, pattern.removeprefix("/").replace("**/", "*"))
    return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)


def _framed(kind: str, content: bytes) -> bytes:
    return f"{kind} {len(content)}\0".encode() + content


def _oid(framed: bytes) -> str:
    return hashlib.sha1(framed, usedforsecurity=False).hexdigest()


def _record(mode: str, name: str, oid: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(oid)
