"""What a run folder says of its units, from its files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataprune.core.errors import TableError
from dataprune.core.files import is_held, read_json
from dataprune.runs.ledger import Ledger


def run_status(folder: Path) -> dict[str, Any]:
    """Units of the last run planned in `folder`, each with its state.

    States: finished, failed, running, interrupted (it had begun, and no process holds the folder),
    waiting.

    Raises:
        TableError: the folder holds no run.
    """
    plan = folder / "run.json"
    if not plan.is_file():
        raise TableError(
            f"{folder} holds no run", hint="give a work folder, such as .dataprune/runs/digits-..."
        )
    described = read_json(plan)
    labels = described.get("units") if isinstance(described, dict) else None
    if not isinstance(labels, dict):
        raise TableError(f"{plan} is not the plan of a dataprune run")
    ledger = Ledger(folder)
    held = is_held(folder / "lock")
    units = [_unit(ledger, i, label, held=held) for i, label in labels.items()]
    states = [unit["state"] for unit in units]
    return {
        "work": str(folder),
        "busy": held,
        "counts": {state: states.count(state) for state in sorted(set(states))},
        "units": sorted(units, key=lambda u: (len(u["label"]), u["label"])),
    }


def _unit(ledger: Ledger, unit_id: str, label: str, *, held: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"unit_id": unit_id, "label": label}
    record = ledger.finished(unit_id)
    if record is not None:
        last = (record.result.get("history") or [{}])[-1]
        return {**about, "state": "finished", **last, **record.run}
    failure = ledger.failure(unit_id)
    if failure is not None:
        return {**about, "state": "failed", "error": failure["error"], "hint": failure["hint"]}
    progress = ledger.progress(unit_id)
    if progress is not None:
        return {**about, "state": "running" if held else "interrupted", **progress}
    return {**about, "state": "waiting"}
