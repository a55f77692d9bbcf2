"""The Ray runner: one unit, one task; shared arrays put once and read without a copy.

Nothing that matters lives in Ray: results go to the ledger from inside the task, so a lost worker
or node costs its unit's time and a lost driver costs nothing that had finished.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.core.protocols import Job, OnProgress, Outcome, Resources, Shared, Unit
from dataprune.runs.budget import Spending, refusal
from dataprune.runs.execute import LOST_HINT, Failure, execute, failed
from dataprune.runs.ledger import Ledger
from dataprune.runs.metrics import UnitMetrics
from dataprune.runs.place import LocalPlace, open_place
from dataprune.runs.ray_connect import connected
from dataprune.runs.ray_gang import run_gang

_POLL_S = 0.5
_POLL_FAR_S = 5.0  # progress is asked of an object store
_GIB = 2**30


class RayRunner:
    """Runs units as Ray tasks, on a local Ray it starts and ends, or on a cluster by address."""

    def run(self, job: Job, on_progress: OnProgress) -> list[Outcome]:
        """Run every unit once; lost workers are replaced, errors of a unit are not retried.

        Raises:
            DatapruneError: no node can ever give what a unit asks for, there is no cluster, or it
                runs another Ray or Python.
            MissingExtraError: Ray is not installed.
        """
        # Ray prints what it sees of dying workers to stdout, which is for data.
        with contextlib.redirect_stdout(sys.stderr), connected(job) as ray:
            if not job.resources.autoscale and _capacity(ray, job.resources) == 0:
                raise _infeasible(ray, job.resources)
            return _Tasks(ray, job, on_progress).run()


def _run_in_worker(unit: Unit, shared: Shared, where: str, snapshot_s: float) -> Outcome:
    return execute(unit, shared, where, snapshot_s=snapshot_s)


def claim(resources: Resources) -> dict[str, Any]:
    """What one worker of a unit asks of Ray."""
    asked: dict[str, Any] = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
    if resources.memory_gb is not None:
        asked["memory"] = int(resources.memory_gb * _GIB)
    return asked


class _Tasks:
    """The tasks of one job: started as the budget allows, watched through the ledger."""

    def __init__(self, ray: Any, job: Job, on_progress: OnProgress) -> None:
        self.ray, self.job, self.on_progress = ray, job, on_progress
        place = open_place(job.folder)
        is_near = isinstance(place, LocalPlace)
        self.where = str(place.folder.resolve()) if is_near else place.url
        self.poll_s = _POLL_S if is_near else _POLL_FAR_S
        self.ledger = Ledger(place)
        self.spending = Spending(job)
        self.metrics = UnitMetrics(job.run_id)
        self.start = self._starter()

    def _starter(self) -> Any:
        """A function from a unit to the reference of its outcome."""
        resources, shared = self.job.resources, self.ray.put(dict(self.job.shared))
        snapshot_s = 60 * resources.snapshot_minutes
        if resources.workers > 1:
            gang = self.ray.remote(run_gang).options(num_cpus=0, max_retries=resources.max_retries)
            return lambda unit: gang.remote(
                unit, [shared], self.where, snapshot_s, resources, claim(resources)
            )
        task = self.ray.remote(_run_in_worker).options(
            **claim(resources),
            max_retries=resources.max_retries,
            scheduling_strategy="SPREAD" if resources.placement == "spread" else "DEFAULT",
        )
        return lambda unit: task.remote(unit, shared, self.where, snapshot_s)

    def run(self) -> list[Outcome]:
        """Run to the end; the outcomes come in the order of the units."""
        waiting = deque(self.job.units)
        pending: dict[Any, Unit] = {}
        outcomes: dict[str, Outcome] = {}
        told: dict[str, Any] = {}
        while waiting or pending:
            self.job.check()
            while waiting and self._has_room(len(pending)):
                unit = waiting.popleft()
                self.spending.began(unit.unit_id)
                pending[self.start(unit)] = unit
            if not pending:
                break
            self.metrics.count(waiting=len(waiting), pending=len(pending))
            done, _ = self.ray.wait(list(pending), timeout=self.poll_s)
            for ref in done:
                unit = pending.pop(ref)
                outcomes[unit.unit_id] = self._ended(ref, unit)
            for unit in pending.values():
                progress = self._progress(unit.unit_id)
                if progress is not None and progress != told.get(unit.unit_id):
                    told[unit.unit_id] = progress
                    self.spending.told(unit.unit_id, progress)
                    self.on_progress(unit.unit_id, progress)
        self.metrics.count(waiting=0, pending=0)
        for unit in waiting:
            error, hint = refusal(self.job, self.spending)
            outcomes[unit.unit_id] = Outcome(unit.unit_id, unit.label, error, hint, skipped=True)
        return [outcomes[unit.unit_id] for unit in self.job.units]

    def _progress(self, unit_id: str) -> dict[str, Any] | None:
        with contextlib.suppress(OSError, DatapruneError):  # storage that is away for a moment
            return self.ledger.progress(unit_id)
        return None

    def _has_room(self, num_pending: int) -> bool:
        """Whether one more may be handed to Ray: all at once where no budget is to be kept.

        With a budget, twice what runs now, so that an autoscaler sees that more is wanted. Of
        gangs, too: each that waits is a process.
        """
        budget, is_gang = self.job.resources.budget, self.job.resources.workers > 1
        if budget.gpu_hours is None and budget.cpu_hours is None and not is_gang:
            return True
        room = 2 * _capacity(self.ray, self.job.resources)
        return num_pending < max(room, 1) and self.spending.may_start()

    def _ended(self, ref: Any, unit: Unit) -> Outcome:
        """The outcome of a task that Ray says has ended."""
        outcome = self._outcome(ref, unit)
        seconds = self._seconds(outcome)
        self.spending.ended(unit.unit_id, seconds)
        state = "failed" if outcome.error else "finished"
        self.metrics.ended(state, seconds)
        self.on_progress(unit.unit_id, {"label": unit.label, "state": state})
        return outcome

    def _seconds(self, outcome: Outcome) -> float:
        """How long a unit ran."""
        with contextlib.suppress(OSError, DatapruneError):  # as above; it counts for the budget
            if outcome.error is not None:
                failure = self.ledger.failure(outcome.unit_id) or {}
                return float(failure.get("seconds", 0))
            if (found := self.ledger.told(outcome.unit_id)) is not None:
                return float(found.run["seconds"])
        return 0.0

    def _outcome(self, ref: Any, unit: Unit) -> Outcome:
        exceptions = self.ray.exceptions
        try:
            outcome: Outcome = self.ray.get(ref)
        except exceptions.RayTaskError as exc:
            # An error outside the unit, before or after it: dataprune is missing there, say.
            message = f"{type(exc.cause).__name__}: {exc.cause}"
            hint = "workers need the same dataprune installed, and the run folder"
            if isinstance(exc.cause, DatapruneError):  # storage that is away, say
                message, hint = exc.cause.message, exc.cause.hint or hint
            failure = Failure(message, hint, str(exc))
        except exceptions.RayError as exc:
            reason = str(exc).strip().splitlines()[0]
            message = f"worker lost {self._attempts(unit)} times: {type(exc).__name__}: {reason}"
            failure = Failure(message, LOST_HINT, str(exc))
        else:
            return outcome
        return failed(self.ledger, unit, failure, attempt=self._attempts(unit))

    def _attempts(self, unit: Unit) -> int:
        """Attempts at a unit that are known; storage that is away must not end the run."""
        with contextlib.suppress(OSError, DatapruneError):
            return self.ledger.attempts(unit.unit_id)
        return 1


def _capacity(ray: Any, resources: Resources) -> int:
    """How many units the nodes of now can run at once."""
    wanted = _wanted(resources)
    workers = 0
    for node in ray.nodes():
        if node["Alive"]:
            have = node["Resources"]
            fits = [int(have.get(k, 0) / v + 1e-9) for k, v in wanted.items() if v]
            workers += min(fits, default=1)
    return workers // resources.workers


def _wanted(resources: Resources) -> dict[str, float]:
    memory = (resources.memory_gb or 0) * _GIB
    return {"CPU": resources.num_cpus, "GPU": resources.num_gpus, "memory": memory}


def _infeasible(ray: Any, resources: Resources) -> DatapruneError:
    """A task that fits no node would wait for ever: refuse it instead."""
    wanted = _wanted(resources)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    best = {k: max((n.get(k, 0) for n in nodes), default=0) for k in wanted}
    # A Ray of our own never grows.
    more = "" if resources.address is None else ", or set run.autoscale if the cluster adds nodes"
    if all(best[k] >= v for k, v in wanted.items()) and resources.workers > 1:
        return DatapruneError(
            f"a unit asks for {resources.workers} workers at once, and the nodes have room for "
            "fewer",
            hint="lower run.workers, run.num_cpus or run.num_gpus in the recipe" + more,
        )
    memory = f" and {resources.memory_gb:g} GiB" if resources.memory_gb else ""
    most = f" and {best['memory'] / _GIB:.1f} GiB" if resources.memory_gb else ""
    return DatapruneError(
        f"a unit asks for {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs{memory}, and no node "
        f"has more than {best['CPU']:g} CPUs and {best['GPU']:g} GPUs{most}",
        hint="lower run.num_cpus or run.num_gpus in the recipe" + more,
    )
