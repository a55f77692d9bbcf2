"""A Hub that refuses, fails or lies: the right rows or one sentence, never other rows."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import blobs
from tests.hub.warm_client import ClientError, WarmClient
from tests.sources.hub_desk import (
    ACTIONS,
    COMMIT,
    DATA,
    EACH_TROUBLE,
    TEXTS,
    TROUBLES,
    Desk,
    fetched,
    flip,
    local_rows,
    sentence,
)

# --- who may read, and whether the Hub answers


def test_a_private_dataset_needs_the_token(desk: Desk) -> None:
    desk.publish("alice/secret", {"rows.parquet": blobs(6)}, private=True)
    assert desk.opened(f"{DATA}alice/secret")["num_rows"] == 6
    for token in ("", "hf_wrong0123456789", desk.hub.token_of("bob")):
        message = desk.refused(f"{DATA}alice/secret", token=token)
        assert "alice/secret" in message
        assert "HF_TOKEN" in message
        assert not token or token not in message


def test_what_is_not_there_is_named(desk: Desk) -> None:
    desk.publish("acme/here", {"rows.parquet": blobs(6)})
    message = desk.refused(f"{DATA}acme/gone")
    assert "reading acme/gone@main failed: the Hub has no such dataset" in message
    message = desk.refused(f"{DATA}acme/here@v9")
    assert "reading acme/here@v9 failed: it has no such tag, branch or commit" in message
    assert COMMIT in desk.refused(f"{DATA}acme/here@{COMMIT}")


def test_offline_the_hub_is_not_asked(desk: Desk) -> None:
    desk.publish("acme/off", {"rows.parquet": blobs(6)})
    desk.asked()
    with (
        WarmClient(desk.hub, desk.folder / "off", env={"HF_HUB_OFFLINE": "1"}) as client,
        pytest.raises(ClientError) as caught,
    ):
        client.call(f"{ACTIONS}:opened", uri=f"{DATA}acme/off")
    message = sentence(caught.value, desk.hub)
    assert "reading acme/off@main failed: offline mode is on (HF_HUB_OFFLINE)" in message
    assert desk.asked() == []


def test_an_answer_that_is_not_the_hubs_is_told(desk: Desk) -> None:
    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    portal = HTTPServer(("127.0.0.1", 0), Portal)
    address = f"http://127.0.0.1:{portal.server_port}"
    thread = threading.Thread(target=portal.serve_forever, args=(0.02,))
    thread.start()
    with WarmClient(desk.hub, desk.folder / "lost", env={"HF_ENDPOINT": address}) as client:
        there = Desk(desk.hub, client, desk.folder)
        message = there.refused(f"{DATA}acme/lost")
        assert f"reading acme/lost@main failed: no answer from {address}" in message
        portal.shutdown()
        thread.join()
        portal.server_close()
        message = there.refused(f"{DATA}acme/lost")
        assert f"reading acme/lost@main failed: no answer from {address}" in message


STAGES = {"card": "^/api/datasets/acme/f$", "tree": "/tree/", "file": "/resolve/"}


@pytest.mark.slow
@pytest.mark.parametrize("trouble", EACH_TROUBLE)
def test_trouble_that_passes_is_sat_out(desk: Desk, trouble: str) -> None:
    copy = desk.publish("acme/f", {"rows.parquet": blobs(30)})
    for stage in STAGES.values():
        desk.forget()
        fault = desk.hub.fault(path=stage, method="GET", **TROUBLES[trouble])
        assert desk.rows(f"{DATA}acme/f").equals(local_rows(copy))
        assert fault.fired == 1
        desk.hub.faults.clear()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "trouble",
    ["500", "dropped", *(pytest.param(n, marks=pytest.mark.slow) for n in ("429", "cut short"))],
)
def test_trouble_that_stays_is_told(desk: Desk, trouble: str, stage: str) -> None:
    copy = desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault(path=STAGES[stage], times=None, **TROUBLES[trouble])
    message = desk.refused(f"{DATA}acme/f", "write_rows", path="never")
    assert "acme/f" in message
    assert str(TROUBLES[trouble].get("status", "no answer from")) in message
    assert "run the same command again" in message
    desk.hub.faults.clear()
    assert desk.rows(f"{DATA}acme/f").equals(local_rows(copy))


def test_the_hub_is_left_alone_for_as_long_as_it_asks(desk: Desk) -> None:
    desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault("status", status=429, path=STAGES["card"], retry_after_s=1)
    start = time.monotonic()
    desk.opened(f"{DATA}acme/f")
    assert time.monotonic() - start > 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_file_that_may_not_be_read_is_told(desk: Desk, status: int) -> None:
    desk.publish("acme/f", {"rows.parquet": blobs(30)})
    desk.hub.fault("status", status=status, path="/resolve/", times=None)
    message = desk.refused(f"{DATA}acme/f")
    assert "fetching rows.parquet of acme/f@" in message
    assert str(status) in message
    assert "HF_TOKEN" in message


# --- proof


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "plain.parquet"])
def test_a_byte_flipped_in_the_cache_is_fetched_anew(desk: Desk, name: str) -> None:
    content = TEXTS if name == "rows.csv" else blobs(30)
    files: dict[str, Any] = {name: content}
    if name == "plain.parquet":  # kept by git itself
        desk.publish("acme/flip", {".gitattributes": ""})
    copy = desk.publish("acme/flip", files)
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    home = desk.folder / "home-1"
    (cached,) = home.glob(f"hub/datasets--acme--flip/snapshots/*/{name}")
    flip(cached)
    desk.asked()
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    assert fetched(desk.asked()) == [name]
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
    assert fetched(desk.asked()) == []


def test_other_bytes_than_the_hub_says_are_never_accepted(desk: Desk) -> None:
    copy = desk.publish("acme/flip", {"rows.parquet": blobs(30)})
    sha256 = desk.hub.tree("acme/flip")["rows.parquet"]
    held = desk.hub.state.lfs_file(desk.hub.repo("acme/flip"), sha256)
    right = held.read_bytes()
    flip(held)
    for _ in range(2):
        message = desk.refused(f"{DATA}acme/flip", "write_rows", path="never")
        assert "rows.parquet of acme/flip@" in message
        assert "arrives with other content than the Hub says it has" in message
    held.write_bytes(right)
    assert desk.rows(f"{DATA}acme/flip").equals(local_rows(copy))
