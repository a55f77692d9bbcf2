"""`plan`: what `score` would train, and what that takes, from a short stretch of one unit."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataprune.core.errors import UsageError
from dataprune.core.recipe import Recipe
from dataprune.planning.estimate import (
    SECONDS,
    Allowance,
    Kind,
    allowance,
    hours,
    seconds_by_kind,
    wall_seconds,
)
from dataprune.planning.prepare import Prepared, prepared
from dataprune.probe.costs import extra_costs
from dataprune.probe.plan import Plan, plan_run, seconds_spent, shared_arrays
from dataprune.runs.ledger import Ledger
from dataprune.sources._resolve import resolve_recipe
from dataprune.tables.manifest import SourceRef

if TYPE_CHECKING:
    from dataprune.probe.preview import Preview

_GIB = 2**30

log = logging.getLogger("dataprune")


@dataclass(frozen=True)
class PlanResult:
    """What a scoring job is made of and what it will cost.

    work: the run folder whose finished units count. units: labels of those to train.
    finished: seconds of each that is there already and serves. reasons: why others are not used.
    preview: what a short stretch of one unit showed; None where no unit is to be trained.
    start_s: reading the source and warming up, once. data_bytes: of the arrays that units share.
    spent_s: of every finished unit of this source in the folder.
    at_once: numbers of units at once to tell of.
    """

    recipe: Recipe
    source: SourceRef
    work: str
    units: list[str]
    finished: list[float]
    reasons: list[str]
    preview: Preview | None
    start_s: float
    data_bytes: int
    spent_s: float
    at_once: tuple[int, ...]
    warnings: list[str]

    @property
    def seconds(self) -> dict[Kind, float]:
        """Seconds of one unit by what they are for: train, score, held-out, rest."""
        return dict(seconds_by_kind(self.preview.parts if self.preview else []))

    @property
    def unit_s(self) -> float:
        """Seconds of one unit, alone on its machine."""
        return sum(self.seconds.values())

    @property
    def unit_cpu_s(self) -> float:
        """Of these, seconds of processors: what a unit takes on a machine that is not busy."""
        return sum(part.unit_cpu_seconds for part in self.preview.parts) if self.preview else 0.0

    @property
    def cpu_hours(self) -> float:
        """Hours of CPU threads that the units to train ask for."""
        return hours(len(self.units), self.unit_s, self._share("CPU"))

    @property
    def gpu_hours(self) -> float:
        """Hours of GPUs that the units to train ask for."""
        return hours(len(self.units), self.unit_s, self._share("GPU"))

    @property
    def walls(self) -> dict[int, float]:
        """{units at once: seconds until all are trained}; a runner's own start not counted."""
        return {
            n: wall_seconds(len(self.units), n, self.unit_s, self.start_s) for n in self.at_once
        }

    @property
    def trace_bytes(self) -> int:
        """Of the files of all units to train."""
        if self.preview is None:
            return 0
        return len(self.units) * (self.preview.trace_bytes + self.preview.heldout_bytes)

    @property
    def allowances(self) -> list[Allowance]:
        """What the recipe's budgets are enough for."""
        budget = self.recipe.run.budget
        found = []
        for unit, limit in (("GPU", budget.gpu_hours), ("CPU", budget.cpu_hours)):
            if limit is not None:
                share = self._share(unit)
                spent = hours(1, self.spent_s, share)
                one = hours(1, self.unit_s, share)
                found.append(allowance(unit, limit, spent, len(self.units), one))  # type: ignore[arg-type]
        return found

    def _share(self, unit: str) -> float:
        run = self.recipe.run
        return run.workers * (run.num_gpus if unit == "GPU" else run.num_cpus)

    def summary(self) -> dict[str, Any]:
        """All of it as JSON."""
        preview = self.preview
        return {
            "source": self.source.uri,
            "num_rows": self.source.num_rows,
            "work": self.work,
            "seeds": self.recipe.seeds,
            "units": self.units,
            "num_units": len(self.units),
            "num_finished": len(self.finished),
            "reasons": self.reasons,
            "unit_seconds": self.unit_s,
            "unit_cpu_seconds": self.unit_cpu_s,
            "seconds": self.seconds,
            "start_seconds": self.start_s,
            "cpu_hours": self.cpu_hours,
            "gpu_hours": self.gpu_hours,
            "wall_seconds": {str(n): seconds for n, seconds in self.walls.items()},
            "budget": [{**asdict(found), "told": str(found)} for found in self.allowances],
            "data_bytes": self.data_bytes,
            "trace_bytes": self.trace_bytes,
            "device": preview.device if preview else None,
            "memory_bytes": preview.memory_bytes if preview else 0,
            "process_bytes": preview.process_bytes if preview else 0,
            "gpu_bytes": preview.gpu_bytes if preview else 0,
            "timed": [asdict(part) for part in preview.parts] if preview else [],
            "warnings": self.warnings,
        }


def plan(
    recipe: str | Path | Recipe,
    *,
    source: str | None = None,
    inputs: Sequence[str] | None = None,
    label: str | None = None,
    embedding: str | None = None,
    task: str | None = None,
    scores: Sequence[str] | None = None,
    flags: Sequence[str] | None = None,
    features: bool | None = None,
    at: Sequence[int] | None = None,
    seeds: int | None = None,
    work: str | Path | None = None,
    at_once: Sequence[int] | None = None,
    seconds: float = SECONDS,
) -> PlanResult:
    """Say what `score` with the same arguments would train, and time a short stretch of one unit.

    Nothing is written. Times are those of this machine, with one unit at work.
    work: units that are finished there are not trained again, and not counted.
    at_once: how many units run at the same time, to tell the wall time of; default: one, and as
        many as this machine has processors for.
    seconds: how long each kind of work is timed, at most.

    Raises:
        DatapruneError: as `score`, for a job that cannot be run.
    """
    if seconds <= 0 or any(n < 1 for n in at_once or ()):
        raise UsageError("seconds and units at once are numbers above 0")
    changes = {
        "source.uri": source,
        "source.columns.input": list(inputs) if inputs else None,
        "source.columns.label": label,
        "source.columns.embedding": embedding,
        "task": task,
        "scores.names": scores,
        "flags": flags,
        "scores.features": features,
        "scores.at": at,
        "seeds": seeds,
    }
    settled = resolve_recipe(recipe, changes)
    begun = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as spool,
        prepared(settled, work, spool=Path(spool)) as job,
    ):
        return _planned(job, at_once, seconds, begun)


def _planned(
    job: Prepared, at_once: Sequence[int] | None, seconds: float, begun: float
) -> PlanResult:
    recipe, loaded = job.recipe, job.loaded
    records = Ledger(job.place).records()
    units, preview, data_bytes = Plan({}, [], []), None, 0
    start_s = time.perf_counter() - begun
    if job.trains:
        units = plan_run(recipe, loaded, job.signals, records)
    if units.units:
        from dataprune.probe.preview import preview_unit

        for line in extra_costs(recipe, loaded, job.signals):
            log.info(line)
        shared = shared_arrays(recipe, loaded)
        data_bytes = sum(array.nbytes for array in shared.values())
        start_s = time.perf_counter() - begun
        preview = preview_unit(units.units[0], shared, seconds)
        start_s += preview.warm_up_s
    return PlanResult(
        recipe=recipe,
        source=loaded.ref,
        work=job.place.url,
        units=[unit.label for unit in units.units],
        finished=[record.run["seconds"] for _, record in sorted(units.done.items())],
        reasons=units.reasons,
        preview=preview,
        start_s=start_s,
        data_bytes=data_bytes,
        spent_s=sum(seconds_spent(records, loaded.ref.fingerprint)),
        at_once=tuple(sorted(set(at_once))) if at_once else _default_at_once(recipe),
        warnings=_warnings(recipe, preview),
    )


def _default_at_once(recipe: Recipe) -> tuple[int, ...]:
    if recipe.run.num_gpus > 0:
        return (1, 4, 8)
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    return tuple(sorted({1, max(1, (processors or 1) // recipe.run.num_cpus)}))


def _warnings(recipe: Recipe, preview: Preview | None) -> list[str]:
    if preview is None:
        return []
    run, found = recipe.run, list(preview.warnings)
    if run.workers > 1:
        found.append(
            f"run.workers is {run.workers}, and one process was timed: {run.workers} together take "
            "less than these seconds, at best a share of them"
        )
    if 0 < run.num_gpus < 1:
        found.append("units that share a GPU slow each other down, and one was timed alone")
    needs = preview.process_bytes / _GIB
    if run.memory_gb is not None and run.memory_gb < needs:
        found.append(
            f"run.memory_gb is {run.memory_gb:g}, and this process took {needs:.1f} GiB with a unit"
        )
    return found
