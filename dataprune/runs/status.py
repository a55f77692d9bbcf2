"""What a run folder says of its units, from its files alone."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from dataprune.core.errors import TableError
from dataprune.runs.lease import OF_RELEASE, holder_of
from dataprune.runs.ledger import Ledger
from dataprune.runs.place import LocalPlace


def run_status(folder: Path | str, *, glance: bool = False) -> dict[str, Any]:
    """Units of the last run planned in `folder`, each with its state.

    States: finished, failed, running, interrupted (it had begun, and no process holds the folder),
    waiting. `rate`: units an hour and seconds a unit, of those finished; `left_s`: until all are,
    at that rate; None where nothing is known.

    glance: take unit.json's word for what its files hold, as is always done behind a URL.

    Raises:
        TableError: the folder holds no run.
    """
    ledger = Ledger(folder)
    place = ledger.place
    if place.read("run.json") is None:
        raise TableError(
            f"{place.url} holds no run",
            hint="give a work folder, such as .dataprune/runs/digits-...",
        )
    described = ledger.json("run.json")
    labels = described.get("units") if isinstance(described, dict) else None
    if not isinstance(labels, dict):
        raise TableError(f"{place.url}/run.json is not the plan of a dataprune run")
    holder = holder_of(place)
    glance = glance or not isinstance(place, LocalPlace)
    units = [
        _unit(ledger, i, label, held=holder is not None, glance=glance)
        for i, label in labels.items()
    ]
    states = [unit["state"] for unit in units]
    works = holder or holder_of(place, OF_RELEASE)  # units may be done, and a pilot under way
    return {
        "work": place.url,
        "busy": works is not None,
        "holder": works,
        "counts": {state: states.count(state) for state in sorted(set(states))},
        "units": sorted(units, key=lambda u: (len(u["label"]), u["label"])),
        **_rates(units, held=holder is not None),
    }


def _unit(ledger: Ledger, unit_id: str, label: str, *, held: bool, glance: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"unit_id": unit_id, "label": label}
    record = ledger.told(unit_id) if glance else ledger.finished(unit_id)
    if record is not None and (not glance or ledger.has_files(record)):
        last = (record.result.get("history") or [{}])[-1]
        return {**about, "state": "finished", **last, **record.run}
    failure = ledger.failure(unit_id)
    if failure is not None:
        first_line = (str(failure["error"]).splitlines() or [""])[0]
        return {**about, "state": "failed", "error": first_line, "hint": failure["hint"],
                "attempt": failure.get("attempt")}  # fmt: skip
    progress = ledger.progress(unit_id)
    if progress is not None:
        return {**about, "state": "running" if held else "interrupted", **progress}
    return {**about, "state": "waiting"}


def _rates(units: list[dict[str, Any]], *, held: bool) -> dict[str, Any]:
    """How fast units finish, and when all will have."""
    done = [unit for unit in units if unit["state"] == "finished"]
    seconds = [unit["seconds"] for unit in done if "seconds" in unit]
    seconds_a_unit = statistics.fmean(seconds) if seconds else None
    running = [unit for unit in units if unit["state"] == "running"]
    waiting = sum(unit["state"] in {"waiting", "interrupted"} for unit in units)
    left_s = None
    if held and seconds_a_unit is not None and running:
        left = [
            unit.get("left_s") or max(seconds_a_unit - unit.get("seconds", 0), 0)
            for unit in running
        ]
        left_s = max(*left, (sum(left) + waiting * seconds_a_unit) / len(running))
    return {
        "seconds_a_unit": seconds_a_unit,
        "units_an_hour": _an_hour(done),
        "left_s": None if left_s is None else round(left_s),
    }


def _an_hour(done: list[dict[str, Any]]) -> float | None:
    """Units an hour over the last hour in which some finished, counted in finishing times."""
    ended: list[float] = sorted(unit["ended"] for unit in done if "ended" in unit)
    recent = [at for at in ended if at >= time.time() - 3600]
    if len(recent) < 2 or recent[-1] == recent[0]:
        return None
    return 3600 * (len(recent) - 1) / float(recent[-1] - recent[0])
