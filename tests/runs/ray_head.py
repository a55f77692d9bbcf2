"""A real Ray head for tests: started as its own process group, and only that is ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S, END_S = 90, 8


@dataclass(frozen=True)
class Head:
    """A running head: its dashboard, and the process that can be killed."""

    address: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_head(folder: Path, *, num_cpus: int = 3, **environment: str) -> Iterator[Head]:
    """Start a head with ports of its own; end it, and what it started, by its process group.

    folder: short, since Ray puts sockets below it.
    """
    gcs, dashboard, client, agent = _free_ports(4)
    bin_folder = Path(sys.executable).parent
    log = (folder / "ray.log").open("wb")
    process = subprocess.Popen(
        [
            str(bin_folder / "ray"), "start", "--head", "--block", "--disable-usage-stats",
            f"--port={gcs}", f"--dashboard-port={dashboard}", "--include-dashboard=true",
            f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
            f"--num-cpus={num_cpus}", "--object-store-memory=100000000", f"--temp-dir={folder}/r",
        ],
        stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=folder,
        env={
            **os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environment,
        },
    )  # fmt: skip
    head = Head(f"http://127.0.0.1:{dashboard}", process)
    try:
        _wait_for(head, folder / "ray.log")
        yield head
    finally:
        end(head)
        log.close()


def end(head: Head) -> None:
    """End the head: first gently, so that it takes down what it started, then for sure."""
    for how, patience in ((signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            head.process.wait(patience)


def _wait_for(head: Head, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{head.address}/api/version", timeout=5).close()  # noqa: S310
        except urllib.error.HTTPError as exc:
            with exc:  # it answers: that it wants a token
                return
        except OSError:
            pass
        else:
            return
        assert head.process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def _free_ports(count: int) -> list[int]:
    """Free ports above those that Ray gives to workers, below those that connections take."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(20_000, 32_000)  # noqa: S311
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            ports.append(port)
    return ports
