"""Runs `dataprune` commands in fresh forks of a process that has the imports behind it.

Each line on stdin is a JSON list: a command line. The answer is two lines: the fork's pid when it
starts, and its exit code when it ends (negative for a signal). Killing a fork is killing a
`dataprune` process at a chosen moment of its work rather than of its imports.
"""

from __future__ import annotations

import json
import os
import sys

import pyarrow.parquet  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch  # noqa: F401

import dataprune.flow
import dataprune.probe.unit  # noqa: F401
from dataprune.cli import main


def serve() -> None:
    """Answer until stdin ends."""
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        args = json.loads(line)
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1):
                os.dup2(null, stream)
            sys.argv = ["dataprune", *args]
            main()
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
