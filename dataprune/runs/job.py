"""Run a job and read from the ledger what came of it: its word counts, not the runner's."""

from __future__ import annotations

import logging

from dataprune.core.protocols import Job, OnProgress, Outcome
from dataprune.runs import get_runner
from dataprune.runs.ledger import Ledger, Record

log = logging.getLogger("dataprune")


def run_job(
    runner: str, job: Job, on_progress: OnProgress
) -> tuple[dict[str, Record], list[Outcome]]:
    """Run every unit; returns finished records by unit id, and an outcome for each that is missing.

    Missing units are told as warnings at once, so that no later error hides them.
    """
    outcomes = get_runner(runner).run(job, on_progress) if job.units else []
    ledger = Ledger(job.folder)
    records, failed = {}, []
    for unit, outcome in zip(job.units, outcomes, strict=True):
        record = ledger.finished(unit.unit_id)
        if record is not None:
            records[unit.unit_id] = record
            continue
        lost = Outcome(
            unit.unit_id,
            unit.label,
            f"it ended well and left no whole record in {job.folder}",
            "the run folder must be on storage that every node shares",
        )
        failed.append(outcome if outcome.error else lost)
    if len(failed) < len(job.units):  # where all failed, the error that follows tells the first
        for outcome in failed:
            hint = f" ({outcome.hint})" if outcome.hint else ""
            log.warning("%s failed: %s%s", outcome.label, outcome.error, hint)
    return records, failed
