"""A cluster of another Ray or Python is refused in one sentence; a closed stderr stays closed."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray._private.utils import check_version_info

from dataprune.runs import ray_connect

OLD_RAY = "2.9.9"
PYTHON = platform.python_version()
HINT = "run both from one image, or install the same versions of Ray and Python"

# Each process of the cluster takes itself for the old Ray and says so wherever it is asked.
AGED = f"""
import ray
ray.__version__ = "{OLD_RAY}"
"""

# Connects once per address, in one process, and prints what came of it. A job without units does
# nothing but connect, look at the nodes and put its arrays.
CONNECT = """
import json, pathlib, sys
from dataprune.core.errors import DatapruneError
from dataprune.core.protocols import Job, Resources
from dataprune.runs.ray_tasks import RayRunner
for address in sys.argv[1:]:
    job = Job(pathlib.Path("run"), [], {}, Resources(address=address))
    try:
        print(json.dumps(RayRunner().run(job, print)))
    except DatapruneError as exc:
        print(json.dumps([exc.message, exc.hint]))
"""


def sentence(address: str, ray_version: str, python_version: str) -> str:
    return (
        f"the cluster at {address} runs Ray {ray_version} on Python {python_version}, "
        f"and this is Ray {ray.__version__} on Python {PYTHON}"
    )


@pytest.mark.parametrize(
    "theirs", [(OLD_RAY, PYTHON), (ray.__version__, "3.99.0"), (OLD_RAY, "3.99.0")]
)
def test_the_words_of_rays_own_check_become_one_sentence(theirs: tuple[str, str]) -> None:
    cluster = dict(zip(("ray_version", "python_version"), theirs, strict=True))
    with pytest.raises(RuntimeError) as told:
        check_version_info(cluster, "node 10.0.0.7")
    error = ray_connect._refusal("10.0.0.1:6379", str(told.value))
    assert (error.message, error.hint) == (sentence("10.0.0.1:6379", *theirs), HINT)


def test_any_other_refusal_is_told_in_rays_words() -> None:
    error = ray_connect._refusal("head:6379", "no\n  such   cluster")
    assert error.message == "cannot reach a Ray cluster at head:6379: no such cluster"
    assert error.hint == "check --address, or leave it out to run on this machine"


@dataclass(frozen=True)
class Head:
    """A cluster of one node that takes itself for an older Ray."""

    address: str
    client_address: str
    environment: dict[str, str]

    def record(self, ray_version: str, python_version: str) -> None:
        """Write other versions where the cluster keeps its own."""
        client = ray._raylet.GcsClient(address=self.address)
        key, namespace = b"CLUSTER_METADATA", b"cluster"
        known = json.loads(client.internal_kv_get(key, namespace=namespace))
        assert known.keys() >= {"ray_version", "python_version"}
        known |= {"ray_version": ray_version, "python_version": python_version}
        client.internal_kv_put(key, json.dumps(known).encode(), True, namespace=namespace)

    def connect(self, *addresses: str) -> list[list[str]]:
        """What connecting comes to, in a process of its own: [] or [message, hint], each."""
        done = subprocess.run(
            [sys.executable, "-c", CONNECT, *addresses],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Start the cluster on the loopback interface; end it by the group of its processes."""
    # Not tmp_path: Ray's sockets lie in there, and their paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-") as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(AGED)
        # Without the second, Ray takes the machine's outer address for 127.0.0.1.
        ours = {**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        port, client_port = free_port(), free_port()
        options = {
            "node-ip-address": "127.0.0.1",
            "port": port,
            "ray-client-server-port": client_port,
            "dashboard-agent-listen-port": free_port(),
            "include-dashboard": "false",
            "num-cpus": 1,
            "object-store-memory": 80 << 20,
            "temp-dir": folder / "t",
        }
        command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block"]
        command += [f"--{key}={value}" for key, value in options.items()]
        log = folder / "log.txt"
        # With gRPC's handlers of fork, one start in four of Ray's own ray:// server failed here.
        with log.open("w") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=True,
                env={**ours, "PYTHONPATH": name, "GRPC_ENABLE_FORK_SUPPORT": "0"},
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while "Ray runtime started" not in log.read_text() or not answers(client_port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Head(f"127.0.0.1:{port}", f"ray://127.0.0.1:{client_port}", ours)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_of_another_ray_is_refused_at_both_of_its_doors(head: Head) -> None:
    doors = (head.address, head.client_address)
    assert head.connect(*doors) == [[sentence(door, OLD_RAY, PYTHON), HINT] for door in doors]


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_of_another_python_is_refused_and_one_of_ours_is_not(head: Head) -> None:
    head.record(ray.__version__, "3.99.0")
    assert head.connect(head.address) == [[sentence(head.address, ray.__version__, "3.99.0"), HINT]]
    head.record(ray.__version__, PYTHON)
    assert head.connect(head.address) == [[]]


@pytest.mark.slow
@pytest.mark.ray
def test_after_a_refusal_the_same_process_can_connect_elsewhere(head: Head) -> None:
    head.record(OLD_RAY, PYTHON)
    refused, done = head.connect(head.address, "local")
    assert refused[1] == HINT
    assert done == []


@pytest.mark.parametrize("closed_by", ["the shell", "the process"])
def test_ending_ray_with_stderr_closed_leaves_other_files_alone(
    closed_by: str, tmp_path: Path
) -> None:
    code = """
import os, sys
from dataprune.runs.ray_connect import _native_stderr_muted
if sys.argv[1] == "the process":
    os.close(2)
    with _native_stderr_muted():
        pass
    sys.stdout.write("went through")
else:
    assert sys.stderr is None
    found = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY)
    assert found == 2, "the file did not get stderr's number"
    with _native_stderr_muted():
        os.write(found, b"kept")
    sys.stdout.write("went through")
"""
    shell = f'exec "$@" {"2>&-" if closed_by == "the shell" else ""}'
    file = tmp_path / "file.txt"
    command = ["sh", "-c", shell, "sh", sys.executable, "-c", code, closed_by, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "went through")
    if closed_by == "the shell":
        assert file.read_text() == "kept"
