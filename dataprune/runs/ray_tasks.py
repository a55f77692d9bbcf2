"""The Ray runner: one unit, one task; shared arrays put once and read without a copy.

Nothing that matters lives in Ray: results go to the ledger from inside the task, so a lost worker
costs its unit's time and a lost driver costs nothing that had finished.
"""

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
from dataprune.core.protocols import Job, OnProgress, Outcome, Shared, Unit
from dataprune.runs.execute import execute
from dataprune.runs.ledger import Ledger

_POLL_S = 0.5
_CONNECT_S = 5
_STORE_SPARE_BYTES = 128 << 20
_STORE_LEAST_BYTES = 256 << 20
# The cluster's versions, then ours, as Ray's own check lists them.
_VERSIONS = re.compile(r"^ *Ray: (\S+)\n *Python: (\S+)$", re.MULTILINE)


class RayRunner:
    """Runs units as Ray tasks, on a local Ray it starts and ends, or on a cluster by address."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; lost workers are replaced, errors of a unit are not retried.

        Raises:
            DatapruneError: no node can ever give what a unit asks for, there is no cluster, or it
                runs another Ray or Python.
            MissingExtraError: Ray is not installed.
        """
        # Ray prints what it sees of dying workers to stdout, which is for data.
        with contextlib.redirect_stdout(sys.stderr), _connected(job) as ray:
            _check_feasible(ray, job)
            shared = ray.put(dict(job.shared))
            task = ray.remote(_run_in_worker).options(
                num_cpus=job.resources.num_cpus,
                num_gpus=job.resources.num_gpus,
                max_retries=job.resources.max_retries,
            )
            folder = str(job.folder.resolve())
            pending = {task.remote(unit, shared, folder): unit for unit in job.units}
            return _collect(ray, job, pending, on_progress)


def _run_in_worker(unit: Unit, shared: Shared, folder: str) -> Outcome:
    return execute(unit, shared, Path(folder))


@contextlib.contextmanager
def _connected(job: Job) -> Iterator[Any]:
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


def _check_feasible(ray: Any, job: Job) -> None:
    """A task that fits no node would wait for ever: refuse it instead."""
    wanted = {"CPU": job.resources.num_cpus, "GPU": job.resources.num_gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(n.get(k, 0) >= v for k, v in wanted.items()) for n in nodes):
        best = {k: max((n.get(k, 0) for n in nodes), default=0) for k in wanted}
        raise DatapruneError(
            f"a unit asks for {wanted['CPU']} CPUs and {wanted['GPU']} GPUs, and no node has more "
            f"than {best['CPU']:g} CPUs and {best['GPU']:g} GPUs",
            hint="lower run.num_cpus or run.num_gpus in the recipe",
        )


def _collect(
    ray: Any, job: Job, pending: dict[Any, Unit], on_progress: OnProgress
) -> list[Outcome]:
    ledger = Ledger(job.folder)
    outcomes: dict[str, Outcome] = {}
    told: dict[str, Any] = {}
    while pending:
        done, _ = ray.wait(list(pending), timeout=_POLL_S)
        for ref in done:
            unit = pending.pop(ref)
            outcome = _outcome(ray, ref, unit, ledger)
            outcomes[unit.unit_id] = outcome
            state = "failed" if outcome.error else "finished"
            on_progress(unit.unit_id, {"label": unit.label, "state": state})
        for unit in pending.values():
            progress = ledger.progress(unit.unit_id)
            if progress is not None and progress != told.get(unit.unit_id):
                told[unit.unit_id] = progress
                on_progress(unit.unit_id, progress)
    return [outcomes[unit.unit_id] for unit in job.units]


def _outcome(ray: Any, ref: Any, unit: Unit, ledger: Ledger) -> Outcome:
    try:
        outcome: Outcome = ray.get(ref)
    except ray.exceptions.RayTaskError as exc:
        # An error outside the unit, before or after it: dataprune is missing there, say.
        message = f"{type(exc.cause).__name__}: {exc.cause}"
        hint = "workers need the same dataprune installed, and the run folder"
    except ray.exceptions.RayError as exc:
        reason = str(exc).strip().splitlines()[0]
        lost = ledger.attempts(unit.unit_id)
        message = f"worker lost {lost} times: {type(exc).__name__}: {reason}"
        hint = "look at the node's memory and logs, then run again: finished units are kept"
    else:
        return outcome
    attempt = ledger.attempts(unit.unit_id)
    ledger.fail(unit, None, {"error": message, "hint": hint, "attempt": attempt})
    return Outcome(unit.unit_id, unit.label, message, hint)
