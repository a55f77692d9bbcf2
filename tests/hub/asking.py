"""How tests ask a Hub: through the client's process, or by one plain request."""

from __future__ import annotations

import http.client
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.hub.server import LoopbackHub
from tests.hub.warm_client import ClientError, WarmClient


def run(client: WarmClient, action: str, **kwargs: Any) -> Any:
    """Run an action in the client's process."""
    return client.call(f"tests.hub.actions:{action}", **kwargs)


def refused(client: WarmClient, action: str, **kwargs: Any) -> ClientError:
    """The error that an action ends with."""
    with pytest.raises(ClientError) as caught:
        run(client, action, **kwargs)
    return caught.value


class Answer(NamedTuple):
    """A reply, read."""

    status: int
    headers: Message
    body: bytes


def ask(
    hub: LoopbackHub, method: str, path: str, *, body: str = "", token: str = "", **headers: str
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(hub.endpoint).netloc, timeout=10)
    try:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, body or None, headers)
        reply = connection.getresponse()
        return Answer(reply.status, reply.headers, reply.read())
    finally:
        connection.close()
