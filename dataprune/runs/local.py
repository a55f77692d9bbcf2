"""The in-process runner: units one after another, no Ray, no start-up cost."""

from __future__ import annotations

from dataprune.core.protocols import Job, OnProgress, Outcome
from dataprune.runs.execute import execute


class LocalRunner:
    """Runs units in this process, in order."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; a failed unit does not stop the others."""
        outcomes = []
        for unit in job.units:
            on_progress(unit.unit_id, {"label": unit.label, "state": "running"})
            outcome = execute(
                unit,
                job.shared,
                job.folder,
                listen=lambda progress, u=unit: on_progress(u.unit_id, progress),  # type: ignore[misc]
            )
            state = "failed" if outcome.error else "finished"
            on_progress(unit.unit_id, {"label": unit.label, "state": state})
            outcomes.append(outcome)
        return outcomes
