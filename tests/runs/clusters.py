"""A Ray cluster for tests, and drivers that use it by its address: processes of their own, all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runs.forks import Fork, ForkServer
from tests.runs.processes import HELD, HERE, REPO

STORE_BYTES = 80 << 20


@dataclass(frozen=True)
class Node:
    """A node of the cluster: its id, its raylet's pid, the port of its metrics."""

    id: str
    raylet: int
    metrics: int


class Cluster:
    """A cluster that a `cluster_server` runs, at first of nodes of one CPU each.

    folder: with a short path, since Ray's sockets lie in there.
    """

    def __init__(self, folder: Path, num_nodes: int, forks: ForkServer) -> None:
        self.forks = forks
        self.env = {
            **os.environ,
            "HOME": str(folder),
            "RAY_TMPDIR": str(folder),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": f"{REPO}{os.pathsep}{HELD}",
        }
        self._log = (folder / "server.log").open("w")
        self._server = subprocess.Popen(
            [sys.executable, HERE / "cluster_server.py"], env=self.env, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self.address = ""
        self.nodes = [self.add() for _ in range(num_nodes)]

    def add(self, **options: Any) -> Node:
        """A node more."""
        options = {"num_cpus": 1, "object_store_memory": STORE_BYTES, **options}
        told = self._ask(options)
        self.address = told.pop("address")
        return Node(**told)

    def remove(self, node: Node) -> None:
        """Kill every process of a node at once."""
        self._ask({"remove": node.id})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._server.stdout.readline())
        return answer

    def end(self) -> None:
        """End it, and whatever it left."""
        with contextlib.suppress(BrokenPipeError), contextlib.suppress(subprocess.TimeoutExpired):
            self._server.communicate(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()
        self._log.close()

    def score(self, recipe: Path, work: Path, *args: object) -> Fork:
        """Start `dataprune score` on the cluster."""
        on = ("--runner", "ray", "--address", self.address)
        return self.forks.start("score", recipe, "--work", work, *on, "--json", *args, env=self.env)

    def drive(
        self, folder: Path, units: list[tuple[str, dict[str, Any]]], **resources: Any
    ) -> subprocess.Popen[str]:
        """Start a job of unit functions on the cluster."""
        process = subprocess.Popen(
            [sys.executable, str(HERE / "drive.py")], env=self.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        resources = {"address": self.address, **resources}
        job = {"folder": str(folder), "units": units, "resources": resources}
        assert process.stdin is not None
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        process.stdin = None
        return process

    def workers(self, named: str = "ray::_run_in_worker", node: Node | None = None) -> list[int]:
        """Pids of workers that do what the name says now, on that node or any."""
        raylets = {n.raylet for n in ([node] if node else self.nodes)}
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent in raylets and (stat.parent / "cmdline").read_text().startswith(named):
                    found.append(int(stat.parent.name))
        return found
