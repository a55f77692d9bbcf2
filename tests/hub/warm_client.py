"""The client's side: the environment it needs, and a warm process that runs many calls in it.

Whether xet is used, and where the Hub is, is settled when huggingface_hub is imported, so client
code runs in a process of its own; importing it takes a second, so one process serves many calls.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.hub.server import LoopbackHub

REPO = Path(__file__).resolve().parents[2]
PROCESS = Path(__file__).with_name("client_process.py")


class ClientError(Exception):
    """What a call raised in the client's process: its type's name, its bases', its message."""

    def __init__(self, kind: str, kinds: Sequence[str], message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}\n{trace}")
        self.kind = kind
        self.kinds = tuple(kinds)
        self.message = message
        self.trace = trace


def client_env(hub: LoopbackHub, home: Path, *, token: str | None = None) -> dict[str, str]:
    """The whole environment of a process that is a client of this Hub.

    Args:
        hub: the Hub; in LFS mode the client's xet is switched off.
        home: a fresh folder for caches and tokens.
        token: the Hub's `token` unless another is given; the empty one for none at all.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env = {
        **inherited,
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token if token is None else token,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(REPO),
    }
    if not hub.xet:
        env["HF_HUB_DISABLE_XET"] = "1"
    if not env["HF_TOKEN"]:
        del env["HF_TOKEN"]
    return env


class WarmClient:
    """A process with huggingface_hub imported, that runs `module:function` calls one by one."""

    def __init__(
        self,
        hub: LoopbackHub,
        home: Path,
        *,
        imports: Sequence[str] = (),
        token: str | None = None,
        max_sleep_s: float = 0.02,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process; the first call waits until it is ready.

        After `kill` the next call starts another.

        Args:
            hub: the Hub it is a client of.
            home: the folder for its HF_HOME and what it says on stderr; made if missing.
            imports: modules to import ahead of the first call.
            token: as for `client_env`.
            max_sleep_s: the longest that the client waits between two tries of one request.
            env: more environment variables.
        """
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self._command = [sys.executable, str(PROCESS), str(max_sleep_s), *imports]
        self._env = {**client_env(hub, home / "hf", token=token), **(env or {})}
        self._process: subprocess.Popen[str] | None = None
        self._launch()

    def _launch(self) -> subprocess.Popen[str]:
        with (self.home / "stderr.txt").open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._ready = False
        return self._process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def call(
        self, function: str, *, timeout_s: float = 60, fresh_cache: bool = False, **kwargs: Any
    ) -> Any:
        """Run `module:function(**kwargs)` there; its result, which JSON can hold.

        Args:
            function: what to run; kwargs must be what JSON can hold.
            timeout_s: after this long the process is killed.
            fresh_cache: pass `cache_dir`, a new empty folder.
            kwargs: the arguments.

        Raises:
            ClientError: the call raised.
            TimeoutError: it took too long.
        """
        self.start(function, fresh_cache=fresh_cache, **kwargs)
        return self.result(timeout_s=timeout_s)

    def start(self, function: str, *, fresh_cache: bool = False, **kwargs: Any) -> None:
        """Begin a call, to be ended by `result`, or by `kill`."""
        if fresh_cache:
            kwargs["cache_dir"] = tempfile.mkdtemp(dir=self.home)
        process = self._process or self._launch()
        if not self._ready:
            self._line(60)
            self._ready = True
        assert process.stdin is not None
        process.stdin.write(json.dumps({"function": function, "kwargs": kwargs}) + "\n")
        process.stdin.flush()

    def result(self, *, timeout_s: float = 60) -> Any:
        """Wait for the call that was begun."""
        answer = json.loads(self._line(timeout_s))
        if "error" in answer:
            raise ClientError(**answer["error"])
        return answer["result"]

    def kill(self) -> None:
        """End the process as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()

    def stderr(self) -> str:
        """What the process has said: the client's log among it."""
        return (self.home / "stderr.txt").read_text(errors="replace")

    def _line(self, timeout_s: float) -> str:
        assert self._process is not None, "no call has been begun"
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], timeout_s)[0]:
            self.kill()
            raise TimeoutError(f"no answer in {timeout_s} s\n{self.stderr()}")
        line = stdout.readline()
        if not line:
            self.kill()
            raise EOFError(f"the client's process has ended\n{self.stderr()}")
        return line
