"""`dataprune` commands as processes that start without the seconds of imports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.runs.processes import HELD, REPO


class Fork:
    """A command that runs, or ran; has what tests need of a Popen."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid, self.folder = pid, folder

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        code = self.folder / "code"
        return int(code.read_text()) if code.exists() else None

    @property
    def returncode(self) -> int | None:
        """As `poll`."""
        return self.poll()

    def kill(self) -> None:
        """SIGKILL it, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """What it printed, once it has ended."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("dataprune", timeout)
            time.sleep(0.01)
        return (self.folder / "out").read_text(), (self.folder / "err").read_text()


class ForkServer:
    """The process that forks them. What `held/` holds in a work folder is held in them, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(REPO), str(HELD)])
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("fork_server.py")],
            env={**os.environ, "PYTHONPATH": path, "RAY_AUTH_MODE": "disabled"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, *args: object, env: dict[str, str] | None = None) -> Fork:
        """Start a command."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        asked = {"args": [str(a) for a in args], "env": env or {}, "folder": str(folder)}
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return Fork(int(self._server.stdout.readline()), folder)

    def end(self) -> None:
        """End the server; commands have ended."""
        self._server.communicate(timeout=30)
