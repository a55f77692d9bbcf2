"""An object store on the loopback interface that speaks as much S3 as the real client asks for.

Objects live in a dict; a put is whole or absent, and there is neither rename nor lock: what makes
an object store another thing than a file system.
"""

from __future__ import annotations

import hashlib
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.sax.saxutils import escape

_DATE = "Sun, 29 Nov 2026 00:00:00 GMT"


@dataclass
class ObjectStore:
    """A running store.

    objects: {"bucket/key": bytes}. requests: (method, path) of each, in order.
    refusing: what is answered with 403: methods, such as "PUT", or "PUT progress.json" for a name.
    """

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refusing: set[str] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        """What points a client at it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "open-sesame",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def _name(self) -> tuple[str, dict[str, str]]:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        return urllib.parse.unquote(parts.path).strip("/"), query

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        length = headers.get("Content_Length", str(len(body)))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refused(self) -> bool:
        self.store.requests.append((self.command, self.path))
        last = self._name()[0].rpartition("/")[2]
        if not self.store.refusing & {self.command, f"{self.command} {last}"}:
            return False
        self._body()
        self._answer(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
        return True

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return data
        whole = b""
        while data:
            size, _, rest = data.partition(b"\r\n")
            count = int(size.split(b";")[0], 16)
            if count == 0:
                break
            whole, data = whole + rest[:count], rest[count + 2 :]
        return whole

    def do_HEAD(self) -> None:
        if not self._refused():
            self._get(self._name()[0])

    def do_GET(self) -> None:
        if self._refused():
            return
        name, query = self._name()
        if "/" not in name:
            self._list(name, query)
        else:
            self._get(name)

    def _get(self, name: str) -> None:
        if "/" not in name:
            self._answer(200)
            return
        data = self.store.objects.get(name)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
            return
        tag, size = f'"{hashlib.md5(data).hexdigest()}"', str(len(data))  # noqa: S324 - S3's own
        about = {"ETag": tag, "Last_Modified": _DATE, "Content_Length": size}
        spec = self.headers.get("Range")
        if spec and data:
            first, last = spec.removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1 if last else None]
            span = f"bytes {first}-{int(first) + len(part) - 1}/{size}"
            about |= {"Content_Length": str(len(part)), "Content_Range": span}
            self._answer(206, part, **about)
            return
        self._answer(200, data, **about)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys, folders = [], set()
        for name in sorted(self.store.objects):
            key = name.removeprefix(f"{bucket}/")
            if not name.startswith(f"{bucket}/") or not key.startswith(prefix):
                continue
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                keys.append(key)
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-29T00:00:00Z</LastModified>"
            f"<Size>{len(self.store.objects[f'{bucket}/{key}'])}</Size></Contents>"
            for key in keys
        )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders
        )
        text = (
            f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>"
            f"<KeyCount>{len(keys) + len(folders)}</KeyCount>{contents}{common}</ListBucketResult>"
        )
        self._answer(200, text.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        if self._refused():
            return
        name, data = self._name()[0], self._body()
        if "/" in name:
            self.store.objects[name] = data
        self._answer(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')  # noqa: S324

    def do_DELETE(self) -> None:
        if self._refused():
            return
        self.store.objects.pop(self._name()[0], None)
        self._answer(204)

    def log_message(self, *_args: Any) -> None:
        """Nothing to stderr."""


@contextmanager
def running_store() -> Iterator[ObjectStore]:
    """A store that answers until the block ends."""
    store = ObjectStore()
    handler = type("Handler", (_Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
