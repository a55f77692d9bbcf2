"""Run a job and read from the ledger what came of it: its word counts, not the runner's."""

from __future__ import annotations

import logging
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.core.protocols import Job, OnProgress, Outcome
from dataprune.runs import get_runner
from dataprune.runs.journal import Journal, journal_of
from dataprune.runs.ledger import Ledger, Record

log = logging.getLogger("dataprune")


def run_job(
    runner: str, job: Job, on_progress: OnProgress
) -> tuple[dict[str, Record], list[Outcome]]:
    """Run every unit; returns finished records by unit id, and an outcome for each that is missing.

    Missing units are told as warnings at once, so that no later error hides them.
    """
    if not job.units:
        return {}, []
    ledger = Ledger(job.folder)
    about = {"runner": runner, "units": len(job.units)}
    with journal_of(ledger.place, job.run_id, **about) as journal:
        outcomes = get_runner(runner).run(job, _noting(journal, ledger, on_progress))
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
        if records or job.before:  # where there is nothing, the error that follows tells the first
            _tell(failed)
    return records, failed


def _tell(failed: list[Outcome]) -> None:
    """A warning for each unit that failed, and one for all that were not started."""
    for outcome in failed:
        hint = f" ({outcome.hint})" if outcome.hint else ""
        if not outcome.skipped:
            log.warning("%s failed: %s%s", outcome.label, outcome.error, hint)
    skipped = [outcome for outcome in failed if outcome.skipped]
    if skipped:
        labels = ", ".join(outcome.label for outcome in skipped)
        log.warning("%s %s (%s)", labels, skipped[0].error, skipped[0].hint)


def _ended(ledger: Ledger, unit_id: str, state: str) -> dict[str, Any]:
    """What the journal tells of a unit's end; nothing where the ledger cannot be asked now."""
    try:
        if state == "finished":
            record = ledger.told(unit_id)
            return record.run if record else {}
        return {"error": (ledger.failure(unit_id) or {}).get("error")}
    except DatapruneError:
        return {}


def _noting(journal: Journal, ledger: Ledger, on_progress: OnProgress) -> OnProgress:
    """Pass progress on, and put into the journal how units begin and end."""
    begun: set[str] = set()

    def note(unit_id: str, told: dict[str, Any]) -> None:
        state = told.get("state")
        if state in {"finished", "failed"}:
            journal.write(
                f"unit {state}", unit=unit_id, label=told["label"], **_ended(ledger, unit_id, state)
            )
        elif unit_id not in begun:
            begun.add(unit_id)
            journal.write("unit started", unit=unit_id, label=told["label"])
        on_progress(unit_id, told)

    return note
