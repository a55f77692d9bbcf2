"""Runs `dataprune` commands in forks of a process that has the imports behind it, Ray's excepted.

Each line on stdin is a JSON object: `args`, `env`, and `folder`, where the command's `out`, `err`
and at last its exit `code` are left. The answer is the pid of the command's process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pyarrow.parquet  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch  # noqa: F401

import dataprune.flow
import dataprune.probe.unit  # noqa: F401
from dataprune.cli import main


def run(asked: dict[str, object], told: int) -> None:
    """Fork the command, tell its pid, wait for its end and leave its exit code; never returns."""
    folder = Path(str(asked["folder"]))
    pid = os.fork()
    if pid == 0:
        os.close(told)
        for name, stream in (("out", 1), ("err", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), stream)
        os.environ |= asked["env"]  # type: ignore[operator]
        sys.argv = ["dataprune", *asked["args"]]  # type: ignore[misc]
        main()
    os.write(told, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    (folder / "code.tmp").write_text(str(code))
    (folder / "code.tmp").rename(folder / "code")
    os._exit(0)


def serve() -> None:
    """Answer until stdin ends."""
    told = os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    lines = os.fdopen(os.dup(0))
    os.dup2(null, 0)
    for line in iter(lines.readline, ""):
        if os.fork() == 0:
            lines.close()
            run(json.loads(line), told)


if __name__ == "__main__":
    serve()
