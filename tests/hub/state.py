"""What the loopback Hub knows: accounts and tokens, repositories, links into its object store."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.hub.exchange import HubError, Request, repo_not_found
from tests.hub.git_repos import GitRepo
from tests.hub.xet import XetStore

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}


@dataclass(frozen=True)
class Account:
    """Who a token speaks for, and whether it may write."""

    user: str
    can_write: bool


@dataclass
class HostedRepo:
    """One repository: its kind in the plural, its id as it was created, its git side."""

    kind: str
    id: str
    git: GitRepo
    private: bool
    created: str

    @property
    def owner(self) -> str:
        """The user or organization it belongs to."""
        return self.id.partition("/")[0]

    @property
    def web_path(self) -> str:
        """Its place in page and download URLs; models have no prefix."""
        return self.id if self.kind == "models" else f"{self.kind}/{self.id}"


@dataclass
class Link:
    """A signed URL of the object store: whoever holds it may put or get this one object."""

    repo: HostedRepo
    sha256: str
    size: int
    upload: bool
    parts: dict[int, bytes] = field(default_factory=dict)

    def finish(self, content: bytes) -> None:
        """Keep uploaded bytes if they are what was announced."""
        if hashlib.sha256(content).hexdigest() != self.sha256 or len(content) != self.size:
            raise HubError(400, f"The content received is not {self.sha256}")
        self.repo.git.store_lfs(self.sha256, content)


class HubState:
    """Accounts, repositories, links and the options of one loopback Hub."""

    def __init__(
        self,
        root: Path,
        *,
        users: Sequence[str],
        orgs: Mapping[str, Sequence[str]],
        page_size: int,
        multipart_bytes: int | None,
        xet: bool,
        cdn: bool,
    ) -> None:
        self.root = root
        self.users = tuple(users)
        self.orgs = {name: tuple(members) for name, members in orgs.items()}
        self.page_size = page_size
        self.multipart_bytes = multipart_bytes
        self.cdn = cdn
        self.xet = XetStore(root / "xet") if xet else None
        self.endpoint = ""
        self.store_endpoint = ""
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, str] = {}
        self.read_tokens: dict[str, str] = {}
        for user in users:
            self.tokens[user] = self._new_token(Account(user, can_write=True))
            self.read_tokens[user] = self._new_token(Account(user, can_write=False))
        self.lock = threading.RLock()
        self._repos: dict[tuple[str, str], HostedRepo] = {}
        self._links: dict[str, Link] = {}

    def _new_token(self, account: Account) -> str:
        token = f"hf_{secrets.token_hex(17)}"
        self.accounts[token] = account
        return token

    # Accounts

    def account(self, request: Request) -> Account | None:
        """Who asks; None without a token, 401 with a wrong one."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if token not in self.accounts:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.accounts[token]

    def writer(self, request: Request, owner: str) -> Account:
        """Who asks to change something of `owner`'s; 401 or 403 if they may not."""
        account = self.account(request)
        if account is None:
            raise HubError(401, "Invalid username or password.")
        if not account.can_write or not self.is_member(account, owner):
            message = f"You don't have the rights to write under the namespace {owner!r}"
            raise HubError(403, message)
        return account

    def is_member(self, account: Account, owner: str) -> bool:
        """Whether a namespace is the account's own or an organization of theirs."""
        return owner == account.user or account.user in self.orgs.get(owner, ())

    # Repositories

    def find(self, kind: str, repo_id: str) -> HostedRepo | None:
        """The repository of an id, in whatever case it is written."""
        return self._repos.get((kind, repo_id.lower()))

    def open(self, request: Request, kind: str, repo_id: str, *, write: bool = False) -> HostedRepo:
        """The repository a request names, if it may see it (and change it, with `write`)."""
        account = self.account(request)
        repo = self.find(kind, repo_id)
        if repo is None:
            raise repo_not_found(anonymous=account is None)
        if repo.private and (account is None or not self.is_member(account, repo.owner)):
            raise repo_not_found(anonymous=account is None)
        if write:
            self.writer(request, repo.owner)
        return repo

    def create(self, kind: str, repo_id: str, *, private: bool, author: str) -> HostedRepo | None:
        """Make a repository; None when the id is taken."""
        with self.lock:
            if self.find(kind, repo_id):
                return None
            git = GitRepo.create(self.root / kind / f"{repo_id}.git", author=author)
            created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            repo = HostedRepo(kind, repo_id, git, private, created)
            self._repos[kind, repo_id.lower()] = repo
            return repo

    def delete(self, repo: HostedRepo) -> None:
        """Remove a repository and all that it holds."""
        with self.lock:
            del self._repos[repo.kind, repo.id.lower()]
            shutil.rmtree(repo.git.path)

    def clear(self) -> None:
        """Remove every repository, link and upload; accounts and their tokens stay."""
        with self.lock:
            for repo in list(self._repos.values()):
                self.delete(repo)
            self._links.clear()
            if self.xet:
                self.xet.clear()

    def snapshot(self, folder: Path) -> list[HostedRepo]:
        """Copy every repository into an empty folder."""
        repos = list(self._repos.values())
        for i, repo in enumerate(repos):
            shutil.copytree(repo.git.path, folder / str(i))
        return repos

    def restore(self, repos: Sequence[HostedRepo], folder: Path) -> None:
        """Put repositories back as a snapshot has them."""
        with self.lock:
            for i, repo in enumerate(repos):
                shutil.copytree(folder / str(i), repo.git.path)
                again = replace(repo, git=GitRepo(repo.git.path))
                self._repos[repo.kind, repo.id.lower()] = again

    # Objects

    def lfs_size(self, repo: HostedRepo, sha256: str) -> int | None:
        """The size of a large file the Hub holds for a repository; None if it does not."""
        path = repo.git.lfs_path(sha256)
        if path.exists():
            return path.stat().st_size
        found = self.xet.find(sha256) if self.xet else None
        return found.size if found else None

    def lfs_file(self, repo: HostedRepo, sha256: str) -> Path:
        """A large file on disk, put together from xet chunks where it came that way."""
        path = repo.git.lfs_path(sha256)
        if not path.exists():
            assert self.xet is not None, f"{sha256} is committed but not stored"
            repo.git.store_lfs(sha256, self.xet.read(sha256))
        return path

    def link(self, repo: HostedRepo, sha256: str, size: int, *, upload: bool) -> str:
        """A new signed URL for one object."""
        key = secrets.token_hex(12)
        self._links[key] = Link(repo, sha256, size, upload)
        return f"{self.store_endpoint}/store/{key}"

    def follow(self, key: str) -> Link:
        """What a signed URL is for."""
        if key not in self._links:
            raise HubError(403, "This link is not signed or has expired")
        return self._links[key]
