"""Tiny unit functions, imported by name in this process and in Ray workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import ProbeError
from dataprune.core.protocols import Attempt, Shared, Unit
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
