"""What passes between the socket and the routes: a request, a reply, an error in the Hub's form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One request, its body read; `host` is where it came in, `http://127.0.0.1:PORT`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    host: str

    @property
    def segments(self) -> list[str]:
        """The path's parts, split before they are unquoted: a revision may hold %2F."""
        return [unquote(part) for part in urlsplit(self.target).path.split("/")[1:]]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name; `name[]` counts as `name`."""
        found: dict[str, list[str]] = {}
        for key, values in parse_qs(urlsplit(self.target).query).items():
            found.setdefault(key.removesuffix("[]"), []).extend(values)
        return found

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes; both `True` and `1` are sent by clients."""
        return self.query.get(name, [""])[-1].lower() in {"1", "true"}

    def json(self) -> Any:
        """The body as JSON, an empty one as no fields."""
        try:
            return json.loads(self.body) if self.body else {}
        except ValueError as error:
            raise HubError(400, f"The body is not JSON: {error}") from error

    def form(self) -> dict[str, list[str]]:
        """The body's fields, sent as a form (Python client) or as JSON (JavaScript client)."""
        if "json" not in self.headers.get("Content-Type", ""):
            return parse_qs(self.body.decode())
        return {k: v if isinstance(v, list) else [str(v)] for k, v in self.json().items()}


@dataclass
class Reply:
    """One reply; `size` is the Content-Length when HEAD leaves the body out."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    size: int | None = None


class HubError(Exception):
    """An answer that is an error; `code`, as X-Error-Code, chooses the client's exception."""

    def __init__(self, status: int, message: str, code: str | None = None, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.fields = fields
        self.headers: dict[str, str] = {}

    def reply(self) -> Reply:
        """The error as the Hub sends it: in the body and, as far as it fits, in the headers."""
        message = str(self)
        reply = as_json({"error": message, **self.fields}, status=self.status)
        line = " ".join(message.split()).encode("ascii", "replace").decode()
        reply.headers |= {"X-Error-Message": line, **self.headers}
        if self.code:
            reply.headers["X-Error-Code"] = self.code
        return reply


def as_json(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with a JSON body."""
    head = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Reply(status, head, json.dumps(data).encode())


def entry_not_found(message: str) -> HubError:
    """404 for a path that a revision does not hold."""
    return HubError(404, message, "EntryNotFound")


def revision_not_found(rev: str) -> HubError:
    """404 for a branch, tag or commit that is not there."""
    return HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")


def repo_not_found(*, anonymous: bool) -> HubError:
    """A missing repository and a hidden one look alike; without a token the Hub says 401."""
    if anonymous:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")
