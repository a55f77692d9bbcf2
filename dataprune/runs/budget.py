"""The budget of a run: which units may start, from what units have cost so far.

Arithmetic alone: it is told what began, how it goes and what ended, and starts nothing itself.
"""

from __future__ import annotations

import math
from typing import Any

from dataprune.core.protocols import Job, Resources

_HOUR_S = 3600


def limit_s(resources: Resources) -> float:
    """Seconds that all units together may run; infinity where there is no budget."""
    limits = [math.inf]
    if resources.budget.gpu_hours is not None:
        limits.append(resources.budget.gpu_hours / (resources.num_gpus * resources.workers))
    if resources.budget.cpu_hours is not None:
        limits.append(resources.budget.cpu_hours / (resources.num_cpus * resources.workers))
    return min(limits) * _HOUR_S


class Spending:
    """What a job has spent, and whether one more unit may start.

    No unit is started that would cost more than is left, if it takes as long as the longest did.
    While nothing is known of how long one takes, a single one runs.
    """

    def __init__(self, job: Job) -> None:
        self.limit_s = limit_s(job.resources)
        self.spent_s = math.fsum(job.before)
        self._longest_s = max(job.before, default=None)
        self._running: dict[str, float | None] = {}

    @property
    def longest_s(self) -> float | None:
        """How long the longest unit takes: as one took that ended, or as one that runs now will.

        What a unit foretells is forgotten with it: after a first slow epoch that is far too much.
        """
        running = [total for total in self._running.values() if total is not None]
        ended = [] if self._longest_s is None else [self._longest_s]
        return max([*ended, *running], default=None)

    def may_start(self) -> bool:
        """Whether the budget is enough for one more unit beside those that run."""
        if math.isinf(self.limit_s):
            return True
        guess = self.longest_s
        if guess is None:
            return not self._running and self.spent_s < self.limit_s
        running = math.fsum(max(guess, total or 0) for total in self._running.values())
        return self.spent_s + running + guess <= self.limit_s

    def began(self, unit_id: str) -> None:
        """A unit was started."""
        self._running[unit_id] = None

    def told(self, unit_id: str, progress: dict[str, Any]) -> None:
        """A unit reported progress: seconds it took so far and, after an epoch, has left."""
        if unit_id in self._running and progress.get("left_s") is not None:
            self._running[unit_id] = float(progress["seconds"]) + float(progress["left_s"])

    def ended(self, unit_id: str, seconds: float) -> None:
        """A unit ended, well or not, after so many seconds."""
        self._running.pop(unit_id, None)
        self.spent_s += seconds
        self._longest_s = max(self._longest_s or 0, seconds)


def refusal(job: Job, spending: Spending) -> tuple[str, str]:
    """Why a unit was not started, and what to do: (sentence, hint)."""
    budget = job.resources.budget
    named = [
        f"{hours:g} {kind} hours"
        for kind, hours in (("GPU", budget.gpu_hours), ("CPU", budget.cpu_hours))
        if hours is not None
    ]
    share = min(spending.spent_s / spending.limit_s, 1.0)
    more = "" if share == 1 else ", and one more unit would exceed it"
    error = f"not started: {share:.0%} of the budget of {' and '.join(named)} is spent{more}"
    return error, "raise run.budget and run again: finished units are kept"
