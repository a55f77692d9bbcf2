"""A server of chat completions on loopback that answers, stalls, lies and dies."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Act:
    """What the server does with a request. stall_s: before it does it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stall_s: float = 0
    drip_s: float = 0  # between two bytes of the body
    half: bool = False  # hang up in the middle of the body


def says(content: Any, *, finish: str | None = "stop", **more: Any) -> Act:
    """A well-formed completion; content that is no text is sent as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text, "refusal": None, **more}
    completion = {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10},
    }
    return Act(body=json.dumps(completion).encode())


Handle = Callable[["JudgeServer", dict[str, Any]], Act]


class JudgeServer:
    """Answers `/v1/chat/completions` by a function of (server, request); keeps all requests."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.crashes: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.judge = self
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        self._closed.wait(seconds)

    def die(self) -> None:
        """Close the port and hang up on every client."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()
        with self.lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # waits for the threads

    def die_soon(self) -> None:
        """Die from within a request."""
        threading.Thread(target=self.die).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    judge: JudgeServer

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self.judge.lock:
            self.judge._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self.judge.lock:
            self.judge._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        if not isinstance(sys.exception(), ConnectionError):
            self.judge.crashes.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        judge = self.server.judge
        length = int(self.headers["Content-Length"])
        raw = self.rfile.read(length)
        if len(raw) < length:  # the client, or this server, has gone
            self.close_connection = True
            return
        body = json.loads(raw)
        with judge.lock:
            judge.at_once += 1
            judge.most_at_once = max(judge.most_at_once, judge.at_once)
            judge.requests.append(body)
            judge.headers.append(dict(self.headers))
        try:
            if self.path == "/v1/chat/completions":
                act = judge.handle(judge, body)
            else:
                act = Act(404, b'{"error": "no such path"}')
            judge.sleep(act.stall_s)
        finally:
            with judge.lock:
                judge.at_once -= 1
        self._send(act)

    def _send(self, act: Act) -> None:
        self.send_response(act.status)
        for name, value in act.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(act.body)))
        self.end_headers()
        if act.drip_s:
            for byte in act.body:
                self.wfile.write(bytes([byte]))
                time.sleep(act.drip_s)
                if self.server.judge._closed.is_set():
                    break
        else:
            self.wfile.write(act.body[: len(act.body) // 2] if act.half else act.body)
        if act.half:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Stay silent."""
