"""Tiny unit functions, imported by name in this process and in Ray workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import ProbeError
from dataprune.core.protocols import Attempt, Gang, Shared, Unit
from dataprune.runs.ledger import Ledger


def add(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Write the shared values plus a number; tell progress before and after."""
    attempt.report({"epoch": 0, "epochs": 1})
    total = shared["values"] + spec["number"]
    (attempt.folder / "total.bin").write_bytes(total.tobytes())
    (attempt.folder / "note.txt").write_text(f"number {spec['number']}")
    attempt.report({"epoch": 1, "epochs": 1})
    return {"sum": float(total.sum()), "device": "abacus"}


def describe_shared(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Say what the shared arrays look like from inside a unit."""
    (attempt.folder / "bytes.bin").write_bytes(shared["values"].tobytes())
    return {
        "names": sorted(shared),
        "dtypes": [str(shared[name].dtype) for name in sorted(shared)],
        "shapes": [list(shared[name].shape) for name in sorted(shared)],
        "sum": float(shared["values"].sum()),
    }


def refuse(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Fail the way a probe does, leaving a half-written file; count the attempts in a log."""
    with Path(spec["log"]).open("a") as log:
        log.write("tried\n")
    (attempt.folder / "half.bin").write_bytes(b"half")
    raise ProbeError("this unit cannot be done", hint="ask for another")


def stumble(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Fail the way a defect does."""
    empty: dict[str, Any] = {}
    return {"value": empty["missing"]}


def refuse_while(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Fail as long as a file exists."""
    if Path(spec["obstacle"]).exists():
        raise ProbeError("something is in the way")
    (attempt.folder / "done.txt").write_text("done")
    return {}


def die_first(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Kill the process it runs in, as often as `spec["deaths"]`, then finish."""
    deaths = Path(spec["log"])
    with deaths.open("a") as log:
        log.write("tried\n")
    (attempt.folder / "half.bin").write_bytes(b"half")
    if len(deaths.read_text().splitlines()) <= spec["deaths"]:
        os.kill(os.getpid(), signal.SIGKILL)
    (attempt.folder / "done.txt").write_text("done")
    (attempt.folder / "half.bin").unlink()
    return {"numpy": np.__name__}


def write_to_shared(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Do what no unit may: write into a shared array."""
    shared["values"][0] = -1
    return {}


def return_a_set(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Return what JSON cannot hold."""
    (attempt.folder / "done.txt").write_text("done")
    return {"classes": {1, 2}}


def be_overtaken(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Go on while another attempt at the same unit finishes first.

    So it happens when Ray gives up a worker that still lives, or a dead driver's worker works on.
    """
    ledger = Ledger(attempt.folder.parents[2])
    me = Unit(attempt.folder.parent.name, "units:be_overtaken", {}, spec, "be_overtaken")
    attempt, number = ledger.open_attempt(me)
    (attempt / "done.txt").write_text("done")
    run = {"seconds": 0.0, "host": "elsewhere", "attempt": number, "device": "cpu"}
    ledger.commit(me, attempt, {}, run)
    (attempt.folder / "done.txt").write_text("done")
    return {}


def note(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Say where on a cluster it runs and when; wait there until `meet` of its kind are running."""
    import ray

    began = time.time()
    here = Path(spec["here"])
    here.mkdir(exist_ok=True)
    (here / str(spec["number"])).touch()
    deadline = time.monotonic() + 60
    while len(list(here.iterdir())) < spec.get("meet", 0):
        assert time.monotonic() < deadline, "the others did not come"
        time.sleep(0.02)
    time.sleep(spec.get("seconds", 0))
    node, gpus = ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()
    return {"node": node, "gpus": gpus, "began": began, "ended": time.time()}


def together(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Do a part as one process of a gang, the way training does: all wait for all.

    spec: `log`, where each start is noted; `fails` or `dies`: the rank that does, `deaths` times.
    """
    gang = attempt.gang
    began = time.time()
    with Path(spec["log"]).open("a") as log:
        log.write(f"{gang.rank}\n")
    starts = Path(spec["log"]).read_text().split().count(str(gang.rank))
    with _meeting(gang) as others:
        (attempt.folder / f"part-{gang.rank}.bin").write_bytes(bytes([gang.rank]) * 100)
        if spec.get("fails") == gang.rank:
            raise ProbeError("this part cannot be done", hint="ask for another")
        if spec.get("dies") == gang.rank and starts <= spec["deaths"]:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(spec.get("seconds", 0))
        for other in others:
            other.sendall(b"!")
        for other in others:
            if other.recv(1) != b"!":
                raise ConnectionError("connection closed by peer")
    return {"rank": gang.rank, "size": gang.size, "began": began, "ended": time.time()}


@contextlib.contextmanager
def _meeting(gang: Gang) -> Iterator[list[socket.socket]]:
    """Connections of the first process with every other, which has one: with the first."""
    host, _, port = gang.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        if gang.rank == 0:
            server = stack.enter_context(socket.create_server((host, int(port))))
            server.settimeout(60)
            yield [stack.enter_context(server.accept()[0]) for _ in range(gang.size - 1)]
            return
        deadline = time.monotonic() + 60
        connection = None
        while connection is None:
            assert time.monotonic() < deadline, "the first one did not come"
            time.sleep(0.05)
            with contextlib.suppress(ConnectionRefusedError):
                connection = socket.create_connection((host, int(port)))
        yield [stack.enter_context(connection)]


def work_on_a_full_disk(spec: dict[str, Any], shared: Shared, attempt: Attempt) -> dict[str, Any]:
    """Tell progress and keep a snapshot while the disk is full, as training does."""
    ballast = Path(spec["ballast"])
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    progress = attempt.folder.parent / "progress.json"
    attempt.report({"epoch": 0, "epochs": 1})
    failed = not progress.exists()
    time.sleep(0.02)
    if asked := attempt.snapshots.due():
        attempt.snapshots.save(torch_save)
    ballast.unlink()
    (attempt.folder / "done.txt").write_text("done")
    return {"progress_failed": failed, "snapshots_asked": asked}


def torch_save(path: Path) -> None:
    """What torch does."""
    import torch

    torch.save({"weights": torch.zeros(100_000)}, path)
