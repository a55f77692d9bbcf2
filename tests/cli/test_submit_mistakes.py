"""`dataprune submit` without a cluster: what can be told at once is, in one sentence."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

AT = ["--address", "http://127.0.0.1:9"]


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server on this machine that gives every question the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["digist", *AT], "there is no recipe digist"),
        (["digits"], "give --address"),
        (["digits", "--address", "HEAD:8265"], "give a URL such as http://HEAD:8265"),
        (["digits", "--address", "ray://head:10001"], "not the address of a cluster's dashboard"),
        (["digits", "--address", "http://me:pw@head"], "the address holds credentials"),
        (["digits", *AT, "--work", "runs"], "read on the cluster"),
        (["digits", *AT, "--env", "HF_TOKEN=x"], "HF_TOKEN looks like a secret"),
        (["digits", *AT, "--env", "HOME"], "is not NAME=VALUE"),
        (["digits", *AT, "--working-dir", "."], "digits is a shipped recipe"),
        (["digits", *AT, "--", "--sedes", "3"], "--sedes"),
        (["digits", *AT, "extra"], "arguments of the job go behind --"),
        (["digits", *AT, "--again", "--attach"], "choose one of"),
        (["digits", *AT, "--stop", "--detach"], "choose one of"),
        (["digits", *AT, "--id", "x"], "give a RECIPE or --id"),
        ([*AT], "give a RECIPE"),
        (["--id", "x", *AT, "--again"], "--again has no effect"),
    ],
)
def test_a_mistake_is_told_before_a_cluster_is_asked(
    arguments: list[str], told: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    done = cli("submit", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_where_nothing_listens_that_is_said(cli: Cli) -> None:
    done = cli("submit", "digits", *AT)
    assert done.code == 1
    assert "nothing answers at http://127.0.0.1:9: connection refused" in done.err


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, json.dumps({"ray_version": "1.13.0"}), "runs Ray 1.13.0, which is too old"),
        (200, "<html>another page</html>", "is not a Ray cluster"),
        (404, "{}", "is not a Ray cluster (HTTP 404)"),
        (502, "bad gateway", "is not a Ray cluster (HTTP 502)"),
        (401, "who are you", "refuses this token, or wants one"),
        (403, "not you", "refuses this token, or wants one"),
    ],
)
def test_what_is_no_cluster_for_us_is_told_apart(
    status: int, body: str, told: str, cli: Cli
) -> None:
    with answering(status, body) as address:
        done = cli("submit", "digits", "--address", address)
    assert done.code == 1
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 2  # the error and its hint


def test_a_bad_recipe_file_is_told_by_name(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nsource: {uri: digits}\nseedz: 3\n")
    done = cli("submit", tmp_path / "mine.yaml", *AT)
    assert done.code == 2
    assert "unknown key seedz" in done.err
    assert "did you mean seed" in done.err
