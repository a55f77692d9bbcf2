"""A Hugging Face Hub on loopback: real git repositories, and faults where a test wants them.

The client under test is the unmodified `huggingface_hub`; it finds this server by HF_ENDPOINT.
What it wrote is judged on disk, by git, not by what the server says of itself.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tests.hub.exchange import HubError, Reply, Request
from tests.hub.faults import Fault, Faults, Kind
from tests.hub.routes import answer
from tests.hub.state import HostedRepo, HubState

_FAULT_CODES = {404: "RepoNotFound"}


@dataclass(frozen=True)
class Exchange:
    """One request as the server saw it; no status means that no reply was sent."""

    method: str
    path: str
    status: int | None
    bytes_in: int
    bytes_out: int
    fault: str | None
    authorized: bool
    seconds: float


class LoopbackHub:
    """The Hub as tests hold it: a context manager that serves while it is open."""

    def __init__(
        self,
        root: Path,
        *,
        xet: bool = False,
        cdn: bool = False,
        page_size: int = 1000,
        multipart_bytes: int | None = None,
        users: Sequence[str] = ("alice", "bob"),
        orgs: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Serve from an empty folder.

        Args:
            root: where repositories (and xet chunks) are kept.
            xet: give large files to the xet client, with a local folder for storage; else LFS.
            cdn: answer downloads of large files by a redirect to another origin.
            page_size: rows of a listing before it goes on at the next page.
            multipart_bytes: LFS files above this size are sent in parts of this size.
            users: accounts; `token` is the first one's.
            orgs: organizations and their members; by default acme, of the first user.
        """
        self.state = HubState(
            root,
            users=users,
            orgs={"acme": users[:1]} if orgs is None else orgs,
            page_size=page_size,
            multipart_bytes=multipart_bytes,
            xet=xet,
            cdn=cdn,
        )
        self.requests: list[Exchange] = []
        self.crashes: list[str] = []
        self.faults = Faults()
        self.stopping = threading.Event()
        self._servers: list[_Server] = []
        self._threads: list[threading.Thread] = []

    # Life

    def __enter__(self) -> Self:
        hub = self._serve()
        self.state.endpoint = hub
        self.state.store_endpoint = self._serve() if self.state.cdn else hub
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.hang_up()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> str:
        server = _Server(self)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self._servers.append(server)
        self._threads.append(thread)
        return server.origin

    def reset(self) -> None:
        """Make it a new Hub at the same address: no repositories, requests or faults."""
        self.faults.clear()
        self.state.clear()
        self.requests.clear()
        self.crashes.clear()

    def snapshot(self, folder: Path) -> list[HostedRepo]:
        """Copy every repository into an empty folder, for `restore`."""
        return self.state.snapshot(folder)

    def restore(self, repos: Sequence[HostedRepo], folder: Path) -> None:
        """Make it a Hub with the repositories of a snapshot, at the same address."""
        self.reset()
        self.state.restore(repos, folder)

    # What a client needs

    @property
    def endpoint(self) -> str:
        """The value of HF_ENDPOINT; no slash at its end."""
        return self.state.endpoint

    @property
    def token(self) -> str:
        """A token of the first user that may write."""
        return self.state.tokens[self.state.users[0]]

    def token_of(self, user: str, *, can_write: bool = True) -> str:
        """A user's token, to write or only to read."""
        return (self.state.tokens if can_write else self.state.read_tokens)[user]

    @property
    def xet(self) -> bool:
        """Whether clients are to use xet; they must decide before they import the client."""
        return self.state.xet is not None

    # Faults

    def fault(
        self,
        kind: Kind,
        *,
        nth: int = 0,
        times: int | None = 1,
        method: str | None = None,
        path: str | None = None,
        status: int = 500,
        retry_after_s: int | None = None,
        delay_s: float = 0.2,
        after: bool = False,
    ) -> Fault:
        """Put a fault at chosen requests; its `fired` says how often it has happened.

        Args:
            kind: `status` answers with an error instead; `drop` hangs up before any work; `lost`
                does the work and hangs up; `slow` does the work and waits; `truncate` does the
                work and hangs up half-way through the reply's body (as `lost` where it has none).
            nth: the first request to hit, among those that match, from 0 since now.
            times: how many in a row; None for all from then on.
            method: only requests of this method.
            path: only requests whose path (with query) this regular expression is found in.
            status: the status of `status`.
            retry_after_s: its Retry-After.
            delay_s: the wait of `slow`.
            after: `status` does the work first: a 500 for what has happened all the same.
        """
        pattern = re.compile(path) if path else None
        fault = Fault(kind, nth, times, method, pattern, status, retry_after_s, delay_s, after)
        return self.faults.add(fault)

    # What is on disk

    def repo(self, repo_id: str, *, kind: str = "datasets") -> HostedRepo:
        """A repository as the server holds it."""
        found = self.state.find(kind, repo_id)
        assert found is not None, f"no {kind} repository is called {repo_id}"
        return found

    def repo_path(self, repo_id: str, *, kind: str = "datasets") -> Path:
        """The bare git repository."""
        return self.repo(repo_id, kind=kind).git.path

    def commits(self, repo_id: str, rev: str = "main", *, kind: str = "datasets") -> list[str]:
        """The commits of a revision, newest first, from `git log`."""
        return self.repo(repo_id, kind=kind).git.git("log", "--format=%H", rev, "--").split()

    def tags(self, repo_id: str, *, kind: str = "datasets") -> dict[str, str]:
        """Tags and the commits they lead to."""
        return self.repo(repo_id, kind=kind).git.refs().tags

    def tree(self, repo_id: str, rev: str = "main", *, kind: str = "datasets") -> dict[str, str]:
        """Every file of a revision: path -> sha256 of a large file, git blob of another."""
        git = self.repo(repo_id, kind=kind).git
        commit = git.resolve(rev)
        assert commit is not None, f"{repo_id} has no {rev}"
        found = {}
        for path, blob in git.files(commit).items():
            pointer = git.pointer(blob)
            found[path] = pointer.sha256 if pointer else blob
        return found

    def fsck(self, repo_id: str, *, kind: str = "datasets") -> None:
        """Let git check the repository, and look up every large file of every commit.

        Raises:
            GitError: with git's words.
            AssertionError: a commit points to a large file that the Hub does not hold.
        """
        repo = self.repo(repo_id, kind=kind)
        repo.git.fsck()
        for commit in repo.git.git("rev-list", "--all").split():
            for path, blob in repo.git.files(commit).items():
                pointer = repo.git.pointer(blob)
                if pointer:
                    size = self.state.lfs_size(repo, pointer.sha256)
                    assert size == pointer.size, f"{commit} {path}: {size}, not {pointer.size}"


class _Server(ThreadingHTTPServer):
    """One origin; it knows its open connections, to end them when the Hub closes."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, hub: LoopbackHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """End a connection and forget it."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection: clients keep theirs for the next request."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client may go at any time; anything else is a defect of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            self.hub.crashes.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    """Reads requests off one connection, applies faults, sends replies."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _exchange(self) -> None:
        hub = self.server.hub
        start = time.perf_counter()
        fault = hub.faults.take(self.command, self.path)
        kind = fault.kind if fault else None
        body = b""
        reply: Reply | None = None
        if kind != "drop":
            body = self._read_body()
            reply = self._reply(fault, body)
        if fault and kind == "slow":
            hub.stopping.wait(fault.delay_s)
        out = b"" if reply is None or kind == "lost" else self._as_bytes(reply)
        if reply is not None and kind == "truncate":
            size = len(reply.body) if self.command != "HEAD" else 0
            out = out[: len(out) - (size + 1) // 2] if size else b""
        hub.requests.append(
            Exchange(
                method=self.command,
                path=self.path,
                status=reply.status if reply and out else None,
                bytes_in=len(body),
                bytes_out=len(out),
                fault=str(fault) if fault else None,
                authorized="Authorization" in self.headers,
                seconds=time.perf_counter() - start,
            )
        )
        self.wfile.write(out)
        if kind in {"drop", "lost", "truncate"}:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _exchange  # noqa: N815

    def _reply(self, fault: Fault | None, body: bytes) -> Reply:
        if fault is None or fault.kind != "status" or fault.after:
            headers = cast("Mapping[str, str]", self.headers)  # names in any case
            request = Request(self.command, self.path, headers, body, self.server.origin)
            try:
                reply = answer(self.server.hub.state, request)
            except Exception:  # noqa: BLE001  # a defect of this server: the fixture fails the test
                self.server.hub.crashes.append(traceback.format_exc())
                return HubError(500, "The loopback Hub has a defect").reply()
            if fault is None or fault.kind != "status":
                return reply
        error = HubError(fault.status, f"Fault: {HTTPStatus(fault.status).phrase}")
        error.code = _FAULT_CODES.get(fault.status)
        if fault.retry_after_s is not None:
            error.headers["Retry-After"] = str(fault.retry_after_s)
        return error.reply()

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self._read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self._read(int(self.headers.get("Content-Length", 0)))

    def _read(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError("the client went in the middle of its request")
        return body

    def _as_bytes(self, reply: Reply) -> bytes:
        headers = {
            "Content-Length": str(len(reply.body) if reply.size is None else reply.size),
            "X-Request-Id": secrets.token_hex(8),
            **reply.headers,
        }
        lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        return head if self.command == "HEAD" else head + reply.body

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: `requests` is the log."""
