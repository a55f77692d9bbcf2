"""The in-process runner: units one after another, no Ray, no start-up cost."""

from __future__ import annotations

import time
from typing import Any

from dataprune.core.protocols import Job, OnProgress, Outcome, Report, Unit
from dataprune.runs.budget import Spending, refusal
from dataprune.runs.execute import execute


class LocalRunner:
    """Runs units in this process, in order."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; a failed unit does not stop the others, a spent budget does."""
        spending = Spending(job)
        outcomes = []
        for unit in job.units:
            job.check()
            if not spending.may_start():
                error, hint = refusal(job, spending)
                outcomes.append(Outcome(unit.unit_id, unit.label, error, hint, skipped=True))
                continue
            on_progress(unit.unit_id, {"label": unit.label, "state": "running"})
            spending.began(unit.unit_id)
            started = time.monotonic()
            outcome = execute(
                unit,
                job.shared,
                job.folder,
                snapshot_s=60 * job.resources.snapshot_minutes,
                listen=_listening(unit, spending, on_progress),
            )
            spending.ended(unit.unit_id, time.monotonic() - started)
            state = "failed" if outcome.error else "finished"
            on_progress(unit.unit_id, {"label": unit.label, "state": state})
            outcomes.append(outcome)
        return outcomes


def _listening(unit: Unit, spending: Spending, on_progress: OnProgress) -> Report:
    def listen(progress: dict[str, Any]) -> None:
        spending.told(unit.unit_id, progress)
        on_progress(unit.unit_id, progress)

    return listen
