"""Run one unit in this process and put it in the ledger: the same code under every runner."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.core.errors import DatapruneError, PeerLostError
from dataprune.core.protocols import Attempt, Gang, Outcome, Report, Shared, Unit, UnitFunction
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import LocalPlace, Place

_REPORT_EVERY_S = 0.3
_REPORT_FAR_EVERY_S = 5.0  # a put to an object store

FULL_HINT = "make room and run again: finished units are kept"
LOST_HINT = "look at the node's memory and logs, then run again: finished units are kept"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

log = logging.getLogger("dataprune")


def load_entrypoint(entrypoint: str) -> UnitFunction:
    """Import `module:function`."""
    module, _, name = entrypoint.partition(":")
    function: UnitFunction = getattr(importlib.import_module(module), name)
    return function


@dataclass(frozen=True)
class Contribution:
    """What one process did for a unit: its files are in place, and nothing names them yet.

    files: {name: sha256}. result: what the function returned. run: seconds, host, attempt, device.
    """

    files: dict[str, str]
    result: dict[str, Any]
    run: dict[str, Any]


class LedgerSnapshots:
    """A unit's snapshots in the ledger, one for each process of its gang."""

    def __init__(self, ledger: Ledger, unit_id: str, rank: int, every_s: float) -> None:
        self.ledger, self.unit_id, self.rank, self.every_s = ledger, unit_id, rank, every_s
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the last one is old enough."""
        return 0 < self.every_s <= time.monotonic() - self._last

    def save(self, write: Callable[[Path], None]) -> None:
        """Keep one. Where that fails the unit goes on: it would only lose more if it is cut off."""
        try:
            self.ledger.save_snapshot(self.unit_id, self.rank, write)
        except Exception as exc:  # noqa: BLE001 - torch.save tells a full disk as a RuntimeError
            log.warning("%s: its snapshot could not be kept: %s", self.unit_id, exc)
        self._last = time.monotonic()

    def latest(self) -> Path | None:
        """The last one that was kept whole."""
        return self.ledger.snapshot(self.unit_id, self.rank)


def contribute(
    unit: Unit,
    shared: Shared,
    ledger: Ledger,
    opened: tuple[Path, int],
    *,
    gang: Gang | None = None,
    snapshot_s: float = 0,
    listen: Report | None = None,
) -> Contribution:
    """Call the unit's function in a scratch folder and move its files into place.

    opened: folder and number of the attempt. snapshot_s: seconds between snapshots; 0: never.
    listen: gets every progress report as it is made.
    """
    gang, (folder, attempt) = gang or Gang(), opened
    started = time.monotonic()
    near = isinstance(ledger.place, LocalPlace)
    every_s = _REPORT_EVERY_S if near else _REPORT_FAR_EVERY_S
    last_write, is_told = -every_s, False

    def report(progress: dict[str, Any]) -> None:
        nonlocal last_write, is_told
        seconds = round(time.monotonic() - started, 1)
        progress = {**progress, "label": unit.label, "seconds": seconds, "attempt": attempt}
        if gang.rank:
            return
        if listen is not None:
            listen(progress)
        if time.monotonic() - last_write >= every_s:
            last_write = time.monotonic()
            try:
                ledger.write_progress(unit.unit_id, progress)
            except (OSError, DatapruneError) as exc:  # only who watches misses it
                if not is_told:
                    log.warning("%s: its progress could not be written: %s", unit.label, exc)
                is_told = True

    snapshots = LedgerSnapshots(ledger, unit.unit_id, gang.rank, snapshot_s)
    function = load_entrypoint(unit.entrypoint)
    result = function(unit.spec, shared, Attempt(folder, report, snapshots, gang))
    run = {
        "seconds": round(time.monotonic() - started, 3),
        "ended": round(time.time(), 3),
        "host": platform.node(),
        "attempt": attempt,
        "device": result.pop("device", "cpu"),
    }
    return Contribution(ledger.place_files(unit, folder), result, run)


def execute(
    unit: Unit,
    shared: Shared,
    where: Path | str | Place,
    *,
    snapshot_s: float = 0,
    listen: Report | None = None,
) -> Outcome:
    """Run a unit to its end in the ledger. An error becomes a failed outcome, not an exception."""
    ledger, folder, attempt = Ledger(where), None, 0
    started = time.monotonic()
    try:
        folder, attempt = ledger.open_attempt(unit)
        opened = (folder, attempt)
        made = contribute(unit, shared, ledger, opened, snapshot_s=snapshot_s, listen=listen)
        ledger.seal(unit, made.files, made.result, made.run)
    except Exception as exc:  # noqa: BLE001 - the boundary: any failure of a unit is its outcome
        failure = Failure.of(exc, ledger, time.monotonic() - started)
        return failed(ledger, unit, failure, folder=folder, attempt=attempt)
    return Outcome(unit.unit_id, unit.label)


@dataclass(frozen=True)
class Failure:
    """What went wrong in one process of a unit; pickles whatever the exception was.

    known: it is an error of ours, written for people. lost_a_peer: the cause is in another process.
    """

    error: str
    hint: str | None
    traceback: str
    seconds: float = 0
    known: bool = False
    lost_a_peer: bool = False

    @classmethod
    def of(cls, exc: Exception, ledger: Ledger, seconds: float = 0) -> Failure:
        """An exception, told in one sentence."""
        trace = "".join(traceback.format_exception(exc))
        if isinstance(exc, DatapruneError):
            lost_a_peer = isinstance(exc, PeerLostError)
            return cls(exc.message, exc.hint, trace, seconds, True, lost_a_peer)
        if isinstance(exc, OSError) and exc.errno in _FULL:
            where = exc.filename or ledger.place.url
            message = f"no room to write its files: {os.strerror(exc.errno)} ({where})"
            return cls(message, FULL_HINT, trace, seconds)
        return cls(f"{type(exc).__name__}: {exc}", None, trace, seconds)


def failed(
    ledger: Ledger, unit: Unit, failure: Failure, *, folder: Path | None = None, attempt: int = 1
) -> Outcome:
    """Record a unit's failure and tell it, unless another attempt finished and swept ours away."""
    record = {"error": failure.error, "hint": failure.hint, "attempt": attempt,
              "traceback": failure.traceback, "seconds": round(failure.seconds, 3)}  # fmt: skip
    try:
        if ledger.finished(unit.unit_id) is not None:
            return Outcome(unit.unit_id, unit.label)
        ledger.fail(unit, folder, record)
    except (OSError, DatapruneError) as again:  # a full disk, say: what was first wrong is told
        log.warning("%s: its failure could not be recorded: %s", unit.label, again)
    return Outcome(unit.unit_id, unit.label, failure.error, failure.hint)
