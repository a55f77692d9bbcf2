"""Connecting to Ray: one of our own on this machine, or a cluster by its address."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.core.extras import require
from dataprune.core.protocols import Job

_CONNECT_S = 5
_STORE_SPARE_BYTES = 128 << 20
_STORE_LEAST_BYTES = 256 << 20
# The cluster's versions, then ours, as Ray's own check lists them.
_VERSIONS = re.compile(r"^ *Ray: (\S+)\n *Python: (\S+)$", re.MULTILINE)


@contextlib.contextmanager
def connected(job: Job) -> Iterator[Any]:
    """The `ray` module, connected; what was started here is ended after.

    Raises:
        DatapruneError: there is no cluster at the address, or it runs another Ray or Python.
        MissingExtraError: Ray is not installed.
    """
    address = job.resources.address or "local"
    # Read when ray is first imported: no phoning home; on a Ray of our own no token file in the
    # user's home, and no endless retries of a unit that does not fit in memory.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_task_oom_retries", str(job.resources.max_retries))
    ray = require("ray", extra="ray", why="the ray runner")
    if ray.is_initialized():
        if job.resources.address is not None:
            raise DatapruneError(
                f"Ray is connected in this process already, so address {address} has no effect",
                hint="leave the address out, or call ray.shutdown() first",
            )
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False}
    _check_reachable(address)
    if address == "local":
        data_bytes = sum(array.nbytes for array in job.shared.values())
        options["num_cpus"] = len(os.sched_getaffinity(0))
        options["object_store_memory"] = max(
            _STORE_LEAST_BYTES, int(1.2 * data_bytes) + _STORE_SPARE_BYTES
        )
    else:
        del options["include_dashboard"]
    try:
        ray.init(address=address, logging_level="ERROR", **options)
    except (ConnectionError, ValueError, RuntimeError) as exc:
        ray.shutdown()  # a refused connection leaves half of itself behind
        raise _refusal(address, str(exc)) from exc
    try:
        yield ray
    finally:
        with _native_stderr_muted():
            ray.shutdown()


@contextlib.contextmanager
def _native_stderr_muted() -> Iterator[None]:
    """Drop what Ray's own C++ threads write past Python while it ends.

    Tasks that an interrupted run leaves behind make them complain, after the user was told.
    """
    kept = None
    if sys.__stderr__ is not None:  # None: closed from the start, so number 2 may be another file
        with contextlib.suppress(OSError):
            kept = os.dup(2)
    if kept is None:
        yield
        return
    sys.stderr.flush()
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refusal(address: str, problem: str) -> DatapruneError:
    """What to tell when Ray did not connect, and said `problem`.

    Ray itself compares the versions, before it does anything else: its own to the letter, Python's
    to the patch, or over ray:// to the minor version. Its error lists them on lines of their own.
    """
    versions = _VERSIONS.findall(problem)
    if len(versions) == 2:
        there, here = (f"Ray {ray} on Python {python}" for ray, python in versions)
        return DatapruneError(
            f"the cluster at {address} runs {there}, and this is {here}",
            hint="run both from one image, or install the same versions of Ray and Python",
        )
    return DatapruneError(
        f"cannot reach a Ray cluster at {address}: {' '.join(problem.split())[:200]}",
        hint="check --address, or leave it out to run on this machine",
    )


def _check_reachable(address: str) -> None:
    """Ray waits for minutes on an address where nothing listens: knock first."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as exc:
        raise DatapruneError(
            f"nothing answers at {address}: {exc}",
            hint="check --address, or leave it out to run on this machine",
        ) from exc
