"""A job's result is what the ledger holds, whatever the runner says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataprune.core.protocols import Job, OnProgress, Outcome, Unit
from dataprune.runs import job as jobs
from dataprune.runs.local import LocalRunner


def unit(number: int) -> Unit:
    spec = {"number": number}
    return Unit(f"unit-{number}", "json:dumps", spec, spec, f"seed {number}")


class Elsewhere:
    """A runner whose disk is not the driver's: the second unit's record ends up on it."""

    def __init__(self, other: Path) -> None:
        self.other = other

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run the first unit here and the second there."""
        for each, folder in zip(job.units, (job.folder, self.other), strict=True):
            LocalRunner().run(replace(job, folder=folder, units=[each]), on_progress)
        return [Outcome(each.unit_id, each.label) for each in job.units]


def test_a_unit_that_ended_well_and_left_no_record_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entrypoint = tmp_path / "well_behaved.py"
    entrypoint.write_text(
        "def work(spec, shared, attempt):\n"
        "    (attempt.folder / 'done.txt').write_text('done')\n"
        "    return {}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(jobs, "get_runner", lambda _name: Elsewhere(tmp_path / "elsewhere"))
    units = [replace(unit(n), entrypoint="well_behaved:work") for n in (0, 1)]
    records, failed = jobs.run_job("ray", Job(tmp_path / "here", units), lambda _u, _p: None)
    assert list(records) == ["unit-0"]
    assert [outcome.unit_id for outcome in failed] == ["unit-1"]
    assert "left no whole record" in (failed[0].error or "")
    assert "seed 1 failed" in caplog.text


def test_a_job_without_units_needs_no_runner(tmp_path: Path) -> None:
    assert jobs.run_job("there is none", Job(tmp_path, []), lambda _u, _p: None) == ({}, [])
