"""Run one unit in this process and put it in the ledger: the same code under every runner."""

from __future__ import annotations

import importlib
import platform
import time
import traceback
from pathlib import Path
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.core.protocols import Attempt, Outcome, Report, Shared, Unit, UnitFunction
from dataprune.runs.ledger import Ledger

_REPORT_EVERY_S = 0.3


def load_entrypoint(entrypoint: str) -> UnitFunction:
    """Import `module:function`."""
    module, _, name = entrypoint.partition(":")
    function: UnitFunction = getattr(importlib.import_module(module), name)
    return function


def execute(
    unit: Unit, shared: Shared, run_folder: Path, *, listen: Report | None = None
) -> Outcome:
    """Run a unit to its end in the ledger. An error becomes a failed outcome, not an exception.

    listen: gets every progress report as it is made.
    """
    ledger = Ledger(run_folder)
    folder, attempt = ledger.open_attempt(unit)
    started = time.monotonic()
    last_write = -_REPORT_EVERY_S

    def report(progress: dict[str, Any]) -> None:
        nonlocal last_write
        progress = {
            **progress,
            "label": unit.label,
            "seconds": round(time.monotonic() - started, 1),
        }
        if listen is not None:
            listen(progress)
        if time.monotonic() - last_write >= _REPORT_EVERY_S:
            last_write = time.monotonic()
            ledger.write_progress(unit.unit_id, progress)

    try:
        result = load_entrypoint(unit.entrypoint)(unit.spec, shared, Attempt(folder, report))
        device = result.pop("device", "cpu")
        run = {
            "seconds": round(time.monotonic() - started, 3),
            "host": platform.node(),
            "attempt": attempt,
            "device": device,
        }
        ledger.commit(unit, folder, result, run)
    except Exception as exc:  # noqa: BLE001 - the boundary: any failure of a unit is its outcome
        if ledger.finished(unit.unit_id) is not None:
            return Outcome(
                unit.unit_id, unit.label
            )  # another attempt at it was faster, and swept ours away
        if isinstance(exc, DatapruneError):
            message, hint = exc.message, exc.hint
        else:
            message, hint = f"{type(exc).__name__}: {exc}", None
        trace = traceback.format_exc()
        failure = {"error": message, "hint": hint, "attempt": attempt, "traceback": trace}
        ledger.fail(unit, folder, failure)
        return Outcome(unit.unit_id, unit.label, message, hint)
    return Outcome(unit.unit_id, unit.label)
