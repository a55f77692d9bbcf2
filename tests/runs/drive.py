"""Runs a job of unit functions on a Ray cluster, as a process of its own that may be killed.

stdin: JSON with folder, units (function, spec, label) and resources. stdout: JSON with the
outcomes, or the error that refused the job.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.core.errors import DatapruneError
from dataprune.core.fingerprint import fingerprint
from dataprune.core.protocols import Job, Resources, Unit
from dataprune.core.recipe import Budget
from dataprune.runs.job import run_job
from dataprune.runs.ledger import Ledger


def unit_of(function: str, spec: dict[str, Any]) -> Unit:
    """A unit that calls a function of `tests.runs.units`."""
    identity = {"function": function, **spec}
    unit_id = fingerprint(identity)[:32]
    return Unit(unit_id, f"tests.runs.units:{function}", identity, spec, f"{function} {spec}")


def drive(asked: dict[str, Any]) -> dict[str, Any]:
    """Run the job as `observe` would."""
    units = [unit_of(function, spec) for function, spec in asked["units"]]
    budget = Budget(**asked["resources"].pop("budget", {}))
    resources = Resources(**asked["resources"], budget=budget)
    shared = {"values": np.arange(1000, dtype=np.float64)}
    ledger = Ledger(Path(asked["folder"]))
    with ledger.exclusive() as lease:
        done = {record.unit_id: record.run["seconds"] for record in ledger.records()}
        units = [unit for unit in units if unit.unit_id not in done]
        job = Job(asked["folder"], units, shared, resources, lease.run_id, lease.check,
                  before=list(done.values()))  # fmt: skip
        try:
            records, failed = run_job("ray", job, lambda _unit_id, _told: None)
        except DatapruneError as exc:
            return {"error": exc.message, "hint": exc.hint}
    return {
        "run": lease.run_id,
        "finished": [unit.label for unit in units if unit.unit_id in records],
        "failed": [vars(outcome) for outcome in failed],
    }


if __name__ == "__main__":
    try:
        print(json.dumps(drive(json.load(sys.stdin))))
    except KeyboardInterrupt:
        sys.exit(130)
