"""One question to an OpenAI-compatible server: sent, retried within a deadline, answered or failed.

A failure is a value. Raised is only what will make every question fail, such as a wrong key, and
only before there was any reply: later it is a failure like others, so that nothing is lost.
The API key is read from the environment, sent in the Authorization header and cut out of all text
that comes back, as some servers repeat it. Redirects are not followed: they could carry it away.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import math
import os
import random
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2

from dataprune.core.errors import DatapruneError, UsageError
from dataprune.core.recipe_curate import JudgeRecipe
from dataprune.trajectories.judge.prompts import Prompt
from dataprune.trajectories.judge.replies import Reply

logger = logging.getLogger(__name__)

_UNKNOWN_FORMAT = {400, 422}  # the second from servers that check requests by a schema
_MOST_BYTES = 1 << 20  # of a response: max_tokens of text is far below
_LONGEST_WAIT_S = 60.0  # between two tries, unless the server asks for more
_SECRET = 8  # characters of a key: shorter ones, such as EMPTY, are fillers for local servers
_SHOWN = 200  # characters of a server's own words in an error


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the server counted; None where it does not say."""

    tokens_in: int | None
    tokens_out: int | None


@dataclass(frozen=True, slots=True)
class Failure:
    """No reply.

    reason: without anything the server or the texts said, for a ledger. said: the server's own
    words, in short and without the key, for a person to read.
    """

    reason: str
    said: str = ""


class HopelessError(DatapruneError):
    """The server will refuse every question: wrong key, wrong model, wrong address."""


@dataclass(frozen=True, slots=True)
class _Try:
    """How one request ended: with a response, or without and then `reason` says how."""

    status: int = 0
    body: str = ""
    retry_after_s: float | None = None
    reason: str = ""
    could_connect: bool = True


class Client:
    """Asks one server. One at a time may be open; `ask` may run many times at once."""

    def __init__(self, settings: JudgeRecipe, *, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self.url = _url(settings.base_url)
        self._key = _key(settings.key_env)
        self._schema_refused = False  # json_schema: then json_object, and our own check
        self._schema_taken = False
        self.has_worked = False
        self._http: httpx2.AsyncClient | None = None
        # Reading the system's certificates takes a fifth of a second: once, and only for https. A
        # context without any trusts nobody.
        is_https = self.url.lower().startswith("https:")
        self._tls = (
            httpx2.create_ssl_context() if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )

    async def __aenter__(self) -> Client:
        headers = {"Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._http = httpx2.AsyncClient(
            headers=headers,
            verify=self._tls,
            # Connecting ends before the whole does, so that the two are told apart.
            timeout=httpx2.Timeout(self._settings.timeout_s, connect=self._settings.timeout_s / 2),
            limits=httpx2.Limits(max_connections=self._settings.concurrency),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.aclose()
        self._http = None

    async def ask(self, prompt: Prompt, *, vote: int) -> tuple[Reply, Usage] | Failure:
        """Ask until there is a reply or the deadline has passed.

        Raises:
            HopelessError: the key, the model or the address is refused, whatever is asked.
        """
        end = time.monotonic() + self._settings.deadline_s
        draw = random.Random(f"{self._seed} {vote} {prompt.messages}")  # noqa: S311 - spreads retries
        tries = 0
        while True:
            tried = await self._send(prompt, vote=vote, end=end)
            tries += 1
            if tried.status == httpx2.codes.OK:
                return self._read(tried.body)
            if not _may_pass(tried):
                return self._refused(tried)
            pause = min(self._settings.retry_s * 2.0 ** min(tries - 1, 60), _LONGEST_WAIT_S)
            pause = max(pause * draw.uniform(0.5, 1), tried.retry_after_s or 0)
            if time.monotonic() + pause >= end:
                return self._given_up(tried, tries)
            await asyncio.sleep(pause)

    async def _send(self, prompt: Prompt, *, vote: int, end: float) -> _Try:
        """One request; a second at once where the server does not know json_schema."""
        in_words = self._schema_refused
        tried = await self._request(prompt, vote=vote, in_words=in_words, end=end)
        if tried.status == httpx2.codes.OK:
            self._schema_taken = self._schema_taken or not in_words
        if tried.status not in _UNKNOWN_FORMAT or in_words or self._schema_taken:
            return tried
        plain = await self._request(prompt, vote=vote, in_words=True, end=end)
        if plain.status == httpx2.codes.OK and not self._schema_refused:
            self._schema_refused = True
            logger.warning(
                "the judge's server takes no json_schema: it is asked for json_object from now on, "
                "and replies are checked here as before"
            )
        return plain

    async def _request(self, prompt: Prompt, *, vote: int, in_words: bool, end: float) -> _Try:
        assert self._http is not None
        body = request_body(prompt, self._settings, vote=vote, seed=self._seed)
        if in_words:
            body["response_format"] = {"type": "json_object"}
        content = json.dumps(body).encode()
        seconds = max(min(self._settings.timeout_s, end - time.monotonic()), 0.001)
        try:
            # A limit on the whole: a server that drips a byte now and then passes any on reads.
            async with asyncio.timeout(seconds):
                return await self._exchange(self._http, content)
        except (TimeoutError, httpx2.TimeoutException) as exc:
            is_connecting = isinstance(exc, httpx2.ConnectTimeout)
            return _Try(reason="the judge did not answer in time", could_connect=not is_connecting)
        except httpx2.ConnectError:
            return _Try(reason="the judge could not be reached", could_connect=False)
        except (httpx2.HTTPError, httpx2.StreamError, OSError):
            return _Try(reason="the judge broke off")

    async def _exchange(self, http: httpx2.AsyncClient, content: bytes) -> _Try:
        headers = {"Content-Type": "application/json"}
        async with http.stream("POST", self.url, content=content, headers=headers) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return _Try(response.status_code)  # and an empty body is of no use
            text = body.decode("utf-8", "replace")
            wait = _retry_after_s(response.headers.get("Retry-After"))
            return _Try(response.status_code, text, retry_after_s=wait)

    def _read(self, body: str) -> tuple[Reply, Usage] | Failure:
        """The first choice of a chat completion."""
        try:
            data = json.loads(body)
            choice = data["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
            finish = choice.get("finish_reason")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return Failure("the response is not a chat completion")
        self.has_worked = True
        texts = [self._clean(text) for text in (content, finish, refusal)]
        return Reply(texts[0] or "", texts[1], texts[2]), _usage(data.get("usage"))

    def _refused(self, tried: _Try) -> Failure:
        said = self._said(tried)
        if self.has_worked or tried.status in {400, 409, 413, 422}:  # this question, not every one
            return Failure(f"the judge refused the question (HTTP {tried.status})", said)
        raise HopelessError(
            f"the judge at {self.url} answers HTTP {tried.status}: {said or 'no reason given'}",
            hint=self._advice(tried.status),
        )

    def _advice(self, status: int) -> str:
        env = self._settings.key_env
        if status in {401, 403} and not self._key:
            return f"put the key in the environment variable {env}, or name another with key_env"
        if status in {401, 403}:
            return f"check the key in the environment variable {env}"
        if status == 404:
            return f"check that base_url is right and serves the model {self._settings.model}"
        return "check base_url: it ends before /chat/completions, often with /v1"

    def _given_up(self, tried: _Try, tries: int) -> Failure:
        if not tried.could_connect and not self.has_worked:
            raise HopelessError(
                f"no judge can be reached at {self.url}",
                hint="start the server, or check base_url",
            )
        reason = tried.reason or f"the judge answered HTTP {tried.status}"
        return Failure(f"{reason}; tried {tries} times", self._said(tried))

    def _said(self, tried: _Try) -> str:
        """The head of a refusal on one line; the key goes before the cut, which could halve it."""
        return " ".join((self._clean(tried.body) or "").split())[:_SHOWN]

    def _clean(self, text: Any) -> str | None:
        """A server's text without the key and without what UTF-8 cannot hold; None if no text."""
        if not isinstance(text, str):
            return None
        shown = text.encode("utf-8", "replace").decode("utf-8")
        return shown.replace(self._key, "[key]") if len(self._key) >= _SECRET else shown


def request_body(prompt: Prompt, settings: JudgeRecipe, *, vote: int, seed: int) -> dict[str, Any]:
    """The request, which but for the prompt's version is also what a cached reply hangs on."""
    schema = {"name": "verdict", "strict": True, "schema": prompt.schema}
    return {
        "model": settings.model,
        "messages": list(prompt.messages),
        "temperature": 0,
        "max_tokens": settings.max_tokens,
        "seed": (seed + vote) % 2**31,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


def _may_pass(tried: _Try) -> bool:
    """Whether the same request may do better later."""
    return tried.status in {0, 408, 425, 429} or tried.status >= 500


def _usage(said: Any) -> Usage:
    counts = (
        [said.get(name) for name in ("prompt_tokens", "completion_tokens")]
        if isinstance(said, dict)
        else [None, None]
    )
    known = [n if isinstance(n, int) and 0 <= n < 2**53 else None for n in counts]
    return Usage(known[0], known[1])


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from now, from a number of seconds or a date; None where it is neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _url(base_url: str | None) -> str:
    if base_url is None:
        raise UsageError("the judge has no base_url", hint="such as http://127.0.0.1:8000/v1")
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as exc:
        raise UsageError("the judge's base_url is not an address") from exc
    if url.userinfo:  # not shown: it is a secret
        raise UsageError(
            "the judge's base_url holds a user or password",
            hint="put the key in the environment variable that key_env names",
        )
    if url.query or url.fragment:  # some put a key there: not shown either
        raise UsageError(
            "the judge's base_url goes on after its path", hint="leave out ? or # and what follows"
        )
    has_place = url.host and (url.port is None or 0 < url.port < 2**16)
    if url.scheme not in {"http", "https"} or not has_place:
        raise UsageError(
            f"the judge's base_url is {base_url}", hint="such as http://127.0.0.1:8000/v1"
        )
    return f"{base_url.rstrip('/')}/chat/completions"


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"the environment variable {variable} holds no key that can be sent")
    return key
